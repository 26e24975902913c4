"""Resync: what the channel's history and the ledger have, compared with what each user's chat has (G15). Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from syncd.model.sending import Author
from syncd.model.work import desk_target

NEAR = timedelta(minutes=2)
"""How far apart two clocks may put one message that has no id."""


class Mode(StrEnum):
    """How what is missing gets into a chat."""

    HISTORY = "history"
    """With its original time, read already, however old it is."""
    LIVE = "live"
    """As if it had just been said: users are notified, and `max_age` applies."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is compared: what was said on a link in a span of time (both ends included)."""

    link: str
    since: datetime
    until: datetime
    contact: str | None = None
    """Only this contact, as conversations name it."""
    user: str | None = None
    """Only this user's chats; what no chat has goes to all users all the same."""
    mode: Mode = Mode.HISTORY


@dataclass(frozen=True, slots=True)
class Told:
    """One message as the channel's history tells it."""

    key: str
    """Of its event."""
    messageid: str | None
    reference: str | None
    """Ours, where we sent it."""
    contact: str
    author: Author
    text: str
    said_at: datetime


@dataclass(frozen=True, slots=True)
class Nameless:
    """Something of ours on the channel that is not known by an id there: a copy, or a send in doubt."""

    contact: str
    text: str
    said_at: datetime
    in_doubt: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows of a page of the channel's history."""

    texts: Mapping[str, str | None]
    """By the platform's id of the message: what was said there; None where it cannot be compared any more."""
    references: Collection[str]
    """Of ours those that are known."""
    events: Mapping[str, str]
    """By key: `gone` where it made a message that was erased since, `missed` where nothing was made of it although
    something should have been, `settled` where nothing had to be, `waits` where it will be translated yet."""
    nameless: Sequence[Nameless]


@dataclass(frozen=True, slots=True)
class Carried:
    """A delivery of a message to a chat, as it stands."""

    delivery: str
    target: str
    state: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of the ledger, and where it is."""

    message: str
    conversation: str
    contact: str
    said_at: datetime
    has_content: bool
    """False where retention has removed it."""
    deleted: bool
    """Its author took it back."""
    chats: Collection[str]
    """Extensions of the chats that have it."""
    deliveries: Sequence[Carried]


@dataclass(frozen=True, slots=True)
class Take:
    """Take a message in that the ledger does not know."""

    contact: str
    said_at: datetime
    key: str
    again: bool
    """Its event is there, and nothing was made of it then."""


@dataclass(frozen=True, slots=True)
class Put:
    """Put a message of the ledger into a chat."""

    contact: str
    said_at: datetime
    conversation: str
    message: str
    target: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Try a copy again that was given up."""

    contact: str
    said_at: datetime
    conversation: str
    message: str
    target: str
    delivery: str


Step = Take | Put | Retry


@dataclass(frozen=True, slots=True)
class Odd:
    """Something that is shown and left alone."""

    kind: str
    """`differing`: the channel has other words than the ledger. `ambiguous`: it may be one that is known."""
    id: str
    """The channel's id of the message."""
    contact: str
    said_at: datetime
    why: str


@dataclass(slots=True)
class Plan:
    """What is to be done, in order, and what was seen besides."""

    scope: Scope
    users: tuple[str, ...]
    """All users of the link: each gets what no chat has."""
    steps: list[Step] = field(default_factory=list)
    odd: list[Odd] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    """Copies and messages that need nothing, by reason; see `compare_told` and `compare_entry`."""
    capped: bool = False
    """There is more than one plan may hold: repeat it."""

    @property
    def messages(self) -> int:
        """How many messages are missing somewhere."""
        return len({step.key if isinstance(step, Take) else step.message for step in self.steps})

    @property
    def copies(self) -> int:
        """How many copies are missing."""
        return sum(self.copies_of(step) for step in self.steps)

    def copies_of(self, step: Step) -> int:
        """How many copies a step makes."""
        return len(self.users) if isinstance(step, Take) else 1

    def targets(self) -> tuple[str, ...]:
        """The chats that are looked at, as targets of lanes."""
        return tuple(desk_target(user) for user in self.users if self.scope.user in (None, user))

    def sorted(self) -> dict[str, list[Step]]:
        """The steps of each contact, in the order said."""
        found: dict[str, list[Step]] = {}
        for step in sorted(self.steps, key=lambda one: one.said_at):
            found.setdefault(step.contact, []).append(step)
        return found


def compare_told(plan: Plan, told: Iterable[Told], known: Known) -> None:
    """Add what a page of the channel's history has and the ledger lacks: by ids first, then by time and text."""
    for one in told:
        if one.said_at < plan.scope.since or one.said_at > plan.scope.until:
            plan.seen["outside"] += 1
        elif plan.scope.contact not in (None, one.contact):
            plan.seen["other contacts"] += 1
        elif one.messageid is not None and one.messageid in known.texts:
            _compare_text(plan, one, known.texts[one.messageid])
        elif one.reference is not None and one.reference in known.references:
            plan.seen["known"] += 1
        elif (state := known.events.get(one.key, "missed" if one.key in known.events else None)) not in (
            None,
            "missed",
        ):
            plan.seen[{"gone": "erased", "waits": "under way"}.get(str(state), "of no interest")] += 1
        else:
            _compare_nameless(plan, one, known)


def _compare_text(plan: Plan, told: Told, text: str | None) -> None:
    if text is None or text == told.text:
        plan.seen["known"] += 1
    else:
        why = "the channel has other words than the ledger"
        plan.odd.append(Odd("differing", told.messageid or told.key, told.contact, told.said_at, why))


def _compare_nameless(plan: Plan, told: Told, known: Known) -> None:
    alike = [
        one
        for one in known.nameless
        if told.author is not Author.CONTACT
        and one.contact == told.contact
        and one.text == told.text
        and abs(one.said_at - told.said_at) <= NEAR
    ]
    if len(alike) == 1 and not alike[0].in_doubt:
        plan.seen["known"] += 1
    elif alike:
        why = "a send in doubt may be it" if any(one.in_doubt for one in alike) else "several of ours may be it"
        plan.odd.append(Odd("ambiguous", told.messageid or told.key, told.contact, told.said_at, why))
    else:
        plan.steps.append(Take(told.contact, told.said_at, told.key, again=told.key in known.events))


def compare_entry(plan: Plan, entry: Entry, *, oldest: datetime | None) -> None:
    """Add the chats that lack a message of the ledger. What was said before `oldest` is not sent live any more."""
    for target in plan.targets():
        carried = [one for one in entry.deliveries if one.target == target]
        dead = [one for one in carried if one.state == "dead"]
        has = target in {desk_target(extension) for extension in entry.chats}
        if not dead and has:
            plan.seen["there"] += 1
        elif entry.deleted:
            plan.seen["taken back"] += 1
        elif not dead and carried:
            plan.seen[_STANDS.get(carried[0].state, "there")] += 1
        elif not entry.has_content:
            plan.seen["removed by retention"] += 1
        elif oldest is not None and entry.said_at < oldest:
            plan.seen["too old"] += 1
        elif dead:
            plan.steps += [
                Retry(entry.contact, entry.said_at, entry.conversation, entry.message, target, one.delivery)
                for one in dead
            ]
        else:
            plan.steps.append(Put(entry.contact, entry.said_at, entry.conversation, entry.message, target))


_STANDS = {"ready": "under way", "sending": "under way", "unknown": "in doubt", "skipped": "dropped"}
