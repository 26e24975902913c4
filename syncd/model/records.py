"""What the store knows, as decisions see it: conversations, copies, sessions, sends in doubt, messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from syncd.model.facts import CopyStatus
from syncd.model.files import Attachment, FileKind
from syncd.model.sending import Author
from syncd.model.work import Chat, Op


@dataclass(slots=True)
class Conversation:
    """One contact on one link."""

    id: str
    link: str
    contact: str
    spelling: str | None
    name: str | None
    next_seq: int
    contact_wrote_at: datetime | None
    is_new: bool = False


@dataclass(slots=True)
class Copy:
    """A row of `mapping`."""

    message: str
    link: str
    account: str
    contact: str
    extension: str | None
    sessionid: str | None
    messageid: str | None
    direction: str
    origin: bool
    status: CopyStatus
    part: int = 0


@dataclass(slots=True)
class Nameless:
    """A copy of ours that the platform took without telling its id."""

    copy: Copy
    text: str
    written_at: datetime
    quote: str = ""
    kinds: tuple[FileKind, ...] = ()
    """Of the message's files."""


@dataclass(slots=True)
class Session:
    """One Ringotel `sessionid`, or one that is being opened."""

    id: str
    chat: Chat
    sessionid: str | None
    spelling: str | None
    state: str
    current: bool
    observed_at: datetime
    is_new: bool = False


@dataclass(slots=True)
class Pending:
    """A delivery that is not known to be sent, and that an event may speak of."""

    id: str
    lane_id: str
    message: str
    target: str
    part: int
    state: str
    conversation_id: str
    link: str
    contact: str
    author: Author
    text: str
    sessionid: str | None
    tried_at: datetime | None
    quote: str = ""
    kinds: tuple[FileKind, ...] = ()
    """Of the message's files."""


@dataclass(slots=True)
class Errand:
    """A delivery of a message that something else is decided on."""

    id: str
    lane_id: str
    target: str
    op: Op
    part: int
    state: str


@dataclass(slots=True)
class Said:
    """A message that is known, with all that was made of it."""

    id: str
    link: str
    contact: str
    conversation_id: str
    author: Author
    extension: str | None
    text: str
    said_at: datetime
    revision: int
    kinds: tuple[FileKind, ...]
    """Of its files."""
    quote: str = ""
    errands: list[Errand] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Untold:
    """A message that did not reach the contact, as the platform tells later."""

    said: Said
    reason: str


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be stored."""

    id: str
    conversation_id: str
    seq: int
    author: Author
    extension: str | None
    text: str
    said_at: datetime
    event_id: str
    account: str
    """Whose platform told of it, and so of its files."""
    files: tuple[Attachment, ...] = ()
    quote: str = ""


def direction_of(author: Author) -> str:
    """`in` where the contact spoke, `out` where our side did (column `mapping.direction`)."""
    return "in" if author is Author.CONTACT else "out"


RANK = {
    CopyStatus.RECEIVED: 0,
    CopyStatus.SENT: 1,
    CopyStatus.FAILED: 2,
    CopyStatus.DELIVERED: 3,
    CopyStatus.READ: 4,
    CopyStatus.DELETED: 5,
}
"""A status that says more than another has the higher rank."""
