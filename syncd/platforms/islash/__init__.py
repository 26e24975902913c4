"""iSlash: WhatsApp, Messenger and other channels; sends over its public API, hears by webhook only."""

from __future__ import annotations

from typing import Any

from syncd.engine.platform import Plugin
from syncd.model.capabilities import Capabilities
from syncd.platforms.islash.client import ISlash
from syncd.platforms.islash.settings import ISlashAccount, ISlashEnd

__all__ = ["plugin"]


def _end_key(link: str, settings: Any) -> str:
    """The link's name: the session key is a credential and is never stored (A3)."""
    return link


plugin = Plugin(
    name="islash",
    # Neither limit is documented by iSlash; §9 advises both.
    capabilities=Capabilities(role="channel", default_rate=1.0, max_text=4000, echoes_challenge=True),
    account_model=ISlashAccount,
    end_model=ISlashEnd,
    end_key=_end_key,
    build=ISlash,
)
