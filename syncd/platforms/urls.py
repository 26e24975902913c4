"""URLs that strangers wrote: read strictly, so that no two readers can take one for different things (G12)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import quote, urljoin

from yarl import URL

LONGEST: Final = 8_000
"""Characters of a URL."""

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?P<rest>[/?#].*)?",
    re.IGNORECASE | re.ASCII,
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
# Controls, backslashes and what breaks lines: some readers drop them, some take them for something else.
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u2028\u2029\ud800-\udfff]")
_KEPT: Final = "%/?:@!$&'()*+,;=~-._[]|"
"""Left as it is, byte for byte, because the path or query may be signed."""
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL names. `host` is in lower case, without brackets."""

    scheme: str
    host: str
    port: int
    url: URL

    @property
    def where(self) -> str:
        """Host and port, for people: nothing of the path or query, which may be a secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The address where the host is one already."""
        return _address(self.host)

    def joined(self, location: str) -> Target:
        """Where a redirect leads. Raises `ValueError` as `target_of` does."""
        _look(location)
        try:
            url = urljoin(str(self.url), location)
        except ValueError:
            raise ValueError("the redirect does not lead to a URL") from None
        return target_of(url)


class Hosts:
    """Hosts of the config, each `host` (every port of it) or `host:port`."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = frozenset(map(_entry, entries))

    def has(self, target: Target) -> bool:
        """Whether the target is one of them."""
        return (target.host, None) in self._entries or self.has_port(target)

    def has_port(self, target: Target) -> bool:
        """Whether the target is one of them with its port written out."""
        return (target.host, target.port) in self._entries


def target_of(url: str) -> Target:
    """What an untrusted URL names.

    Raises `ValueError`, whose words are safe to show, for whatever is not plainly `http(s)://HOST[:PORT]/…`: a user or
    password, escapes or other letters than ASCII in the host, an address in another spelling than the usual one.
    """
    _look(url)
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError("the URL is not https://HOST/PATH with a plain host, without a user or password")
    scheme = match["scheme"].lower()
    host = _host(match["host"].lower())
    port = int(match["port"]) if match["port"] else _PORTS[scheme]
    if not 0 < port < 65_536:
        raise ValueError("the URL's port is none")
    rest = quote((match["rest"] or "").partition("#")[0], safe=_KEPT)
    place = f"[{host}]" if ":" in host else host
    made = URL(f"{scheme}://{place}:{port}{rest if rest.startswith('/') else f'/{rest}'}", encoded=True)
    if (made.scheme, made.raw_host, made.port, made.raw_user) != (scheme, host, port, None):
        raise ValueError("the URL can be read in two ways")
    return Target(scheme, host, port, made)


def _look(url: str) -> None:
    if len(url) > LONGEST:
        raise ValueError(f"the URL is longer than {LONGEST} characters")
    if _ODD.search(url) or url != url.strip():
        raise ValueError("the URL holds characters that none may hold")


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError("the URL's host is no IPv6 address") from None
    labels = text.split(".")
    if len(text) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("the URL's host is no host name")
    # What ends in a number is an address, and only one spelling of it is nobody's trick.
    if _NUMBER.fullmatch(labels[-1]) and _address(text) is None:
        raise ValueError("the URL's host is an address that is not written as four plain numbers")
    return text


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _entry(text: str) -> tuple[str, int | None]:
    host, colon, port = text.lower().rpartition(":")
    if not colon or not port.isdigit() or (":" in host and not host.endswith("]")):
        host, port = text.lower(), ""
    bare = host.removeprefix("[").removesuffix("]").removesuffix(".")
    return str(_address(bare) or bare), int(port) if port else None
