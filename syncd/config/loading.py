"""From a file and the environment to a checked `Config`, or to every mistake in them."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from syncd.config.assembly import SECTIONS, Assembly
from syncd.config.overrides import Override, overrides
from syncd.config.plugins import Plugins
from syncd.config.problems import ConfigError, Problem, dotted
from syncd.config.result import Config
from syncd.engine.platform import Plugin

PLACES = (Path("config.toml"), Path("/etc/syncd/config.toml"))
"""Where the config is looked for when nothing names it, first found first."""


def load(
    path: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    plugins: Mapping[str, Plugin] | None = None,
) -> Config:
    """Read and check the config whole. Reads files and the environment; calls nobody; changes nothing.

    Looks at `path`, else at `SYNCD_CONFIG`, else at `./config.toml`, else at `/etc/syncd/config.toml`.
    `plugins` replaces the installed platforms. `environ` is where overrides are looked for; secret references
    (`env:NAME`) always read the process's own. Raises `ConfigError` with every mistake at once.
    """
    file = find(path, environ)
    document = _read(file)
    platforms = Plugins(plugins)
    problems: list[Problem] = []

    def plugin_of(account: str) -> Plugin | None:
        accounts = document.get("accounts")
        table = accounts.get(account) if isinstance(accounts, dict) else None
        return platforms.get(table.get("platform")) if isinstance(table, dict) else None

    applied = list(overrides(document, environ, SECTIONS, plugin_of, problems))
    values = [override.value for override in applied]
    config, mistakes = _attempt(document, applied, values, file, platforms)
    # "12345" is a number where a number is wanted, and a text where a text is.
    again = [
        override.text if _blamed(override, mistakes) else value for override, value in zip(applied, values, strict=True)
    ]
    if again != values:
        config, mistakes = _attempt(document, applied, again, file, platforms)
    if config is None or problems or mistakes:
        raise ConfigError([*problems, *mistakes], file)
    return config


def find(path: Path | None, environ: Mapping[str, str]) -> Path:
    """The config file to read, absolute. Raises `ConfigError` listing where it looked."""
    if path is None and environ.get("SYNCD_CONFIG"):
        path = Path(environ["SYNCD_CONFIG"])
    places = PLACES if path is None else (path,)
    for place in places:
        if place.exists():
            return place.absolute()
    looked = " or ".join(str(place.absolute()) for place in places)
    raise ConfigError([Problem("", f"no config file at {looked}: write one, or name it with --config or SYNCD_CONFIG")])


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        message = "is not UTF-8 text: save it as UTF-8"
    except tomllib.TOMLDecodeError as error:
        message = f"is not TOML: {error}"
    raise ConfigError([Problem("", message)], file)


def _attempt(
    document: dict[str, Any], applied: list[Override], values: list[Any], file: Path, platforms: Plugins
) -> tuple[Config | None, list[Problem]]:
    overridden = deepcopy(document)
    for override, value in zip(applied, values, strict=True):
        override.put(overridden, value)
    assembly = Assembly(overridden, file, platforms, frozenset(dotted(override.loc) for override in applied))
    return assembly.config(), assembly.problems


def _blamed(override: Override, mistakes: list[Problem]) -> bool:
    place = dotted(override.loc)
    return any(mistake.path == place or mistake.path.startswith(f"{place}.") for mistake in mistakes)
