"""Bird (channel): SMS, WhatsApp and other channels of a workspace, over its Channels and Notifications APIs."""

from __future__ import annotations

from syncd.engine.platform import Plugin
from syncd.model.capabilities import Capabilities
from syncd.model.files import FileKind
from syncd.platforms.bird.client import Bird
from syncd.platforms.bird.settings import BirdAccount, BirdEnd, end_key

__all__ = ["plugin"]

_MAX_FILE = 20_000_000
"""Bytes. Bird tells no limits of size or type: what a channel does not take, it refuses (page §6.1)."""

plugin = Plugin(
    name="bird",
    capabilities=Capabilities(
        role="channel",
        default_rate=20.0,
        max_text=1600,
        polls=True,
        history=True,
        finds_sent=True,
        registers_hooks=True,
        files=dict.fromkeys(FileKind, _MAX_FILE),
        captions=frozenset({FileKind.IMAGE, FileKind.VIDEO, FileKind.FILE}),
        max_caption=1024,
        quotes=True,
    ),
    account_model=BirdAccount,
    end_model=BirdEnd,
    end_key=end_key,
    build=Bird,
)
