"""What the store knows of all that a batch of events touches, and what the decisions on them add to it.

Loaded by `syncd.store.loading.load`, read and changed by `syncd.model.decide`, written back by
`syncd.store.saving.save`. Later events of a batch see what earlier ones decided.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, fields
from datetime import datetime

from syncd.model.facts import CopyStatus
from syncd.model.sending import Author
from syncd.model.work import Chat, Duty, extension_of, lane_id


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


@dataclass(slots=True)
class Picture:
    """A unit of work without a database."""

    new_id: Callable[[], str]
    now: datetime
    conversations: dict[tuple[str, str], Conversation] = field(default_factory=dict)
    """By (link, contact)."""
    copies: dict[tuple[str, str], Copy] = field(default_factory=dict)
    """By (account, messageid)."""
    nameless: dict[tuple[str, str], list[Nameless]] = field(default_factory=dict)
    """Our copies whose id the platform did not tell, by (account, sessionid)."""
    sessions: dict[tuple[str, str], Session] = field(default_factory=dict)
    """By (account, sessionid)."""
    current: dict[Chat, Session] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)
    """By reference."""
    in_flight: set[str] = field(default_factory=set)
    """Lanes with a send that is not settled."""
    doubts: dict[str, list[Pending]] = field(default_factory=dict)
    """Sends whose answer was lost, by lane; of lanes that events of this batch may speak of."""
    waiting: set[str] = field(default_factory=set)
    """Conversations with an event that waits."""

    touched_conversations: dict[str, Conversation] = field(default_factory=dict)
    touched_sessions: dict[str, Session] = field(default_factory=dict)
    new_messages: list[NewMessage] = field(default_factory=list)
    new_copies: list[Copy] = field(default_factory=list)
    changed_copies: dict[tuple[str, str, int], Copy] = field(default_factory=dict)
    named_copies: list[Copy] = field(default_factory=list)
    """Nameless copies that got their id."""
    duties: list[Duty] = field(default_factory=list)
    settled: list[Pending] = field(default_factory=list)
    """Deliveries that an echo proves to be sent."""

    def trial(self) -> Picture:
        """A copy on which decisions can be tried."""
        taken = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("new_id", "now")}
        return Picture(self.new_id, self.now, **deepcopy(taken))

    def conversation(self, link: str, contact: str) -> Conversation:
        """The conversation, made if there is none."""
        known = self.conversations.get((link, contact))
        if known is None:
            known = Conversation(self.new_id(), link, contact, None, None, 1, None, is_new=True)
            self.conversations[link, contact] = known
        self.touched_conversations[known.id] = known
        return known

    def say(
        self,
        conversation: Conversation,
        *,
        author: Author,
        extension: str | None,
        text: str,
        said_at: datetime,
        event_id: str,
        targets: list[str],
    ) -> NewMessage:
        """Make a message and the duty to put it on each target."""
        message = NewMessage(
            self.new_id(), conversation.id, conversation.next_seq, author, extension, text, said_at, event_id
        )
        conversation.next_seq += 1
        self.touched_conversations[conversation.id] = conversation
        self.new_messages.append(message)
        for target in targets:
            delivery_id = self.new_id()
            self.duties.append(
                Duty(
                    delivery_id=delivery_id,
                    lane_id=lane_id(conversation.id, target),
                    target=target,
                    reference=f"syncd-{delivery_id}",
                    link=conversation.link,
                    conversation_id=conversation.id,
                    contact=conversation.contact,
                    spelling=conversation.spelling,
                    name=conversation.name,
                    message=message.id,
                    seq=message.seq,
                    author=author,
                    author_extension=extension,
                    text=text,
                    said_at=said_at,
                    created_at=self.now,
                )
            )
        return message

    def hear(
        self,
        message: NewMessage,
        conversation: Conversation,
        account: str,
        messageid: str | None,
        status: CopyStatus,
        *,
        extension: str | None = None,
        sessionid: str | None = None,
    ) -> None:
        """Record the copy in which a message was said."""
        self.add_copy(
            Copy(
                message=message.id,
                link=conversation.link,
                account=account,
                contact=conversation.contact,
                extension=extension,
                sessionid=sessionid,
                messageid=messageid,
                direction=direction_of(message.author),
                origin=True,
                status=status,
            )
        )

    def add_copy(self, copy: Copy) -> None:
        """Record where a copy of a message lives."""
        self.new_copies.append(copy)
        if copy.messageid is not None:
            self.copies[copy.account, copy.messageid] = copy

    def settle(self, pending: Pending, account: str, messageid: str | None, status: CopyStatus) -> None:
        """An echo or a status proves that a delivery was sent, and tells its id."""
        extension = extension_of(pending.target)
        self.add_copy(
            Copy(
                message=pending.message,
                link=pending.link,
                account=account,
                contact=pending.contact,
                extension=extension,
                sessionid=pending.sessionid if extension is not None else None,
                messageid=messageid,
                direction=direction_of(pending.author),
                origin=False,
                status=status,
                part=pending.part,
            )
        )
        self.settled.append(pending)
        doubts = self.doubts.get(pending.lane_id, [])
        if pending in doubts:
            doubts.remove(pending)

    def raise_status(self, copy: Copy, status: CopyStatus) -> bool:
        """Take a status if it says more than what is known (Bird's page §8, iSlash's §5). Whether it did."""
        if _RANK[status] <= _RANK[copy.status]:
            return False
        copy.status = status
        assert copy.messageid is not None
        self.changed_copies[copy.account, copy.messageid, copy.part] = copy
        return True

    def name_copy(self, nameless: Nameless, messageid: str) -> None:
        """A platform tells the id of a copy that it had taken without naming it."""
        copy = nameless.copy
        assert copy.sessionid is not None
        self.nameless[copy.account, copy.sessionid].remove(nameless)
        copy.messageid = messageid
        self.copies[copy.account, messageid] = copy
        self.named_copies.append(copy)

    def adopt(self, chat: Chat, sessionid: str, *, spelling: str | None, at: datetime, answer: bool = False) -> None:
        """A platform names a session of this chat (G6).

        One never seen becomes current. A superseded one becomes current again only when the answer to a send of ours
        names it: a webhook may have been under way for hours.
        """
        known = self.sessions.get((chat.account, sessionid))
        if known is not None and spelling is not None and known.spelling != spelling:
            known.spelling = spelling
            self.touched_sessions[known.id] = known
        if known is not None and (known.current or not answer or known.chat != chat):
            return
        before = self.current.get(chat)
        if before is not None:
            before.current = False
            before.state = "closed"
            self.touched_sessions[before.id] = before
        if known is None:
            spelling = spelling or (before.spelling if before else None)
            known = Session(self.new_id(), chat, sessionid, spelling, "open", True, at, is_new=True)
        known.current = True
        known.state = "open"
        self.sessions[chat.account, sessionid] = known
        self.current[chat] = known
        self.touched_sessions[known.id] = known


def direction_of(author: Author) -> str:
    """`in` where the contact spoke, `out` where our side did (column `mapping.direction`)."""
    return "in" if author is Author.CONTACT else "out"


_RANK = {
    CopyStatus.RECEIVED: 0,
    CopyStatus.SENT: 1,
    CopyStatus.FAILED: 2,
    CopyStatus.DELIVERED: 3,
    CopyStatus.READ: 4,
    CopyStatus.DELETED: 5,
}
