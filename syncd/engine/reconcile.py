"""Doubts: sends whose answer was lost, settled by asking, by news, or by the link's policy (G3, design §14)."""

from __future__ import annotations

import random
from datetime import timedelta

from syncd.engine.claims import ToSettle
from syncd.engine.platform import Platform
from syncd.model.retry import SETTLE, Verdict, backoff
from syncd.model.sending import Outgoing, SendError, Sent
from syncd.model.topology import Link

ABSENT_AFTER = timedelta(seconds=10)
"""A send that a platform's own list does not show after so long was certainly not done."""
ASK_AGAIN = 2.0
"""Seconds."""
LOOK_FIRST = 1.0
"""Seconds for news that waited for a send, before its old doubt is decided without any."""


async def ask(platform: Platform, claim: ToSettle, outgoing: Outgoing) -> tuple[Sent | None, Verdict]:
    """Settle a doubt at a platform that can be asked: found and adopted, or certainly absent and sent again.

    Raises a `SendError` where the platform cannot be asked now.
    """
    found = await platform.find_sent(outgoing, claim.tried_at)
    if found is not None:
        return found, Verdict("sent", False, None, "found at the platform by its reference")
    if claim.now - claim.tried_at < ABSENT_AFTER:
        return None, Verdict("unknown", True, ASK_AGAIN, "not found at the platform yet")
    return None, Verdict("ready", True, None, "certainly not sent: the platform does not have it")


def cannot_ask(error: SendError, claim: ToSettle) -> Verdict:
    """The doubt stays, and the lane waits, until the platform can be asked."""
    wait = backoff(claim.number, random.random)
    return Verdict("unknown", True, wait, f"cannot ask whether it was sent: {error.reason}")


def wait_for_news(claim: ToSettle, link: Link) -> Verdict:
    """A platform that cannot be asked: an echo or a status may still name the send; then the link's policy decides."""
    left = (claim.tried_at + SETTLE - claim.now).total_seconds()
    if left > 0 or not claim.looked:
        return Verdict("unknown", True, max(left, LOOK_FIRST), "waits for news of a send whose answer was lost")
    if link.on_unknown == "resend":
        return Verdict("ready", True, None, "sent again, as the link says: its answer was lost")
    return Verdict("unknown", False, None, "held: its answer was lost and no news came")
