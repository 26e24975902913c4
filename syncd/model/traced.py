"""What a trace has found: events, messages with their deliveries and copies, sessions, operations, conversations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from syncd.model.facts import CopyStatus
from syncd.model.files import FileKind
from syncd.model.sending import Author
from syncd.model.work import Op


@dataclass(frozen=True, slots=True)
class Pause:
    """Who has paused an account or link."""

    by: str
    since: datetime


@dataclass(frozen=True, slots=True)
class AccountState:
    """How an account is: `up`, `throttled`, `failing` or `unauthorised`."""

    state: str
    reason: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Around:
    """What may keep any delivery."""

    now: datetime
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    """By account or link."""
    accounts: Mapping[str, AccountState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a platform told."""

    id: str
    account: str
    key: str
    via: str
    state: str
    reason: str
    received_at: datetime
    copies: int
    last_copy_at: datetime | None
    parked_for: str | None
    kept: bool
    """Its raw body is there still."""
    conversation_id: str | None = None
    message: str | None = None
    """The message that it made."""


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt at a delivery."""

    at: datetime
    number: int
    kind: str
    """Its class, e.g. `sent` or `rate_limited`."""
    http_status: int | None
    took_ms: int
    reason: str
    answer: str
    """Redacted."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operator asked for."""

    id: str
    kind: str
    subject: str
    detail: str
    by: str
    at: datetime
    state: str
    result: str
    progress: str = ""
    done_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ahead:
    """The deliveries of its lane that a delivery waits behind."""

    count: int
    id: str
    """The first of them, and its message."""
    message: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Leg:
    """One delivery, with its lane."""

    id: str
    reference: str
    target: str
    op: Op
    part: int
    revision: int
    state: str
    open: bool
    reason: str
    account: str | None
    """The account that carries it out; None where its link is not configured any more."""
    created_at: datetime
    updated_at: datetime
    tried_at: datetime | None = None
    sessionid: str | None = None
    """The session that it was last tried in."""
    forced: bool = False
    history: bool = False
    due_at: datetime | None = None
    """The lane waits until then, and why."""
    why: str = ""
    ahead: Ahead | None = None
    opening: bool = False
    """The session that it goes into is being opened."""
    tries: tuple[Try, ...] = ()
    operations: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True)
class CopyFound:
    """A row of `mapping`."""

    account: str
    extension: str | None
    sessionid: str | None
    messageid: str | None
    part: int
    origin: bool
    status: CopyStatus
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class FileFound:
    """One of a message's files: `wanted`, `kept` or `missing`."""

    kind: FileKind
    name: str
    size: int | None
    state: str
    reason: str
    attempts: int = 0
    due_at: datetime | None = None

    @property
    def words(self) -> str:
        """What people call it."""
        return f"{self.kind} {self.name}".rstrip()


@dataclass(frozen=True, slots=True)
class Session:
    """A chat's session."""

    id: str
    account: str
    organization: str
    extension: str
    contact: str
    sessionid: str
    state: str
    current: bool
    observed_at: datetime
    heir: str | None = None
    """The session in which the chat goes on, where it is not this one."""
    heir_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message with everything that was made of it."""

    id: str
    link: str
    contact: str
    conversation_id: str
    seq: int
    author: Author
    extension: str | None
    text: str | None
    """None where retention has removed it."""
    quote: str
    said_at: datetime
    created_at: datetime
    revision: int
    event: Event | None = None
    files: tuple[FileFound, ...] = ()
    copies: tuple[CopyFound, ...] = ()
    legs: tuple[Leg, ...] = ()
    sessions: tuple[Session, ...] = ()
    """Those that its copies are in."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A contact on a link."""

    id: str
    link: str
    contact: str
    name: str | None
    contact_wrote_at: datetime | None
    created_at: datetime


Found = Message | Event | Session | Operation | Conversation
