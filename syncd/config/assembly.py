"""One document, all overrides in it, becomes a `Config`; every mistake is collected on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from syncd.config.advisories import warnings_of
from syncd.config.checking import checked, keys_of, secrets_in, unknown_key
from syncd.config.database import Database, parse_database
from syncd.config.kinds import NAME
from syncd.config.plugins import Plugins
from syncd.config.problems import Loc, Problem, dotted
from syncd.config.result import Account, Config
from syncd.config.sections import AccountTable, DatabaseTable, LinkTable, Log, Media, Retention, Section, Server
from syncd.engine.platform import EndSetup
from syncd.model.topology import ChannelEnd, DeskEnd, Link, Topology
from syncd.secrets import Secret

S = TypeVar("S", bound=Section)

Side = Literal["desk", "channel"]
Ends = dict[Side, tuple[str, EndSetup]]
"""Account and settings of a link's ends, those that have no mistake."""

SECTIONS: Mapping[str, type[Section]] = {
    "server": Server,
    "database": DatabaseTable,
    "log": Log,
    "media": Media,
    "retention": Retention,
}
"""The tables with fixed keys."""
_KNOWN = (*SECTIONS, "accounts", "links")


@dataclass(slots=True)
class Assembly:
    """One pass over a document."""

    document: dict[str, Any]
    file: Path
    platforms: Plugins
    overridden: frozenset[str] = frozenset()
    """Paths whose values came from the environment."""
    problems: list[Problem] = field(default_factory=list)
    """Every mistake, after `config`."""

    def config(self) -> Config | None:
        """The config; None where there are mistakes."""
        self.problems += [unknown_key((key,), _KNOWN) for key in self.document if key not in _KNOWN]
        server, media = self._section(Server, "server"), self._section(Media, "media")
        log, retention = self._section(Log, "log"), self._section(Retention, "retention")
        database = self._database()
        accounts = dict(self._accounts())
        links = list(self._links())
        self._check_shared(links)
        # A None has its mistake in the list; naming them one by one tells the type checker.
        if self.problems or not (server and media and log and retention and database):
            return None
        ends = [end for _, link_ends in links for end in link_ends.values()]
        config = Config(
            path=self.file,
            folder=self.file.parent,
            server=server,
            database=database,
            log=log,
            media=media,
            retention=retention,
            accounts=accounts,
            ends={name: tuple(end for account, end in ends if account == name) for name in accounts},
            links=tuple({side: end for side, (_, end) in link_ends.items()} for _, link_ends in links),
            topology=Topology(
                tuple(_link(table, link_ends, i, accounts) for i, (table, link_ends) in enumerate(links))
            ),
        )
        return replace(config, warnings=tuple(warnings_of(config, self.document, self.overridden)))

    def _say(self, loc: Loc, message: str) -> None:
        self.problems.append(Problem(dotted(loc), message))

    def _section(self, model: type[S], name: str) -> S | None:
        return checked(model, self.document.get(name, {}), (name,), self.file.parent, self.problems)

    def _database(self) -> Database | None:
        table = self._section(DatabaseTable, "database")
        if table is None:
            return None
        try:
            return parse_database(table.url, self.file.parent, migrate=table.migrate)
        except ValueError as error:
            self._say(("database", "url"), str(error))
            return None

    def _accounts(self) -> Iterator[tuple[str, Account]]:
        tables = self.document.get("accounts", {})
        if not isinstance(tables, dict):
            self._say(("accounts",), "must be tables: [accounts.NAME]")
            return
        for name, table in tables.items():
            loc = ("accounts", name)
            if NAME.fullmatch(name) is None:
                self._say(loc, "name it with 1 to 64 letters, digits and . _ - and begin with a letter or digit")
            if not isinstance(table, dict):
                self._say(loc, f"must be a table: [{dotted(loc)}]")
                continue
            own = {key: value for key, value in table.items() if key in keys_of(AccountTable)}
            common = checked(AccountTable, own, loc, self.file.parent, self.problems)
            plugin = self.platforms.get(table.get("platform"))
            if plugin is None:
                if isinstance(table.get("platform"), str):
                    self._say((*loc, "platform"), self.platforms.fault(table["platform"]))
                continue
            rest = {key: value for key, value in table.items() if key not in own}
            settings = checked(plugin.account_model, rest, loc, self.file.parent, self.problems)
            if common and settings:
                rate = plugin.capabilities.default_rate if common.rate is None else common.rate
                yield name, Account(name, common.platform, plugin, rate, settings)

    def _links(self) -> Iterator[tuple[LinkTable | None, Ends]]:
        tables = self.document.get("links", [])
        if not isinstance(tables, list):
            self._say(("links",), "must be a list of tables: begin each with [[links]]")
            return
        for index, table in enumerate(tables):
            link = checked(LinkTable, table, ("links", index), self.file.parent, self.problems)
            ends: Ends = {}
            if isinstance(table, dict):
                name = table.get("name")
                for side in ("desk", "channel"):
                    if end := self._end(table.get(side), side, name if isinstance(name, str) else "", index):
                        ends[side] = end
            yield link, ends

    def _end(self, table: Any, side: Side, link: str, index: int) -> tuple[str, EndSetup] | None:
        if not isinstance(table, dict):
            return None  # the link's own check has said so
        loc: Loc = ("links", index, side)
        name = table.get("account")
        accounts = self.document.get("accounts")
        account = accounts.get(name) if isinstance(accounts, dict) and isinstance(name, str) else None
        if "account" not in table:
            self._say((*loc, "account"), "is missing: add the name of an account")
        elif not isinstance(account, dict):
            self._say((*loc, "account"), "no account has this name: add one, or correct the name")
        plugin = self.platforms.get(account.get("platform")) if isinstance(account, dict) else None
        if plugin is None:
            return None
        if plugin.capabilities.role != side:
            self._say((*loc, "account"), f"{plugin.name} is a {plugin.capabilities.role} platform, no {side}")
            return None
        rest = {key: value for key, value in table.items() if key != "account"}
        settings = checked(plugin.end_model, rest, loc, self.file.parent, self.problems)
        if settings is None:
            return None
        return str(name), EndSetup(link, plugin.end_key(link, settings), settings)

    def _check_shared(self, links: list[tuple[LinkTable | None, Ends]]) -> None:
        """What two links must not share: names, channel ends, and the secrets that tell channel ends apart."""
        names: dict[str, int] = {}
        keys: dict[tuple[str, str], int] = {}
        secrets: dict[tuple[str, Secret], Loc] = {}
        for index, (table, ends) in enumerate(links):
            loc = ("links", index)
            if table and names.setdefault(table.name, index) != index:
                self._say((*loc, "name"), f"links.{names[table.name]} has this name too: rename one")
            if "channel" not in ends:
                continue
            account, end = ends["channel"]
            if keys.setdefault((account, end.key), index) != index:
                first = keys[account, end.key]
                self._say((*loc, "channel"), f"links.{first} has this channel end already: join its users to that link")
                continue
            for place, secret in secrets_in(end.settings, (*loc, "channel")):
                other = secrets.setdefault((account, secret), place)
                if other != place:
                    self._say(place, f"is the same as {dotted(other)}: each link needs its own")


def _link(table: LinkTable | None, ends: Ends, position: int, accounts: Mapping[str, Account]) -> Link:
    assert table is not None  # only links without a mistake come here
    desk_account, desk = ends["desk"]
    channel_account, channel = ends["channel"]
    return Link(
        name=table.name,
        desk=DeskEnd(desk_account, desk.key, tuple(desk.settings.users), accounts[desk_account].plugin.capabilities),
        channel=ChannelEnd(channel_account, channel.key, accounts[channel_account].plugin.capabilities),
        region=table.region,
        on_unknown=table.on_unknown,
        max_age=table.max_age,
        edits=table.edits,
        failure_notice=table.failure_notice,
        position=position,
    )
