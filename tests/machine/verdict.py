"""What an example came to: what was said against what arrived, and what the tables say against both."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncd.model.sending import Author
from syncd.model.text import from_bytes
from syncd.model.work import CHANNEL, desk_target
from tests.machine.look import Look
from tests.machine.scenery import BIRD, EPOCH, Policy
from tests.machine.truth import Arrival, Hook, Truth
from tests.support import history
from tests.support.history import Arrived, Lane, Said

_DELIVERIES = """
SELECT d.message, d.target, d.reference, d.state, d.reason, d.open, m.body, m.author, c.link, c.contact
FROM delivery d JOIN message m ON m.id = d.message JOIN conversation c ON c.id = m.conversation_id
WHERE d.op = 'message' ORDER BY m.conversation_id, m.seq
"""
_MESSAGES = """
SELECT m.id, m.body, m.author, c.link, c.contact FROM message m JOIN conversation c ON c.id = m.conversation_id
ORDER BY m.conversation_id, m.seq
"""


Links = dict[Hook, tuple[str, str | None]]
"""The link and the message of what was said."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of `delivery` with its surroundings."""

    message: str
    target: str
    reference: str
    state: str
    reason: str
    open: bool
    body: bytes
    author: str
    link: str
    contact: str

    @property
    def text(self) -> str:
        """The message's."""
        return from_bytes(self.body)

    @property
    def on_bird(self) -> bool:
        """A doubt about it can be settled by asking."""
        return self.target == CHANNEL and self.link != "whatsapp"


@dataclass(slots=True)
class Tables:
    """What is read of the database for the verdict."""

    deliveries: list[Delivery] = field(default_factory=list)
    messages: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """By (text, contact): (id, link), in order."""


async def left_open(look: Look) -> list[str]:
    """What the engine has not settled yet."""
    lanes = [f"lane {one}: {why}" for one, why in await look.rows("SELECT id, why FROM lane WHERE busy")]
    events = [f"event {one} waits" for (one,) in await look.rows("SELECT key FROM event WHERE state = 'waiting'")]
    return lanes + events


async def faults(look: Look, truth: Truth, policy: Policy, *, routes_are_sure: bool) -> list[str]:
    """Everything that is wrong at the end, when all has settled."""
    tables = Tables([Delivery(*row) for row in await look.rows(_DELIVERIES)])
    for message, body, _, link, contact in await look.rows(_MESSAGES):
        tables.messages[from_bytes(body), contact].append((message, link))
    placed = sorted((hook for hook in truth.said if hook.placed is not None), key=lambda hook: hook.placed or 0)
    links = _links(placed, tables)
    told = [f"not settled: {one}" for one in await left_open(look)]
    told += [f"never acknowledged: {hook.event.key}" for hook in truth.said if hook.placed is None]
    told += map(str, history.faults(_said(truth, placed, links, tables), _arrived(truth, policy, links, tables)))
    told += _deliveries(truth, tables, policy)
    told += await _mapping(look, truth, tables)
    told += await _sessions(look)
    told += [f"event {key} failed: {why}" for key, why in await look.rows(_FAILED)]
    told += await _times(look)
    if routes_are_sure:
        told += _routes(truth, placed, links)
    return told


_FAILED = "SELECT key, reason FROM event WHERE state = 'failed'"


def _links(placed: Sequence[Hook], tables: Tables) -> Links:
    """The link and the message of everything that was said: of equal texts the first said is the first stored."""
    met: Counter[tuple[str, str, str | None]] = Counter()
    found = {}
    for hook in placed:
        assert hook.speech is not None
        speech = hook.speech
        there = [one for one in tables.messages[speech.text, speech.contact] if speech.link in (None, one[1])]
        number = met[speech.text, speech.contact, speech.link]
        met[speech.text, speech.contact, speech.link] += 1
        message, link = there[number] if number < len(there) else (None, speech.link or "sms")
        found[hook] = (link, message)
    return found


def _lane(target: str, link: str, contact: str) -> Lane:
    """A lane as syncd has it: two links of one user lead into one chat, each in its own order."""
    return Lane(link if target == CHANNEL else f"{target}@{link}", contact)


def _name(hook: Hook) -> str:
    """A text that tells one message from others with the same words."""
    assert hook.speech is not None
    return f"{hook.speech.text} ({hook.event.key})"


def _said(truth: Truth, placed: Iterable[Hook], links: Links, tables: Tables) -> list[Said]:
    found = {(one.message, one.target): one for one in tables.deliveries}
    said = []
    for hook in placed:
        assert hook.speech is not None
        speech, (link_name, message) = hook.speech, links[hook]
        link = truth.topology.link(link_name)
        assert link is not None
        users = [desk_target(user) for user in link.desk.users if user != speech.extension]
        sure, in_doubt = [], []
        for target in users if speech.author is not Author.USER else [CHANNEL, *users]:
            lane = _lane(target, link_name, speech.contact)
            delivery = found.get((message or "", target))
            if delivery is None or delivery.state not in ("unknown", "dead", "skipped"):
                sure.append(lane)
            elif delivery.state == "unknown" or truth.doubts[delivery.reference]:
                in_doubt.append(lane)
        origin = _lane(
            CHANNEL if speech.extension is None else desk_target(speech.extension), link_name, speech.contact
        )
        said.append(Said(_name(hook), origin, (*sure, *in_doubt), frozenset(in_doubt)))
    return said


