"""iSlash: WhatsApp, Messenger and other channels; sends over its public API, hears by webhook only."""

from __future__ import annotations

from typing import Any

from syncd.engine.platform import Plugin
from syncd.model.capabilities import Capabilities
from syncd.model.files import FileKind
from syncd.platforms.islash.client import ISlash
from syncd.platforms.islash.settings import ISlashAccount, ISlashEnd

__all__ = ["plugin"]


def _end_key(link: str, settings: Any) -> str:
    """The link's name: the session key is a credential and is never stored (A3)."""
    return link


_AUDIO = ("audio/mpeg", "audio/mp3", "audio/ogg", "audio/amr", "audio/3gpp", "audio/aac", "audio/mp4")
_OFFICE = "application/vnd.openxmlformats-officedocument"

plugin = Plugin(
    name="islash",
    capabilities=Capabilities(
        role="channel",
        # Neither limit is documented by iSlash; §9 advises both.
        default_rate=1.0,
        max_text=4000,
        echoes_challenge=True,
        # §9; a megabyte is taken for the smaller of the two that the word can mean.
        files={
            FileKind.IMAGE: 5_000_000,
            FileKind.AUDIO: 16_000_000,
            FileKind.VOICE: 16_000_000,
            FileKind.VIDEO: 16_000_000,
            FileKind.STICKER: 100_000,
            FileKind.FILE: 16_000_000,
        },
        types={
            FileKind.IMAGE: ("image/jpeg", "image/png"),
            FileKind.AUDIO: _AUDIO,
            FileKind.VOICE: _AUDIO,
            FileKind.VIDEO: ("video/mp4", "video/3gpp"),
            FileKind.STICKER: ("image/webp",),
            FileKind.FILE: (
                "application/pdf",
                "application/msword",
                f"{_OFFICE}.wordprocessingml.document",
                f"{_OFFICE}.presentationml.presentation",
                f"{_OFFICE}.spreadsheetml.sheet",
            ),
        },
        # A channel drops the caption of any other (A12).
        captions=frozenset({FileKind.IMAGE, FileKind.VIDEO, FileKind.FILE}),
        max_caption=1024,
    ),
    account_model=ISlashAccount,
    end_model=ISlashEnd,
    end_key=_end_key,
    build=ISlash,
)
