"""What a platform can do and its limits, as data; the core degrades by them in one place (`syncd.model.parts`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from syncd.model.files import FileKind


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Facts about one platform. Lengths are in characters (Unicode code points), sizes in bytes."""

    role: Literal["desk", "channel"]
    default_rate: float
    """Requests a second that the platform's page advises."""
    max_text: int
    """Longest text of one message that is safe to send."""
    polls: bool = False
    """Has `poll`."""
    history: bool = False
    """Has `history`: what was said on a channel can be read again."""
    finds_sent: bool = False
    """Has `find_sent`: a doubt can be settled by asking."""
    sessions: bool = False
    """Has `open_session`."""
    directory: bool = False
    """Has `users`."""
    registers_hooks: bool = False
    """Has `register_hooks`."""
    echoes_challenge: bool = False
    """Its set-up check may call a webhook address with `hub.challenge`, which is to be sent back."""
    files: Mapping[FileKind, int] = field(default_factory=dict)
    """The kinds of files that can be sent, each with the most bytes of one; any other becomes a line of text."""
    types: Mapping[FileKind, tuple[str, ...]] = field(default_factory=dict)
    """Of a kind that is named here, the only content types that are taken; `image/` stands for all that begin so."""
    captions: frozenset[FileKind] = frozenset()
    """The kinds of files that may carry a text."""
    max_caption: int = 0
    quotes: bool = False
    """Can answer to a message natively (`Outgoing.quotes`)."""
    edits: bool = False
    """Has `edit`."""
    deletes: bool = False
    """Has `delete`."""
    receipts: bool = False
    """Has `receipt`."""