def _arrived(truth: Truth, policy: Policy, links: Links, tables: Tables) -> list[Arrived]:
    message_of = {one.reference: one.message for one in tables.deliveries}
    hook_of = {message: hook for hook, (_, message) in links.items()}
    arrived = []
    met: Counter[str] = Counter()
    for one in truth.arrivals:
        met[one.reference] += 1
        # Sent again as the link says, or as often as its answer was lost where no one can be asked.
        again = policy == "resend" and one.account != BIRD and met[one.reference] <= 1 + truth.doubts[one.reference]
        if met[one.reference] > 1 and again:
            continue
        alike = [hook for hook in links if hook.speech is not None and hook.speech.text == one.text]
        hook = hook_of.get(message_of.get(one.reference))
        if hook is None or hook not in alike:
            # A message that nobody said, or with other words: it is known by its text alone.
            hook = alike[0] if alike else None
        link = links[hook][0] if hook is not None else "nobody's"
        on_channel = not one.lane.target.startswith(desk_target(""))
        lane = one.lane if on_channel else _lane(one.lane.target, link, one.lane.contact)
        arrived.append(Arrived(lane, one.text if hook is None else _name(hook)))
    return arrived


def _deliveries(truth: Truth, tables: Tables, policy: Policy) -> list[str]:
    told = []
    for one in tables.deliveries:
        what = f"{one.text!r} to {one.target} of {one.link} for {one.contact}"
        opening = f"{one.target.removeprefix(desk_target(''))} {one.contact}"
        if one.state not in ("sent", "dead", "unknown", "skipped") or one.open:
            told.append(f"not settled: {what} is {one.state}")
        elif one.state != "sent" and not one.reason:
            told.append(f"without a reason: {what} is {one.state}")
        elif one.state == "dead" and not {one.reference, opening} & truth.rejected:
            told.append(f"given up without a verdict: {what}: {one.reason}")
        elif one.state == "unknown" and (one.on_bird or policy == "resend" or not truth.doubts[one.reference]):
            told.append(f"held without need: {what}: {one.reason}")
    return told


async def _mapping(look: Look, truth: Truth, tables: Tables) -> list[str]:
    told = []
    arrivals: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in truth.arrivals:
        arrivals[arrival.reference].append(arrival)
    ours: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    origins: Counter[str] = Counter()
    statement = "SELECT message, extension, messageid, sessionid, account, origin FROM mapping"
    for message, extension, messageid, sessionid, account, origin in await look.rows(statement):
        if origin:
            origins[message] += 1
        else:
            target = CHANNEL if extension is None else desk_target(extension)
            ours[message, target].append((messageid, sessionid, account))
    for one in tables.deliveries:
        rows, there = ours.pop((one.message, one.target), []), arrivals[one.reference]
        what = f"{one.text!r} to {one.target} of {one.link}"
        if one.state == "sent" and not rows:
            told.append(f"not mapped: {what}")
        if one.state != "sent" and rows and not truth.doubts[one.reference]:
            told.append(f"mapped but {one.state}: {what}")
        if len(rows) > max(1, len(there)):
            told.append(f"mapped {len(rows)} times: {what}")
        for messageid, sessionid, account in rows:
            if messageid is not None and (messageid, account) not in {(a.messageid, a.account) for a in there}:
                told.append(f"mapped to another's id: {what} is {messageid}, not {[a.messageid for a in there]}")
            elif messageid is not None and sessionid not in {a.sessionid for a in there} | {None}:
                told.append(f"mapped to another session: {what} is in {sessionid}, not {[a.sessionid for a in there]}")
    told += [f"a copy that was never to be made is mapped: {key}" for key in ours]
    told += [
        f"{origins[message]} rows for where {key[0]!r} was said"
        for key, found in tables.messages.items()
        for message, _ in found
        if origins[message] != 1
    ]
    return told


async def _sessions(look: Look) -> list[str]:
    current: Counter[tuple[str, str]] = Counter()
    told = []
    statement = "SELECT extension, contact, sessionid, state, current FROM session"
    for extension, contact, sessionid, state, is_current in await look.rows(statement):
        current[extension, contact] += bool(is_current)
        if (state == "open") is not bool(is_current) or (is_current and sessionid is None):
            told.append(f"session {sessionid} of {extension} with {contact} is {state}, current: {is_current}")
    return told + [f"{count} sessions of {chat} are current" for chat, count in current.items() if count != 1]


async def _times(look: Look) -> list[str]:
    """Times that the machine did not make: somebody looked at a clock of his own."""
    year = str(EPOCH.year)
    places = (
        ("lane", "due_at"),
        ("delivery", "tried_at"),
        ("delivery", "created_at"),
        ("event", "received_at"),
        ("session", "observed_at"),
        ("cursor", "lease_until"),
        ("attempt", "at"),
        ("account_state", "since"),
    )
    statement = " UNION ".join(
        f'SELECT CAST({column} AS text) FROM "{table}" WHERE {column} IS NOT NULL' for table, column in places
    )
    strangers = [at for (at,) in await look.rows(statement) if at[:4] not in (year, str(EPOCH.year - 1))]
    return [f"{len(strangers)} times of another clock, such as {strangers[0]}"] if strangers else []


def _routes(truth: Truth, placed: Sequence[Hook], links: Links) -> list[str]:
    """A user's words go out where the contact last wrote, else on the first link that lists the user."""
    wrote: dict[tuple[str, str], str] = {}
    told = []
    for hook in placed:
        assert hook.speech is not None
        speech = hook.speech
        if speech.author is Author.CONTACT and speech.link in ("sms", "whatsapp"):
            wrote["shared", speech.contact] = speech.link
        elif speech.author is Author.USER and speech.extension != "9005":
            expected = wrote.get(("shared", speech.contact), "sms")
            if links[hook][0] != expected:
                told.append(f"{speech.text!r} went out on {links[hook][0]}, not on {expected}")
    return told
