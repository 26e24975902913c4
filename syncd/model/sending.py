"""One send: what a platform is asked to put where, and the ways it can end (design §8.4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from syncd.model.files import File
from syncd.model.text import storable


class Author(StrEnum):
    """Who said a message."""

    CONTACT = "contact"
    USER = "user"
    CHANNEL = "channel"
    """Somebody on the channel itself: an agent, a flow, a campaign."""
    SYNCD = "syncd"
    """syncd itself: a notice to a user, shown as if the contact wrote it."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One copy to be put on one target."""

    reference: str
    """Ours, unique for ever, the same on every try of this delivery."""
    end: str
    """Key of the end: the organization at a desk, the channel or session alias at a channel."""
    contact: str
    """E.164 where it is a phone number, else the platform's own address."""
    spelling: str | None
    """How this platform last spelled the contact in this conversation; None before it ever did."""
    text: str
    said_at: datetime
    """UTC."""
    author: Author
    extension: str | None = None
    """Desk only: the user whose chat gets the copy."""
    author_extension: str | None = None
    """Desk only: the user shown as author of an outgoing message (None: the contact speaks)."""
    sessionid: str | None = None
    """Desk only: the current session of that chat."""
    name: str | None = None
    """The contact's display name, where a channel told one."""
    file: File | None = None
    """A file to be sent; `text` is then its caption, empty where the platform has none (`Capabilities.captions`)."""
    history: bool = False
    """Desk only: something said long ago, to stand where it was said; nobody is notified."""
    copy_of: str | None = None
    """Desk only: the desk's own id of a message whose content is to be put here, instead of text or file."""
    quotes: str | None = None
    """Only with `Capabilities.quotes`: the platform's own id of the message that this one answers to."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is done to a copy that is there already."""

    end: str
    messageid: str
    """The platform's id of the copy."""
    sessionid: str | None
    """The session that holds it; None on channels."""
    text: str = ""
    """The new text, for an edit."""


class Receipt(StrEnum):
    """What an author is told of a message."""

    DELIVERED = "delivered"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Opening:
    """A session to be opened: the chat of one desk user with one contact."""

    end: str
    contact: str
    spelling: str | None
    extension: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """The platform took it."""

    messageid: str | None
    """The platform's id of the copy; None where it took the message without naming it."""
    sessionid: str | None = None
    """Desk only: the session that the answer names, whether or not it is the one that was asked for."""
    http_status: int | None = None
    answer: str = ""
    """The answer's text, redacted, at most 1,000 characters (for `attempt`)."""


class SendError(Exception):
    """A send that did not end in `Sent`. `reason` is for people; `answer` is redacted and at most 1,000 characters."""

    def __init__(self, reason: str, *, http_status: int | None = None, answer: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.http_status = http_status
        self.answer = answer[:1000]

    def storable(self) -> Self:
        """Itself, with texts that every database takes: a platform may say anything in its refusals."""
        self.reason, self.answer = storable(self.reason), storable(self.answer)
        return self


class NotSent(SendError):
    """Certainly not done: no byte was written, or the platform says so. Try again later.

    `tries` caps the number of attempts after which the platform's answer counts as a verdict (None: no cap).
    """

    def __init__(
        self, reason: str, *, tries: int | None = None, http_status: int | None = None, answer: str = ""
    ) -> None:
        super().__init__(reason, http_status=http_status, answer=answer)
        self.tries = tries


class RateLimited(SendError):
    """Not processed; wait `retry_after` seconds (None: the platform does not say). Costs no attempt."""

    def __init__(
        self, reason: str, *, retry_after: float | None = None, http_status: int | None = None, answer: str = ""
    ) -> None:
        super().__init__(reason, http_status=http_status, answer=answer)
        self.retry_after = retry_after


class Rejected(SendError):
    """The platform's verdict on this payload: no repeat will help."""


class AuthFailed(SendError):
    """The account's credentials are refused: the account pauses, its queue is kept."""


class EndRefused(SendError):
    """This one end's credentials are refused, or it is not connected: its lanes wait, the account goes on (G10)."""


class Gone(SendError):
    """The end itself no longer exists at the platform."""


class MaybeSent(SendError):
    """Bytes were written and no clear answer came: it may have been done. Never repeated without settling the doubt."""
