"""What the store knows of all that a batch of events touches, and what the decisions on them add to it.

Loaded by `syncd.store.loading.load`, read and changed by `syncd.model.decide`, written back by
`syncd.store.saving.save`. Later events of a batch see what earlier ones decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from datetime import datetime

from syncd.model.facts import CopyStatus
from syncd.model.files import Attachment
from syncd.model.records import (
    RANK,
    Conversation,
    Copy,
    Errand,
    Nameless,
    NewMessage,
    Pending,
    Said,
    Session,
    Untold,
    direction_of,
)
from syncd.model.sending import Author
from syncd.model.work import Chat, Duty, Op, extension_of, lane_id


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
    nameless_on_channel: dict[tuple[str, str], list[Nameless]] = field(default_factory=dict)
    """The same on channels, by (link, contact)."""
    sessions: dict[tuple[str, str], Session] = field(default_factory=dict)
    """By (account, sessionid)."""
    current: dict[Chat, Session] = field(default_factory=dict)
    users: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """The extension that the directory has for (account, organization, userid); of those whom `asked_for` names."""
    pending: dict[str, Pending] = field(default_factory=dict)
    """By reference."""
    in_flight: set[str] = field(default_factory=set)
    """Lanes with a send that is not settled."""
    sending: set[str] = field(default_factory=set)
    """Those of them whose send has no answer yet, so that news may speak of it."""
    speaking: set[str] = field(default_factory=set)
    """Lanes of those who said something, or of whose copies a status may speak."""
    doubts: dict[str, list[Pending]] = field(default_factory=dict)
    """Sends whose answer was lost, by lane; of lanes that events of this batch may speak of."""
    waiting: set[str] = field(default_factory=set)
    """Conversations with an event that waits."""
    said: dict[str, Said] = field(default_factory=dict)
    """Messages that statuses, edits and deletions of this batch speak of, and those that it makes."""
    lately: dict[tuple[str, str], list[Copy]] = field(default_factory=dict)
    """Copies that a status of many at once may speak of: by (account, sessionid), on channels by (account, link)."""

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
    rewritten: dict[str, Said] = field(default_factory=dict)
    """Messages whose text was edited."""
    edited_in_queue: list[Errand] = field(default_factory=list)
    """Deliveries that carry the new text when they are sent."""
    withdrawn: list[Errand] = field(default_factory=list)
    """Deliveries that are not to be made any more."""
    untold: list[Untold] = field(default_factory=list)
    strangers: set[tuple[str, str]] = field(default_factory=set)
    """The (account, organization) of authors whom the directory does not have."""
    wanted: list[str] = field(default_factory=list)
    """Files that are to be fetched, once the picture is saved."""

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
        account: str,
        targets: Mapping[str, int],
        files: tuple[Attachment, ...] = (),
        quote: str = "",
        history: bool = False,
    ) -> NewMessage:
        """Make a message, and the duties to put it on each target in so many pieces."""
        seq = self.next_seq(conversation)
        message = NewMessage(
            self.new_id(), conversation.id, seq, author, extension, text, said_at, event_id, account, files, quote
        )
        self.new_messages.append(message)
        said = Said(
            message.id,
            conversation.link,
            conversation.contact,
            conversation.id,
            author,
            extension,
            text,
            said_at,
            0,
            tuple(file.kind for file in files),
            quote,
        )
        self.said[message.id] = said
        for target, parts in targets.items():
            for part in range(parts):
                self.oblige(conversation, said, target, Op.MESSAGE, seq=seq, part=part, quote=quote, history=history)
        return message

    def next_seq(self, conversation: Conversation) -> int:
        """The next place in a conversation's order."""
        seq = conversation.next_seq
        conversation.next_seq += 1
        self.touched_conversations[conversation.id] = conversation
        return seq

    def oblige(
        self,
        conversation: Conversation,
        said: Said,
        target: str,
        op: Op,
        *,
        seq: int,
        part: int = 0,
        quote: str = "",
        history: bool = False,
    ) -> None:
        """Make a duty: a delivery of a message, or something to be done to one that was delivered."""
        delivery_id = self.new_id()
        duty = Duty(
            delivery_id=delivery_id,
            lane_id=lane_id(conversation.id, target),
            target=target,
            reference=f"syncd-{delivery_id}",
            link=conversation.link,
            conversation_id=conversation.id,
            contact=conversation.contact,
            spelling=conversation.spelling,
            name=conversation.name,
            message=said.id,
            seq=seq,
            author=said.author,
            author_extension=said.extension,
            text=said.text,
            said_at=said.said_at,
            created_at=self.now,
            op=op,
            part=part,
            revision=said.revision,
            quote=quote,
            kinds=said.kinds,
            history=history,
        )
        self.duties.append(duty)
        said.errands.append(Errand(delivery_id, duty.lane_id, target, op, part, "ready"))

    def withdraw(self, errands: Iterable[Errand]) -> None:
        """Let deliveries that have not begun never begin."""
        for errand in errands:
            errand.state = "skipped"
            self.withdrawn.append(errand)

    def rewrite(self, said: Said, text: str) -> None:
        """The author changed the text."""
        said.text = text
        said.revision += 1
        self.rewritten[said.id] = said

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
        if copy.message in self.said:
            self.said[copy.message].copies.append(copy)
        if copy.messageid is not None:
            self.copies[copy.account, copy.messageid] = copy

    def settle(self, pending: Pending, account: str, messageid: str | None, status: CopyStatus) -> Copy:
        """An echo or a status proves that a delivery was sent, and tells its id."""
        extension = extension_of(pending.target)
        copy = Copy(
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
        self.add_copy(copy)
        self.settled.append(pending)
        doubts = self.doubts.get(pending.lane_id, [])
        if pending in doubts:
            doubts.remove(pending)
        return copy

    def raise_status(self, copy: Copy, status: CopyStatus) -> bool:
        """Take a status if it says more than what is known (Bird's page §8, iSlash's §5). Whether it did."""
        if RANK[status] <= RANK[copy.status]:
            return False
        copy.status = status
        assert copy.messageid is not None
        self.changed_copies[copy.account, copy.messageid, copy.part] = copy
        return True

    def name_copy(self, nameless: Nameless, messageid: str) -> None:
        """A platform tells the id of a copy that it had taken without naming it."""
        copy = nameless.copy
        if copy.sessionid is not None:
            self.nameless[copy.account, copy.sessionid].remove(nameless)
        else:
            self.nameless_on_channel[copy.link, copy.contact].remove(nameless)
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
