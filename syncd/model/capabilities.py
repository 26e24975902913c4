"""What a platform can do and its limits, as data; the core degrades by them in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Facts about one platform. Lengths are in characters (Unicode code points)."""

    role: Literal["desk", "channel"]
    default_rate: float
    """Requests a second that the platform's page advises."""
    max_text: int
    """Longest text of one message that is safe to send."""
    polls: bool = False
    """Has `poll`."""
    finds_sent: bool = False
    """Has `find_sent`: a doubt can be settled by asking."""
    sessions: bool = False
    """Has `open_session`."""
    registers_hooks: bool = False
    """Has `register_hooks`."""
    echoes_challenge: bool = False
    """Its set-up check may call a webhook address with `hub.challenge`, which is to be sent back."""
