"""Bird (channel): SMS, WhatsApp and other channels of a workspace, over its Channels and Notifications APIs."""

from __future__ import annotations

from syncd.engine.platform import Plugin
from syncd.model.capabilities import Capabilities
from syncd.platforms.bird.client import Bird
from syncd.platforms.bird.settings import BirdAccount, BirdEnd, end_key

__all__ = ["plugin"]

plugin = Plugin(
    name="bird",
    capabilities=Capabilities(
        role="channel",
        default_rate=20.0,
        max_text=1600,
        polls=True,
        finds_sent=True,
        registers_hooks=True,
    ),
    account_model=BirdAccount,
    end_model=BirdEnd,
    end_key=end_key,
    build=Bird,
)
