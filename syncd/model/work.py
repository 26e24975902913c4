"""What is to be delivered: lanes and duties, and the names of their parts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from syncd.model.files import FileKind
from syncd.model.parts import KeptFile
from syncd.model.sending import Author

CHANNEL = "channel"
"""Target of a lane: the link's channel end."""

_DESK = "desk:"


def desk_target(extension: str) -> str:
    """Target of a lane: one user's chat."""
    return _DESK + extension


def extension_of(target: str) -> str | None:
    """The user of a desk target; None for the channel."""
    return target[len(_DESK) :] if target.startswith(_DESK) else None


def is_shared_number(user: str) -> bool:
    """Whether what stands in a user's place is a number (DID): too long for an extension. Its chats are group chats."""
    digits = user.removeprefix("+")
    return digits.isascii() and digits.isdigit() and len(digits) >= 7


def lane_id(conversation_id: str, target: str) -> str:
    """A lane is its conversation and its target."""
    return f"{conversation_id}/{target}"


def conversation_of(lane: str) -> str:
    """The conversation of a lane."""
    return lane.partition("/")[0]


class Op(StrEnum):
    """What a delivery does at its target."""

    MESSAGE = "message"
    EDIT = "edit"
    DELETE = "delete"
    DELIVERED = "delivered"
    READ = "read"

    @property
    def is_receipt(self) -> bool:
        """Whether it only tells an author what became of a message."""
        return self in (Op.DELIVERED, Op.READ)


@dataclass(frozen=True, slots=True)
class LaneName:
    """A lane and what tells which account serves it."""

    lane_id: str
    link: str
    target: str


@dataclass(frozen=True, slots=True)
class Chat:
    """Where sessions live: one user (or shared number) and one contact in one organization of one desk account."""

    account: str
    organization: str
    extension: str
    contact: str


@dataclass(frozen=True, slots=True)
class Duty:
    """A delivery with all that is needed to carry it out."""

    delivery_id: str
    lane_id: str
    target: str
    reference: str
    link: str
    conversation_id: str
    contact: str
    spelling: str | None
    """The contact as the channel last spelled it."""
    name: str | None
    message: str
    seq: int
    author: Author
    author_extension: str | None
    text: str
    said_at: datetime
    created_at: datetime
    """When syncd took the message."""
    op: Op = Op.MESSAGE
    part: int = 0
    """Which piece of the message (`syncd.model.parts`)."""
    revision: int = 0
    """How often the message had been edited when this was written."""
    quote: str = ""
    """First words of the message that it answers to."""
    kinds: tuple[FileKind, ...] = ()
    """Of the message's files."""
    history: bool = False
    """It is put into the chat's history, however old it is, and nobody is notified."""
    files: tuple[KeptFile, ...] = ()
    """As they stand; only of a duty that was read from the tables."""
