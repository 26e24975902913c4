"""What works in a config, and should be changed all the same."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from syncd.config.checking import in_file
from syncd.config.kinds import is_loopback
from syncd.config.problems import Problem, dotted
from syncd.config.result import Config

SHORTEST_SECRET = 4
"""Characters. Replacing anything shorter would make nonsense of every log line."""


def warnings_of(config: Config, document: dict[str, Any], overridden: frozenset[str]) -> Iterator[Problem]:
    """Everything that the operator should know of, in file order within its kind."""
    yield from _secrets(config, document, overridden)
    yield from _addresses(config)
    yield from _unused(config)


def _secrets(config: Config, document: dict[str, Any], overridden: frozenset[str]) -> Iterator[Problem]:
    for loc, secret in config.placed_secrets():
        path = dotted(in_file(loc, document))
        if secret.literal and path not in overridden:
            yield Problem(path, "the secret stands in the file: write env:NAME, file:PATH or cred:NAME instead")
        if len(secret.reveal()) < SHORTEST_SECRET:
            yield Problem(path, "the secret is too short to be kept out of the logs: use a longer one")
    words = list(config.database.secrets())
    if words and config.database.url.literal and "database.url" not in overridden:
        yield Problem("database.url", "the password stands in the file: write env:NAME, file:PATH or cred:NAME instead")
    if any(len(word) < SHORTEST_SECRET for word in words):
        yield Problem("database.url", "the password is too short to be kept out of the logs: use a longer one")


def _addresses(config: Config) -> Iterator[Problem]:
    parts = urlsplit(config.server.public_url)
    host = parts.hostname or ""
    if not config.accounts:
        return
    if _is_any(host):
        yield Problem("server.public_url", f"platforms cannot call {host}: write the address that they can")
    elif parts.scheme == "http" and not is_loopback(host):
        yield Problem("server.public_url", "webhooks would come unencrypted: put a TLS proxy in front, write https://")


def _is_any(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _unused(config: Config) -> Iterator[Problem]:
    if not config.topology.links:
        yield Problem("links", "there is none, so nothing is carried: add [[links]]")
    for name in config.accounts:
        if config.topology.links and not config.ends[name]:
            yield Problem(dotted(("accounts", name)), "no link uses it")
        if config.topology.link(name):
            yield Problem(dotted(("accounts", name)), "a link has this name too, and `pause` takes either: rename one")
