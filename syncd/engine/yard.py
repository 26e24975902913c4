"""Where lanes come from and go back to, as the senders see it (the dispatcher)."""

from __future__ import annotations

from typing import Protocol


class Yard(Protocol):
    """Where lanes go back to: the dispatcher."""

    def wake(self, lane_id: str, account: str) -> None:
        """Visit the lane as soon as its turn comes."""
        ...

    def wake_in(self, lane_id: str, account: str, seconds: float) -> None:
        """Visit the lane after so long."""
        ...

    def send_settled(self, conversation_id: str, *, event_waits: bool) -> None:
        """A send is recorded; `event_waits`: an event was seen to wait for it."""
        ...

    def hurry(self, account: str) -> None:
        """The account works again: let its lanes go on that wait for a time."""
        ...
