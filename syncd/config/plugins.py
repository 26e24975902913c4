"""The installed platforms, by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from syncd.engine.platform import Plugin

GROUP = "syncd.platforms"
"""The entry-point group that platforms are found through."""


class Plugins:
    """The platforms that a config may name; each is loaded when first asked for.

    `given` replaces the installed ones.
    """

    def __init__(self, given: Mapping[str, Plugin] | None = None) -> None:
        self._found: dict[str, Plugin | str] = dict(given or {})
        self._entries = {} if given is not None else {entry.name: entry for entry in entry_points(group=GROUP)}

    def get(self, name: object) -> Plugin | None:
        """The platform; None where there is none, or it does not load."""
        found = self._load(name) if isinstance(name, str) else None
        return found if isinstance(found, Plugin) else None

    def fault(self, name: str) -> str:
        """Why `get` gave None, and what to do."""
        found = self._load(name)
        if found is None:
            names = ", ".join(sorted({*self._found, *self._entries}))
            return f"unknown platform: use one of {names or '(none is installed)'}"
        return f"the platform is installed but cannot be loaded: {found}"

    def _load(self, name: str) -> Plugin | str | None:
        if name not in self._found and name in self._entries:
            try:
                loaded = self._entries[name].load()
            except (ImportError, AttributeError) as error:
                self._found[name] = str(error)
            else:
                self._found[name] = loaded if isinstance(loaded, Plugin) else "its entry point names no Plugin"
        return self._found.get(name)
