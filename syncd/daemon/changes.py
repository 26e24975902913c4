"""What a config that was read again changes: what is applied, what needs a restart, and all of it in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from syncd.config import Config
from syncd.engine.platform import EndSetup
from syncd.model.topology import Link

_SERVER_APPLIED = ("public_url", "max_concurrent")
"""The other keys of `[server]` are bound to sockets that stay open, or to the clock of the process's end."""
_LOG_APPLIED = ("format", "bodies")
"""Loggers keep the level that they began with."""
_OF_LINKS = ("region", "on_unknown", "max_age", "edits", "failure_notice")


S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Changed:
    """A config to go on with, and how it differs from the one before."""

    config: Config
    """The new one, except what needs a restart."""
    changes: tuple[str, ...]
    """In words, without any value of an account's key, which may be a secret. Empty: there is nothing to apply."""
    needs_restart: tuple[str, ...]
    """Dotted keys that keep their old values until then."""


def changed(old: Config, new: Config) -> Changed:
    """Compare the config in force with the one that was read now."""
    server, server_kept = _kept(old.server, new.server, _SERVER_APPLIED)
    log, log_kept = _kept(old.log, new.log, _LOG_APPLIED)
    if "public_url" not in new.server.model_fields_set:
        # Where it is not written, it follows `listen`, which stays.
        server = server.model_copy(update={"public_url": f"http://{old.server.listen}"})
    needs_restart = [
        *(f"server.{key}" for key in server_kept),
        *(f"database.{key}" for key in ("url", "migrate") if getattr(old.database, key) != getattr(new.database, key)),
        *(f"log.{key}" for key in log_kept),
    ]
    config = replace(new, server=server, database=old.database, log=log)
    return Changed(config, tuple(_changes(old, config)), tuple(needs_restart))


def _kept(old: S, new: S, applied: Sequence[str]) -> tuple[S, list[str]]:
    """The old section with what may be applied from the new one; and the keys that differ and may not."""
    section = old.model_copy(update={key: getattr(new, key) for key in applied})
    return section, [key for key in _differing(old, new) if key not in applied]


def _differing(old: BaseModel, new: BaseModel) -> Iterator[str]:
    one, other = dict(old), dict(new)
    yield from (key for key in dict.fromkeys((*one, *other)) if one.get(key) != other.get(key))


def _changes(old: Config, new: Config) -> Iterator[str]:
    for name in ("server", "log", "media", "retention"):
        yield from (f"{name}.{key} changed" for key in _differing(getattr(old, name), getattr(new, name)))
    yield from _added_and_removed("account", old.accounts, new.accounts)
    for name, account in new.accounts.items():
        was = old.accounts.get(name)
        if was is None:
            continue
        if was.platform != account.platform:
            yield f"account {name}: platform changed"
            continue
        if was.rate != account.rate:
            yield f"account {name}: rate changed from {was.rate:g} to {account.rate:g}"
        yield from (f"account {name}: {key} changed" for key in _differing(was.settings, account.settings))
    yield from _link_changes(old, new)


def _link_changes(old: Config, new: Config) -> Iterator[str]:
    before, after = _by_name(old), _by_name(new)
    yield from _added_and_removed("link", before, after)
    for name in after:
        if name in before:
            yield from (f"link {name}: {change}" for change in _of_link(before[name], after[name]))
    if [name for name in before if name in after] != [name for name in after if name in before]:
        yield "links: their order changed"


_Known = tuple[Link, Mapping[str, EndSetup]]


def _by_name(config: Config) -> dict[str, _Known]:
    return {link.name: (link, ends) for link, ends in zip(config.topology.links, config.links, strict=True)}


def _of_link(old: _Known, new: _Known) -> Iterator[str]:
    (was, were), (link, ends) = old, new
    yield from _added_and_removed("user", was.desk.users, link.desk.users)
    stayed = [user for user in was.desk.users if user in link.desk.users]
    if stayed != [user for user in link.desk.users if user in was.desk.users]:
        yield "the order of its users changed"
    yield from (f"{key} changed" for key in _OF_LINKS if getattr(was, key) != getattr(link, key))
    for side in ("desk", "channel"):
        if getattr(was, side).account != getattr(link, side).account:
            yield f"{side}.account changed"
        found = _differing(were[side].settings, ends[side].settings)
        yield from (f"{side}.{key} changed" for key in found if key != "users")


def _added_and_removed(what: str, old: Iterable[Any], new: Iterable[Any]) -> Iterator[str]:
    before, after = list(dict.fromkeys(old)), list(dict.fromkeys(new))
    yield from (f"{what} {name} added" for name in after if name not in before)
    yield from (f"{what} {name} removed" for name in before if name not in after)
