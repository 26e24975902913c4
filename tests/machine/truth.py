"""What really happened: what people said, what arrived where, and what the platforms have yet to tell."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from syncd.engine.platform import RawEvent
from syncd.model.facts import ChannelSaid, ContactForm, ContactSaid, CopyStatus, Fact, StatusSeen, UserSaid
from syncd.model.sending import Author, Outgoing, Sent
from syncd.model.topology import Link, Topology
from syncd.model.work import desk_target
from tests.machine.clockwork import Clockwork
from tests.machine.scenery import BIRD, DESK, ORGANIZATION, POLLED
from tests.support.history import Lane

SAME_WITHIN = timedelta(seconds=10)
"""How long an event that names nothing counts as the same one (Ringotel's page §11.6)."""
TELLABLE_WITHIN = 20.0
"""Seconds from a send to an echo that only text and time can tell: later, it may be taken for a new message."""
NEWS_WITHIN = 540.0
"""The same for a status."""
NAMED_WITHIN = 5.0
"""The same for an echo where the answer named no id."""


@dataclass(eq=False, slots=True)
class Speech:
    """One thing that a person said."""

    author: Author
    text: str
    contact: str
    link: str | None
    """None for a user whom the contact may meet on several: then syncd chooses."""
    extension: str | None = None


@dataclass(eq=False, slots=True)
class Hook:
    """A webhook that a platform wants to deliver, or a row that a poll finds."""

    account: str
    event: RawEvent
    made_at: float
    speech: Speech | None = None
    arrival: Arrival | None = None
    """The copy of ours that it speaks of."""
    sessionid: str | None = None
    tried: int | None = None
    """Number of the delivery whose fate is not known."""
    placed: int | None = None
    """Number of the delivery that was acknowledged, or found to be committed."""
    placed_at: float | None = None
    waited: bool = False


@dataclass(eq=False, slots=True)
class Arrival:
    """A copy that a platform really has."""

    account: str
    lane: Lane
    """Without the link, where it is a user's chat."""
    text: str
    reference: str
    messageid: str
    sessionid: str | None
    began_at: float
    named: bool = True
    """The platform's answer tells its id."""


Kind = Literal["send", "open"]


@dataclass(eq=False, slots=True)
class Call:
    """A request that a platform has in hand."""

    account: str
    kind: Kind
    where: tuple[str, ...]
    """The lane of a send, the chat of an open call."""
    reference: str
    began_at: float
    caller: object
    """Who waits for the answer."""


@dataclass(eq=False)
class Truth:
    """Everything that the platforms know."""

    loop: Clockwork
    topology: Topology
    echoes: bool
    """The desk tells of what was written through its API."""
    faults: list[str] = field(default_factory=list)
    """What must not happen, and did."""
    outbox: list[Hook] = field(default_factory=list)
    rows: dict[str, list[Hook]] = field(default_factory=lambda: {end: [] for end in POLLED})
    meaning: dict[bytes, tuple[Fact, ...]] = field(default_factory=dict)
    said: list[Hook] = field(default_factory=list)
    """Everything that was said, acknowledged or not."""
    arrivals: list[Arrival] = field(default_factory=list)
    rejected: set[str] = field(default_factory=set)
    """References of sends, and `EXTENSION CONTACT` of open calls, that a platform refused for good."""
    doubts: Counter[str] = field(default_factory=Counter)
    """References of sends whose answer did not get through, and how often."""
    calls: list[Call] = field(default_factory=list)
    sessions: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    """Of each chat (extension, contact), in the order in which the desk made them."""
    closed: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    attempts: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def hook(self, account: str, key: str, fact: Fact, *, end: str = "", window: timedelta | None = None) -> Hook:
        """Something to be told."""
        body = f"{account}:{key}:{end}".encode()
        self.meaning[body] = (fact,)
        return Hook(account, RawEvent(key, body, end, window), self.loop.elapsed)

    def tell(self, hook: Hook) -> Hook:
        """Have a webhook delivered, some time."""
        self.outbox.append(hook)
        return hook

    # What people do.

    def contact_writes(self, link: Link, contact: str, text: str) -> Hook:
        """A contact writes on a channel."""
        end, messageid = link.channel.key, f"in-{next(self.numbers)}"
        fact = ContactSaid(end, messageid, contact, ContactForm.INTERNATIONAL, text, None)
        hook = self.tell(self.hook(link.channel.account, f"message:{messageid}", fact, end=end))
        hook.speech = Speech(Author.CONTACT, text, contact, link.name)
        self.said.append(hook)
        if end in self.rows:
            self.rows[end].append(hook)
        return hook

    def agent_writes(self, link: Link, contact: str, text: str) -> Hook:
        """Somebody answers on the channel itself."""
        end, messageid = link.channel.key, f"agent-{next(self.numbers)}"
        fact = ChannelSaid(end, messageid, None, contact, ContactForm.INTERNATIONAL, text, None, CopyStatus.SENT)
        hook = self.tell(self.hook(link.channel.account, f"message:{messageid}:sent", fact, end=end))
        hook.speech = Speech(Author.CHANNEL, text, contact, link.name)
        self.said.append(hook)
        return hook

    def user_writes(self, extension: str, contact: str, text: str, named: Literal["all", "id", "nothing"]) -> Hook:
        """A user writes; what the desk then tells names message and session, the message only, or nothing."""
        messageid = f"desk-{next(self.numbers)}"
        sessionid = self.open_session(extension, contact)
        known = messageid if named != "nothing" else None
        fact = UserSaid(
            ORGANIZATION,
            extension,
            None,
            contact,
            ContactForm.PHONE,
            sessionid if named == "all" else None,
            known,
            text,
            None,
        )
        key = f"message:{messageid}" if known else f"hash:{messageid}"
        hook = self.tell(self.hook(DESK, key, fact, window=None if known else SAME_WITHIN))
        links = self.topology.by_desk_user(DESK, ORGANIZATION, extension)
        hook.speech = Speech(Author.USER, text, contact, links[0].name if len(links) == 1 else None, extension)
        hook.sessionid = fact.sessionid
        self.said.append(hook)
        return hook

    def close(self, extension: str, contact: str) -> None:
        """The desk closes a chat's session."""
        self.closed.update(self.sessions[extension, contact])

    # What platforms do.

    def open_session(self, extension: str, contact: str) -> str:
        """The chat's open session, made where there is none."""
        there = self.sessions[extension, contact]
        if not there or there[-1] in self.closed:
            there.append(f"session-{extension}-{next(self.numbers)}")
        return there[-1]

    def begin(self, account: str, kind: Kind, where: tuple[str, ...], reference: str, caller: object) -> Call:
        """A platform gets a request. One at a time in a lane, and one open call at a time for a chat."""
        call = Call(account, kind, where, reference, self.loop.elapsed, caller)
        if any(one.kind == kind and one.where == where for one in self.calls):
            self.faults.append(f"two {kind} requests at once for {'/'.join(where)}")
        self.calls.append(call)
        return call

    def doubt(self, reference: str) -> None:
        """The answer to this send may not get through."""
        self.doubts[reference] += 1

    def hang_up(self, caller: object) -> None:
        """Whoever waited for answers is gone."""
        for call in [one for one in self.calls if one.caller is caller]:
            self.calls.remove(call)

    def take(self, account: str, outgoing: Outgoing, began_at: float, *, named: bool) -> Arrival:
        """A copy arrives, for good."""
        self._check(account, outgoing)
        messageid = f"{account}-{next(self.numbers)}"
        sessionid = None
        if outgoing.extension is not None:
            sessionid = self.open_session(outgoing.extension, outgoing.contact)
            target = desk_target(outgoing.extension)
        else:
            target = self._link_of(account, outgoing).name
        lane = Lane(target, outgoing.contact)
        arrival = Arrival(account, lane, outgoing.text, outgoing.reference, messageid, sessionid, began_at, named)
        self.arrivals.append(arrival)
        self._echo(account, outgoing, arrival)
        return arrival

    def answer(self, arrival: Arrival) -> Sent:
        """What the platform answers."""
        return Sent(arrival.messageid if arrival.named else None, arrival.sessionid)

    def lane_of(self, outgoing: Outgoing) -> tuple[str, ...]:
        """What has one send at a time; of a user's words to another user's chat nobody here knows the link."""
        if outgoing.extension is None:
            return outgoing.end, outgoing.contact
        speech = self.speech(outgoing)
        which = speech.link if speech is not None and speech.link is not None else outgoing.reference
        return outgoing.extension, outgoing.contact, which

    def speech(self, outgoing: Outgoing) -> Speech | None:
        """Who said that."""
        said = [one.speech for one in self.said if one.speech is not None and one.speech.text == outgoing.text]
        return next((one for one in said if one.contact == outgoing.contact), said[0] if said else None)

    def find(self, reference: str) -> Sent | None:
        """Our own send in the platform's list."""
        found = [one for one in self.arrivals if one.reference == reference]
        return Sent(found[0].messageid) if found else None

    def status_of(self, arrival: Arrival, status: CopyStatus) -> None:
        """The platform tells what became of a copy."""
        key = f"{status}:{arrival.messageid}"
        fact: Fact
        if arrival.account == DESK:
            hook = self.hook(DESK, key, StatusSeen(status, messageid=arrival.messageid, sessionid=arrival.sessionid))
        else:
            link = self.topology.link(arrival.lane.target)
            assert link is not None
            end, contact = link.channel.key, arrival.lane.contact
            if arrival.account == BIRD:
                fact = ChannelSaid(
                    end,
                    arrival.messageid,
                    arrival.reference,
                    contact,
                    ContactForm.INTERNATIONAL,
                    arrival.text,
                    None,
                    status,
                )
            else:
                fact = StatusSeen(status, messageid=arrival.messageid, end=end, recipient=contact)
            hook = self.hook(arrival.account, key, fact, end=end)
        hook.arrival = arrival
        self.tell(hook)

    def _echo(self, account: str, outgoing: Outgoing, arrival: Arrival) -> None:
        key = f"message:{arrival.messageid}"
        fact: Fact
        if outgoing.extension is not None:
            if not self.echoes:
                return
            fact = UserSaid(
                outgoing.end,
                outgoing.extension,
                None,
                outgoing.contact,
                ContactForm.PHONE,
                arrival.sessionid,
                arrival.messageid,
                outgoing.text,
                None,
            )
            hook = self.hook(account, key, fact)
        elif account == BIRD:
            fact = ChannelSaid(
                outgoing.end,
                arrival.messageid,
                outgoing.reference,
                outgoing.contact,
                ContactForm.INTERNATIONAL,
                outgoing.text,
                None,
                CopyStatus.SENT,
            )
            hook = self.hook(account, f"{key}:sent", fact, end=outgoing.end)
        else:
            return  # iSlash tells of statuses only.
        hook.arrival = arrival
        hook.sessionid = arrival.sessionid
        self.tell(hook)

    def _link_of(self, account: str, outgoing: Outgoing) -> Link:
        link = self.topology.by_channel(account, outgoing.end)
        assert link is not None, f"a send to a channel that is not there: {outgoing}"
        return link

    def _check(self, account: str, outgoing: Outgoing) -> None:
        speech = self.speech(outgoing)
        if speech is None:
            return  # The history tells.
        if outgoing.contact != speech.contact:
            self.faults.append(f"{outgoing.text!r} was sent to another contact: {outgoing.contact}")
        shown = None
        if account == DESK and speech.author is not Author.CONTACT:
            link = self.topology.link(speech.link) if speech.link else None
            shown = speech.extension or (link.desk.users[0] if link is not None else None)
        if outgoing.author_extension != shown:
            self.faults.append(f"{outgoing.text!r} is shown as said by {outgoing.author_extension}, not {shown}")
