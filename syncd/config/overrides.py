"""Environment variables that stand in for keys of the file: `SYNCD_SERVER__LISTEN`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from syncd.config.checking import keys_of
from syncd.config.problems import Loc, Problem, dotted
from syncd.config.sections import AccountTable, LinkTable, Section
from syncd.engine.platform import Plugin

PREFIX = "SYNCD_"
RESERVED = re.compile(
    r"SYNCD_(CONFIG|FAILPOINTS|TEST_\w+"
    # What Kubernetes sets in every container beside a service called syncd.
    r"|([A-Z0-9]+_)*(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?))"
)
"""Names that begin like an override and are none."""

PluginOf = Callable[[str], Plugin | None]


@dataclass(frozen=True, slots=True)
class Override:
    """One environment variable and the key that it stands in for."""

    variable: str
    loc: Loc
    text: str

    @property
    def value(self) -> Any:
        """The text as a TOML scalar, or the text itself."""
        try:
            value = tomllib.loads(f"value = {self.text}")
        except tomllib.TOMLDecodeError:
            return self.text
        # A text with line breaks could otherwise add keys of its own.
        return value["value"] if len(value) == 1 and not isinstance(value["value"], dict | list) else self.text

    def put(self, document: dict[str, Any], value: Any) -> None:
        """Write `value` to its place in the document, making the table where there is none."""
        node: Any = document
        for step in self.loc[:-1]:
            node = node[step] if isinstance(step, int) else node.setdefault(step, {})
        node[self.loc[-1]] = value


def overrides(
    document: Mapping[str, Any],
    environ: Mapping[str, str],
    sections: Mapping[str, type[Section]],
    plugin_of: PluginOf,
    problems: list[Problem],
) -> Iterator[Override]:
    """The overrides in `environ`. One that matches nothing is a mistake, added to `problems`.

    A name that the config itself reads a secret from (`env:SYNCD_KEY`) is none.
    """
    read = set(_env_references([document, *environ.values()]))
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable in read or RESERVED.fullmatch(variable):
            continue
        matches = list(_places(document, variable.removeprefix(PREFIX).lower().split("__"), sections, plugin_of))
        if len(matches) == 1:
            yield Override(variable, matches[0], text)
        elif matches:
            both = " and ".join(dotted(match) for match in matches)
            problems.append(Problem("", f"the environment variable {variable} fits {both}: rename one of them"))
        else:
            problems.append(
                Problem("", f"the environment variable {variable} matches no key: correct its name or unset it")
            )


def _env_references(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value.startswith("env:"):
            yield value.removeprefix("env:")
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _env_references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _env_references(item)


def _places(
    document: Mapping[str, Any], steps: list[str], sections: Mapping[str, type[Section]], plugin_of: PluginOf
) -> Iterator[Loc]:
    head, *rest = steps
    if head in sections and isinstance(document.get(head, {}), dict):
        yield from _in_table(document.get(head, {}), keys_of(sections[head]), rest, (head,))
    elif head == "accounts":
        yield from _account_places(document.get("accounts"), rest, plugin_of)
    elif head == "links" and rest:
        links: Any = document.get("links")
        index = _index(rest[0], links)
        if index is not None and isinstance(links[index], dict):
            yield from _link_places(links[index], rest[1:], ("links", index), plugin_of)


def _account_places(accounts: Any, steps: list[str], plugin_of: PluginOf) -> Iterator[Loc]:
    if not isinstance(accounts, dict):
        return
    for name, table in accounts.items():
        # An account's name may hold what separates the steps of a variable's name.
        own = re.sub(r"[-.]", "_", name.lower()).split("__")
        if steps[: len(own)] == own and isinstance(table, dict):
            plugin = plugin_of(name)
            keys = keys_of(AccountTable, *([plugin.account_model] if plugin else []))
            yield from _in_table(table, keys, steps[len(own) :], ("accounts", name))


def _link_places(link: dict[str, Any], steps: list[str], loc: Loc, plugin_of: PluginOf) -> Iterator[Loc]:
    if steps and steps[0] in ("desk", "channel"):
        end = link.get(steps[0], {})
        if isinstance(end, dict):
            plugin = plugin_of(str(end.get("account")))
            keys = ("account", *(keys_of(plugin.end_model) if plugin else ()))
            yield from _in_table(end, keys, steps[1:], (*loc, steps[0]))
    else:
        yield from _in_table(link, keys_of(LinkTable), steps, loc)


def _in_table(table: dict[str, Any], keys: tuple[str, ...], steps: list[str], loc: Loc) -> Iterator[Loc]:
    if not steps:
        return
    for key in dict.fromkeys((*keys, *table)):
        if key.lower() != steps[0]:
            continue
        value = table.get(key)
        if len(steps) == 1 and not isinstance(value, dict | list):
            yield (*loc, key)
        elif len(steps) == 2 and (index := _index(steps[1], value)) is not None:
            yield (*loc, key, index)


def _index(step: str, items: Any) -> int | None:
    if isinstance(items, list) and re.fullmatch(r"[0-9]{1,6}", step) and int(step) < len(items):
        return int(step)
    return None
