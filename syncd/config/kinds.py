"""Kinds of config values: durations, addresses, names, public URLs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

import phonenumbers
from pydantic import AfterValidator, BeforeValidator, PlainValidator

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What accounts and links may be called: it stands in URLs, metrics and file names."""

_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_LONGEST = timedelta(days=36_500)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")


def parse_duration(text: object) -> timedelta:
    """`"500ms"`, `"30s"`, `"15m"`, `"12h"`, `"90d"` as a time span. Raises `ValueError` saying how to write one."""
    if isinstance(text, timedelta):
        return text
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError('write a duration as text with a unit, such as "30s", "15m", "12h" or "90d"')
    span = int(match[1]) * _UNITS[match[2]]
    if span > _LONGEST:
        raise ValueError(f"must be at most {_LONGEST.days}d")
    return span


def _positive(span: timedelta) -> timedelta:
    if span <= timedelta():
        raise ValueError("must be longer than zero")
    return span


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
"""A duration in the config; zero is allowed."""
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
"""A duration in the config that is longer than zero."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener binds. IPv6 hosts are without brackets here and with them in text."""

    host: str
    port: int
    """0 lets the system choose."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: object) -> Address:
    """`"127.0.0.1:8080"`, `"[::1]:8080"`, `"localhost:8080"`. Raises `ValueError` saying how to write one."""
    if isinstance(text, Address):
        return text
    host, colon, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not colon or not _is_host(bare, ipv6=bracketed) or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError('write host:port, such as "127.0.0.1:8080", or "0.0.0.0:8080" for every interface')
    return Address(bare, int(port))


def _is_host(host: str, *, ipv6: bool) -> bool:
    if not ipv6:
        return _HOST.fullmatch(host) is not None
    try:
        return ip_address(host).version == 6
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether the host is this machine itself, by its spelling."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def parse_public_url(text: object) -> str:
    """An http(s) address without query, fragment or user; a path prefix stays, a trailing slash goes.

    Raises `ValueError` saying how to write one.
    """
    wanted = 'write the address that platforms call, such as "https://bridge.example.com"'
    if not isinstance(text, str):
        raise ValueError(wanted)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(wanted) from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError(wanted)
    if parts.username is not None or "?" in text or "#" in text:
        raise ValueError(f"{wanted}, without user, query or fragment")
    return text.rstrip("/")


def parse_host(text: object) -> str:
    """`host` or `host:port`, lower case. Raises `ValueError` saying how to write one."""
    if isinstance(text, str):
        if _HOST.fullmatch(text) or (text.startswith("[") and text.endswith("]") and _is_host(text[1:-1], ipv6=True)):
            return text.lower()
        try:
            if parse_address(text).port:
                return text.lower()
        except ValueError:
            pass
    raise ValueError('write "host" or "host:port", without scheme or path')


def _region(text: Any) -> str:
    if not isinstance(text, str) or text not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError('write the two capital letters of a country, such as "US", "GB" or "HK"')
    return text


def _name(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise ValueError("use 1 to 64 letters, digits and . _ - and begin with a letter or digit")
    return text


Name = Annotated[str, AfterValidator(_name)]
Listen = Annotated[Address, PlainValidator(parse_address)]
PublicUrl = Annotated[str, PlainValidator(parse_public_url)]
Host = Annotated[str, PlainValidator(parse_host)]
Region = Annotated[str, PlainValidator(_region)]
