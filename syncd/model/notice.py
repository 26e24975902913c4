"""What a user is told in the chat when a message did not reach the contact, or may not have (design §14)."""

from __future__ import annotations

import re

MARK = "[syncd]"
"""How every text begins that syncd itself says."""
_WINDOW = re.compile(r"\b(470|131047)\b|24.?hours?|re-?engagement|customer.care window", re.IGNORECASE)
"""How WhatsApp says that only templates are taken now (iSlash's page §8, §9; Bird's §2.4)."""
_SHOWN = 60
"""Characters of the message that are quoted."""


def undelivered(text: str, reason: str) -> str:
    """For a message that was given up. `reason` is what stands at the delivery."""
    return f"{MARK} Not delivered: {_quoted(text)} ({_plain(reason)})"


def in_doubt(text: str) -> str:
    """For a message of which nobody knows whether it arrived, and which is not sent again by itself."""
    return f"{MARK} It is not certain that this was delivered: {_quoted(text)}. Ask before you repeat it."


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    shown = line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1].rstrip()}…"
    return f"“{shown}”"


def _plain(reason: str) -> str:
    if reason.startswith("older than max_age"):
        return "it waited too long"
    if reason.startswith("given up after"):
        return "the service could not be reached"
    if _WINDOW.search(reason):
        return "the time for free answers is over: the contact must write first"
    if reason.startswith("its link"):
        return "the number is not connected any more"
    return "the service refused it"
