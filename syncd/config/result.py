"""A config that has been checked: what the rest of syncd is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from syncd.config.checking import secrets_in
from syncd.config.database import Database
from syncd.config.problems import Loc, Problem
from syncd.config.sections import Log, Media, Retention, Server
from syncd.engine.platform import AccountSetup, EndSetup, Plugin
from syncd.model.topology import Topology
from syncd.secrets import Secret


@dataclass(frozen=True, slots=True)
class Account:
    """One `[accounts.NAME]`."""

    name: str
    platform: str
    plugin: Plugin
    rate: float
    """Requests a second; the platform's advised rate where the config has none."""
    settings: BaseModel
    """An instance of the plug-in's `account_model`."""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole config. Its `repr` shows no secret."""

    path: Path
    """The file it came from, absolute."""
    folder: Path
    """What relative paths in it are relative to."""
    server: Server
    database: Database
    log: Log
    media: Media
    retention: Retention
    accounts: Mapping[str, Account]
    """By name, in file order."""
    ends: Mapping[str, tuple[EndSetup, ...]]
    """By account: what its links say of their ends on it, in file order."""
    links: tuple[Mapping[str, EndSetup], ...]
    """By place in the file: each link's `desk` and `channel`."""
    topology: Topology
    warnings: tuple[Problem, ...] = ()
    """What works, and should be changed all the same."""

    def setup(self, account: str) -> AccountSetup:
        """What the account's platform is given to work with. Raises `KeyError` for an unknown account."""
        return AccountSetup(account, self.accounts[account].settings, self.ends[account], self.server.public_url)

    def secrets(self) -> tuple[str, ...]:
        """The text of every secret in the config, the database's password among them: what is never to be shown."""
        texts = [secret.reveal() for _, secret in self.placed_secrets()]
        return tuple(dict.fromkeys([*texts, *self.database.secrets()]))

    def placed_secrets(self) -> Iterator[tuple[Loc, Secret]]:
        """Every secret of accounts and links, and where it stands."""
        for name, account in self.accounts.items():
            yield from secrets_in(account.settings, ("accounts", name))
        for index, link in enumerate(self.links):
            for side, end in link.items():
                yield from secrets_in(end.settings, ("links", index, side))
