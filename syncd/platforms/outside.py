"""What counts as the outside world, held where sockets are made: the one place that every connection passes (G12).

Whatever a URL spells, a name resolves to, or a redirect leads to, in the end an address is connected to, and that very
address is looked at here. A name that resolves to something else the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

# Written out, because what `ipaddress` calls global differs between Python's versions, and has multicast in it.
_NOT_PUBLIC_4: Final = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network, unspecified
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a provider's customers (CGNAT)
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local: metadata of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_PUBLIC_6: Final = ip_network("2000::/3")
"""All that is assigned to hosts of the world: not loopback, private, link-local, multicast, IPv4-mapped, NAT64."""
_NOT_PUBLIC_6: Final = tuple(
    ip_network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which holds an IPv4 address
        "3fff::/20",  # documentation
    )
)
RESOLVING: Final = 4
"""Names that are looked up at once."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is one of the world, and none that only means something on this machine or network."""
    if isinstance(address, IPv4Address):
        inside = any(address in network for network in _NOT_PUBLIC_4)
    else:
        inside = address not in _PUBLIC_6 or any(address in network for network in _NOT_PUBLIC_6)
    return not inside and address.is_global


class NotPublic(OSError):
    """A connection that was not made."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "not a public address")


def public_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket for one of `getaddrinfo`'s results (aiohttp's `socket_factory`). Raises `NotPublic`."""
    family, kind, protocol, _, address = info
    try:
        public = family in (socket.AF_INET, socket.AF_INET6) and is_public(ip_address(address[0]))
    except ValueError:  # no address but a name, which the system would resolve once more
        public = False
    if not public:
        raise NotPublic
    return socket.socket(family, kind, protocol)


class Resolver(AbstractResolver):
    """The system's names, looked up in threads of its own: a slow name server of a stranger holds up no platform."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVING, "names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises `OSError`."""
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=int(address[1]), family=kind, proto=protocol, flags=0
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Give up what is being looked up."""
        self._threads.shutdown(wait=False, cancel_futures=True)
