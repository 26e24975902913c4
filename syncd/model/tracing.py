"""The last sentence of a trace: where a message, an event, a session or an operation is, and why (G13). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from syncd.model.decide import UNLINKED
from syncd.model.facts import CopyStatus
from syncd.model.records import RANK
from syncd.model.sending import Author
from syncd.model.traced import (
    Around,
    Conversation,
    Event,
    Found,
    Leg,
    Message,
    Operation,
    Session,
)
from syncd.model.work import Op, extension_of

WITHDRAWN = "taken back or replaced"
"""How the reason of a delivery begins that its author withdrew."""
BY_HAND = "settled as sent by "
"""How the reason of a delivery begins of which an operator said that it was sent."""
DROPPED = "dropped by "
NEVER_CAME = ", which never came"
"""How the reason of an event ends that was parked for too long."""
REMOVED = "removed by retention"
_DEFECT = "a defect, told in the log as `event.failed`"


def sentence(found: Found, around: Around) -> str:
    """Where it is and why, and what to do about it: one sentence for people."""
    match found:
        case Message():
            clauses = _of_message(found, around)
        case Event():
            clauses = [_of_event(found, around)]
        case Session():
            clauses = [_of_session(found, around)]
        case Operation():
            clauses = [_of_operation(found, around)]
        case Conversation():
            clauses = [_of_conversation(found, around)]
    text = "; ".join(clauses)
    return f"{text[:1].upper()}{text[1:]}."


def clock(stamp: datetime, now: datetime) -> str:
    """A time to the second, with its day where that is not today."""
    return f"{stamp:%H:%M:%S} UTC" if stamp.date() == now.date() else f"{stamp:%Y-%m-%d %H:%M:%S} UTC"


def _of_message(found: Message, around: Around) -> list[str]:
    """What needs somebody first, then what waits, then what is done, then what one should know beside."""
    legs = [leg for leg in found.legs if not leg.op.is_receipt]
    clauses = [_doubtful(leg, found, around) for leg in legs if leg.state == "unknown"]
    clauses += [_dead(leg, found, around) for leg in legs if leg.state == "dead"]
    clauses += _refused_later(found)
    clauses += _joined(
        (leg for leg in legs if leg.state == "ready"),
        lambda leg: why_it_waits(leg, found, around),
        lambda leg: _place(leg, found),
        lambda places, since, why: f"waiting for {places} since {clock(since, around.now)}{why}",
        lambda leg: leg.created_at,
    )
    clauses += [
        f"being sent to {_place(leg, found)} since {clock(leg.tried_at or leg.updated_at, around.now)}"
        for leg in legs
        if leg.state == "sending"
    ]
    clauses += _joined(
        (leg for leg in legs if leg.state == "skipped"),
        lambda leg: leg.reason,
        lambda leg: _place(leg, found),
        lambda places, since, why: (
            f"{_not_sent(why)} {places} at {clock(since, around.now)}"
            + (f": {why}" if not why.startswith(DROPPED) else "")
        ),
        lambda leg: leg.updated_at,
    )
    clauses += _joined(
        (leg for leg in legs if leg.state == "sent" and leg.op is Op.MESSAGE),
        lambda leg: leg.reason.removeprefix(BY_HAND) if leg.reason.startswith(BY_HAND) else "",
        lambda leg: _there(leg, found),
        lambda places, since, by: (
            f"{places} since {clock(since, around.now)}" + (f", as {by} settled by hand" if by else "")
        ),
        lambda leg: leg.updated_at,
    )
    if not legs:
        clauses.append("only recorded: there was nobody to deliver it to")
    return clauses + _news(found) + _beside(found, legs, around)


def why_it_waits(leg: Leg, found: Message, around: Around) -> str:
    """Why a delivery is not made, to follow what waits: ` behind …`, `: …`."""
    behind = ""
    if leg.ahead is not None:
        others = "another delivery" if leg.ahead.count == 1 else f"{leg.ahead.count} other deliveries"
        first = "" if leg.ahead.count == 1 else ", the first"
        behind = f" behind {others} of its lane ({leg.ahead.id}{first} of message {leg.ahead.message})"
    return f"{behind}: {_cause(leg, found, around)}"


def _cause(leg: Leg, found: Message, around: Around) -> str:
    if leg.account is None:
        return f"its link {found.link} is not configured any more"
    for kind, name in (("link", found.link), ("account", leg.account)):
        pause = around.pauses.get(name)
        if pause is not None:
            return f"{kind} {name} was paused by {pause.by} at {clock(pause.since, around.now)}; `syncd resume {name}`"
    again = leg.due_at if leg.due_at is not None and leg.due_at > around.now else None
    state = around.accounts.get(leg.account)
    if state is not None and state.state == "unauthorised":
        return f"account {leg.account} is refused ({state.reason}); correct its key, then `syncd resume {leg.account}`"
    if (state is not None and state.state == "throttled") or (again is not None and leg.why.startswith("rate limited")):
        until = state.until if state is not None and state.until is not None else again
        return f"account {leg.account} is throttled" + (f" until {clock(until, around.now)}" if until else "")
    retry = f", tried again at {clock(again, around.now)}" if again is not None else ""
    if state is not None and state.state == "failing":
        return f"account {leg.account} is failing since {clock(state.since, around.now)} ({state.reason}){retry}"
    wanted = [file.words for file in found.files if file.state == "wanted"]
    if leg.ahead is not None and leg.ahead.state in ("sending", "unknown"):
        return f"that one is {'under way' if leg.ahead.state == 'sending' else f'in doubt ({leg.ahead.reason})'}"
    if again is not None and leg.why:
        return leg.why + retry
    if leg.ahead is None and wanted and leg.op is Op.MESSAGE:
        return f"its file is being fetched ({', '.join(wanted)})"
    if leg.opening:
        return "the session is being opened"
    return "its turn has come" if leg.ahead is None else "their turn has come"


def _doubtful(leg: Leg, found: Message, around: Around) -> str:
    at = clock(leg.tried_at or leg.updated_at, around.now)
    place = _place(leg, found)
    if leg.open:
        return f"unknown since {at} whether it reached {place}, which is being found out: {leg.reason}"
    return (
        f"unknown since {at} whether it reached {place}: {leg.reason}; look there, then tell "
        f"`syncd unknown settle {leg.id}` with --sent REMOTE_ID, --resend or --drop"
    )


def _dead(leg: Leg, found: Message, around: Around) -> str:
    last = leg.tries[-1] if leg.tries else None
    verdict = last is not None and last.kind in ("rejected", "gone")
    status = f" (HTTP {last.http_status})" if last is not None and last.http_status is not None else ""
    status = "" if status.strip(" ()") in leg.reason else status
    who = f"{leg.account or 'the platform'} refused it: " if verdict else ""
    at = clock(leg.updated_at, around.now)
    return f"given up for {_place(leg, found)} at {at}: {who}{leg.reason}{status}; tell `syncd dead retry {leg.id}`"


def _refused_later(found: Message) -> list[str]:
    failed = [one for one in found.copies if one.status is CopyStatus.FAILED]
    return ["the channel took it, and told later that it could not be delivered"] if failed else []


def _not_sent(why: str) -> str:
    return f"{why} for" if why.startswith(DROPPED) else "not sent to"


def _news(found: Message) -> list[str]:
    """Delivered, read: of the contact, or of each user."""
    told: dict[CopyStatus, list[str]] = {}
    if found.author in (Author.CONTACT, Author.SYNCD):
        for one in found.copies:
            if not one.origin and one.extension is not None:
                told.setdefault(one.status, []).append(one.extension)
    else:
        theirs = [one.status for one in found.copies if one.extension is None]
        if theirs:
            told[min(theirs, key=RANK.__getitem__)] = ["the contact"]
    return [
        f"{words} {_listed(told[status])}"
        for status, words in ((CopyStatus.READ, "read by"), (CopyStatus.DELIVERED, "delivered to"))
        if status in told
    ]


def _beside(found: Message, legs: list[Leg], around: Around) -> list[str]:
    clauses = []
    if any(one.origin and one.status is CopyStatus.DELETED for one in found.copies):
        clauses.append("taken back by its author")
    if found.revision:
        queued = any(leg.op is Op.MESSAGE and leg.revision and leg.state != "skipped" for leg in legs)
        times = "once" if found.revision == 1 else f"{found.revision} times"
        clauses.append(f"edited {times}" + (" while it waited, so that the new text goes out" if queued else ""))
    for session in found.sessions:
        if not session.current and session.heir is not None:
            since = f" since {clock(session.heir_since, around.now)}" if session.heir_since else ""
            chat = f"{session.extension}'s chat"
            clauses.append(f"session {session.sessionid} was closed, and {chat} goes on in {session.heir}{since}")
    clauses += [
        f"its {file.words} could not be had: {file.reason or 'no reason is known'}"
        for file in found.files
        if file.state == "missing" and file.reason != REMOVED
    ]
    if found.text is None:
        clauses.append("its text was removed by retention")
    return clauses


def _of_event(event: Event, around: Around) -> str:
    at = clock(event.received_at, around.now)
    times = f" ({event.copies} copies)" if event.copies > 1 else ""
    received = f"received at {at}{times}"
    if event.state == "waiting":
        return f"waiting since {at}{times}: {event.reason or 'it is looked at next'}"
    if event.state == "parked":
        return f"parked since {at}{times} for {event.parked_for}, which has not come: {event.reason}"
    if event.state == "failed":
        return f"{received}, but it could not be translated: {event.reason}, {_DEFECT}"
    if event.state == "ignored" and event.reason.endswith(NEVER_CAME):
        return f"{received}, parked and given up: {event.reason}"
    if event.state == "ignored":
        return f"{received} and ignored: {event.reason}{_advice(event.reason)}"
    made = f": it is message {event.message}" if event.message else ""
    return f"{received} and done{made}" + (f" ({event.reason})" if event.reason else "")


def _advice(reason: str) -> str:
    if reason == "no link lists this user":
        return "; to have such messages carried, add the user to a link's `users`"
    if reason == UNLINKED:
        return "; to have its messages carried, give the channel a link"
    if reason.startswith("echo of message"):
        return ", which syncd wrote there itself"
    return ""


def _of_session(session: Session, around: Around) -> str:
    chat = f"{session.extension}'s chat with {session.contact}"
    since = clock(session.observed_at, around.now)
    if session.current:
        return f"{chat} is in this session since {since}"
    if session.heir is None:
        return f"superseded: {chat} has no session now"
    took = f" since {clock(session.heir_since, around.now)}" if session.heir_since is not None else ""
    return f"superseded: {chat} was in this session since {since}, and goes on in session {session.heir}{took}"


def _of_operation(one: Operation, around: Around) -> str:
    asked = f"{one.kind} of {one.subject} was asked for by {one.by} at {clock(one.at, around.now)}"
    if one.state == "waiting":
        return f"{asked}, and waits for a daemon to do it"
    ended = f" at {clock(one.done_at, around.now)}" if one.done_at is not None else ""
    return f"{asked}: {one.state}{ended}" + (f", {one.result}" if one.result else "")


def _of_conversation(one: Conversation, around: Around) -> str:
    if one.contact_wrote_at is None:
        return f"{one.contact} has not written on link {one.link} yet"
    return f"{one.contact} last wrote on link {one.link} at {clock(one.contact_wrote_at, around.now)}"


def _joined(
    legs: Iterable[Leg],
    key: Callable[[Leg], str],
    place: Callable[[Leg], str],
    clause: Callable[[str, datetime, str], str],
    at: Callable[[Leg], datetime],
) -> list[str]:
    """One clause for all legs of the same key, with their places and the latest time."""
    groups: dict[str, list[Leg]] = {}
    for leg in legs:
        groups.setdefault(key(leg), []).append(leg)
    return [
        clause(_listed(dict.fromkeys(map(place, group))), max(map(at, group)), why) for why, group in groups.items()
    ]


def _place(leg: Leg, found: Message) -> str:
    extension = extension_of(leg.target)
    where = "the channel" if extension is None else f"{extension}'s chat"
    what = "" if leg.op is Op.MESSAGE else f"the {'edit' if leg.op is Op.EDIT else 'deletion'} in "
    return f"{_part(leg, found)}{what}{where}"


def _there(leg: Leg, found: Message) -> str:
    extension = extension_of(leg.target)
    where = "on the channel" if extension is None else f"in {extension}'s chat"
    if leg.history and extension is not None:
        where = f"in the history of {extension}'s chat"
    return f"{_part(leg, found)}{where}"


def _part(leg: Leg, found: Message) -> str:
    """Which piece it is, where not all pieces are as far."""
    pieces = [one for one in found.legs if (one.target, one.op) == (leg.target, leg.op) and one.op is Op.MESSAGE]
    if len({one.state for one in pieces}) < 2:
        return ""
    return f"part {leg.part + 1} of {len(pieces)} {'for ' if leg.state != 'sent' else ''}"


def _listed(words: Iterable[str]) -> str:
    listed = list(words)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
