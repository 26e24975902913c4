"""What a Ringotel account holds: organizations, users, sessions and messages, kept as plain dictionaries."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Literal

from syncd.simulators.ringotel_files import StoredFile

Direction = Literal["incoming", "outgoing"]
Tick = Literal["sent", "delivered", "read"]

TEXT, FILE, LINK, CALL_RECORD = 1, 2, 7, 8
"""Values of a message's `type`; a link becomes a file."""


class Refusal(Exception):
    """A call that Ringotel answers with an `error` inside HTTP 200."""


@dataclass(slots=True)
class User:
    """A user of an organization; its extension is the API's `phone`."""

    id: str
    extension: str
    name: str
    state: int = 1


@dataclass(slots=True)
class Organization:
    """An organization of the account."""

    id: str
    domain: str
    name: str
    users: dict[str, User] = field(default_factory=dict)
    """By extension."""
    users_by_id: dict[str, User] = field(default_factory=dict)
    numbers: dict[str, list[str]] = field(default_factory=dict)
    """Shared numbers (DIDs) and the ids of the users behind them."""


@dataclass(slots=True)
class Session:
    """The chat of one user (or shared number) with one contact, until it closes."""

    id: str
    organization: str
    extension: str
    contact: str
    """As it was spelled when the session began."""
    opened_by: Literal["open", "message", "user"]
    """An open call, an API message without a session or into a closed one, or the user."""
    opaque: bool = False
    """The contact is a `senderid`."""
    open: bool = True
    read_at: float | None = None
    """When the contact had last read it, as an API `read` said."""
    typing_at: float | None = None
    to_be_read: dict[Direction, list[Message]] = field(
        default_factory=lambda: {"incoming": [], "outgoing": []}, repr=False
    )
    """Messages that the other side has not read, in the order in which they got here."""


@dataclass(slots=True)
class Message:
    """One message as the user's app shows it."""

    id: str
    sessionid: str
    sender: str
    """API and webhook member `from`: an extension where outgoing, the contact where incoming."""
    recipient: str
    """Member `to`."""
    content: str
    timestamp: int | None
    """Milliseconds, as the API call gave it; None for a live message."""
    direction: Direction
    at: float
    """When it got here: seconds since 1970."""
    type: int = 1
    by_api: bool = False
    """Written by the API, not by the user in the app."""
    notified: bool = False
    """The user's app rang for it: a live incoming message."""
    file: StoredFile | None = None
    """What `content` is the address of, where the simulator has it."""
    tick: Tick = "sent"
    """What is known of the other side: of the contact by calls of the API, of the user by the app's own doing."""
    edited: bool = False
    deleted: bool = False

    @property
    def shown_at(self) -> float:
        """The time that the app shows, seconds since 1970."""
        return self.at if self.timestamp is None else self.timestamp / 1000

    @property
    def delivered(self) -> bool:
        """The other side got it."""
        return self.tick != "sent"

    def get_delivered(self) -> None:
        """The other side got it; a tick never goes back."""
        if self.tick == "sent":
            self.tick = "delivered"


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of a chat, as the user sees it; of what is deleted, as it was."""

    messageid: str
    side: Literal["contact", "user"]
    author: str
    """The extension or the contact."""
    text: str
    """Empty for a file."""
    file: StoredFile | None
    tick: Tick
    edited: bool
    deleted: bool

    @classmethod
    def of(cls, message: Message) -> Shown:
        """What is seen of a message."""
        return cls(
            messageid=message.id,
            side="user" if message.direction == "outgoing" else "contact",
            author=message.sender,
            text="" if message.type == FILE else message.content,
            file=message.file,
            tick=message.tick,
            edited=message.edited,
            deleted=message.deleted,
        )


ChatKey = tuple[str, str, str]
"""Organization, extension (or shared number), contact without a leading `+`."""


def chat_key(organization: str, extension: str, contact: str) -> ChatKey:
    """The key of a chat; `+1555…` and `1555…` are the same contact."""
    return organization, extension, contact.removeprefix("+")


class Desk:
    """The truth behind the simulator. Every operation takes constant time."""

    def __init__(self, first_id: int) -> None:
        self._next_id = first_id
        self.organizations: dict[str, Organization] = {}
        """By id."""
        self.domains: dict[str, Organization] = {}
        self.sessions: dict[str, Session] = {}
        self.messages: dict[str, Message] = {}
        self.current: dict[ChatKey, Session] = {}
        self.chats: dict[ChatKey, list[Message]] = {}
        """In the order in which they got here."""
        self.files: dict[str, StoredFile] = {}
        """By token: the unguessable part of a file's address."""

    def long_id(self) -> str:
        """An id of an organization, user or number: 20 digits, soon past 2**64."""
        self._next_id += 1
        return str(self._next_id - 1)

    @staticmethod
    def short_id() -> str:
        """An id of a message or session: 13 digits of milliseconds, 18 hex digits."""
        return f"{time.time_ns() // 1_000_000}-{random.getrandbits(72):018x}"

    def organization(self, orgid: object, domain: object = None) -> Organization:
        """By `orgid`, else by `domain`. Raises `Refusal`."""
        found = self.domains.get(str(domain)) if orgid is None else self.organizations.get(str(orgid))
        if found is None:
            raise Refusal("Organization not found")
        return found

    def start(
        self,
        organization: str,
        extension: str,
        contact: str,
        opened_by: Literal["open", "message", "user"],
        *,
        opaque: bool = False,
    ) -> Session:
        """A new session, which becomes the chat's current one."""
        session = Session(self.short_id(), organization, extension, contact, opened_by, opaque)
        self.sessions[session.id] = session
        self.current[chat_key(organization, extension, contact)] = session
        return session

    def open_of(self, organization: str, extension: str, contact: str) -> Session | None:
        """The current session of a chat, if it is open."""
        session = self.current.get(chat_key(organization, extension, contact))
        return session if session is not None and session.open else None

    def session(self, organization: str, sessionid: object) -> Session:
        """A session of this organization, open or closed. Raises `Refusal`."""
        session = self.sessions.get(str(sessionid))
        if session is None or session.organization != organization:
            raise Refusal("Session not found")
        return session

    def message(self, organization: str, messageid: object) -> Message:
        """A message of this organization. Raises `Refusal`."""
        message = self.messages.get(str(messageid))
        if message is None or self.sessions[message.sessionid].organization != organization:
            raise Refusal("Message not found")
        return message

    def keep(self, message: Message) -> None:
        """Put a message into its session's chat."""
        session = self.sessions[message.sessionid]
        self.messages[message.id] = message
        key = chat_key(session.organization, session.extension, session.contact)
        self.chats.setdefault(key, []).append(message)
        session.to_be_read[message.direction].append(message)

    def keep_file(self, file: StoredFile) -> StoredFile:
        """Put a file where its address finds it."""
        self.files[file.token] = file
        return file

    @staticmethod
    def read(session: Session, direction: Direction, upto: Message | None = None) -> None:
        """The other side has read what went in this direction: all of it, or what was there when `upto` came."""
        waiting = session.to_be_read[direction]
        later = (place for place, one in enumerate(waiting) if upto is not None and one.at > upto.at)
        count = next(later, len(waiting))
        for message in waiting[:count]:
            message.tick = "read"
        del waiting[:count]
