"""What every platform plug-in keeps to (design §10), over a real socket wherever it calls."""

from __future__ import annotations

import importlib
import json
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from syncd.engine.platform import Platform, Plugin, RawEvent, Refused
from syncd.model.facts import ChannelSaid, ContactSaid, StatusSeen, Uninteresting, UserDeleted, UserEdited, UserSaid
from syncd.model.sending import AuthFailed, MaybeSent, NotSent, RateLimited, Rejected, SendError
from syncd.platforms.http import Http, client_session
from syncd.simulators.base import Fault, Simulator
from tests.platforms.contract import TEXT, Subject

ENTRIES = {entry.name: entry for entry in entry_points(group="syncd.platforms")}
FACTS = ContactSaid | UserSaid | UserEdited | UserDeleted | ChannelSaid | StatusSeen | Uninteresting
SAID = ContactSaid | UserSaid | ChannelSaid


@pytest.fixture(scope="module", params=sorted(ENTRIES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def plugin(name: str) -> Plugin:
    loaded: Plugin = ENTRIES[name].load()
    return loaded


@pytest.fixture(scope="module")
def subject(name: str) -> Subject:
    found: Subject = importlib.import_module(f"tests.platforms.{name}.contract").SUBJECT
    return found


@pytest.fixture(scope="module")
def quiet(plugin: Plugin, subject: Subject) -> Platform:
    """The platform, for what needs no network."""
    return subject.platform(plugin)


@dataclass
class Line:
    """A platform and the simulator that it calls."""

    subject: Subject
    simulator: Simulator
    platform: Platform
    hasty: Platform
    """The same, and waits only 0.3 seconds."""

    @property
    def taken(self) -> int:
        return self.subject.taken(self.simulator)


@pytest.fixture
async def line(plugin: Plugin, subject: Subject) -> AsyncIterator[Line]:
    async with (
        subject.simulator() as simulator,
        client_session() as session,
    ):
        url = subject.base_url(simulator)
        yield Line(
            subject,
            simulator,
            subject.platform(plugin, Http(session, timeout=10.0), url),
            subject.platform(plugin, Http(session, timeout=0.3), url),
        )


def test_the_three_platforms_are_found() -> None:
    assert {"ringotel", "bird", "islash"} <= set(ENTRIES)


def test_the_entry_point_names_a_plugin(name: str, plugin: Plugin) -> None:
    assert isinstance(plugin, Plugin)
    assert plugin.name == name
    assert plugin.capabilities.role in ("desk", "channel")
    assert plugin.capabilities.default_rate > 0 and plugin.capabilities.max_text > 0


def test_an_end_is_never_called_by_a_secret(plugin: Plugin, subject: Subject) -> None:
    end = plugin.end_model.model_validate(subject.end)
    key = plugin.end_key("link-1", end)
    assert key == plugin.end_key("link-1", end) and key.isprintable() and key
    assert not any(secret in key for secret in subject.secrets)


def test_unknown_config_keys_are_mistakes(plugin: Plugin, subject: Subject) -> None:
    account = subject.account | {"base_url": "https://platform.example"}
    for model, config in ((plugin.account_model, account), (plugin.end_model, subject.end)):
        model.model_validate(config)
        with pytest.raises(ValidationError) as error:
            model.model_validate(config | {"no_such_key": 1})
        assert [str(mistake["loc"][-1]) for mistake in error.value.errors()] == ["no_such_key"]


def test_settings_show_no_secret(plugin: Plugin, subject: Subject) -> None:
    setup = subject.setup(plugin, "https://platform.example")
    told = [
        repr(setup),
        str(setup.settings),
        setup.settings.model_dump_json(),
        setup.ends[0].settings.model_dump_json(),
    ]
    assert not any(secret in text for text in told for secret in subject.secrets)


def test_doors_stay_where_they_are(plugin: Plugin, subject: Subject, quiet: Platform) -> None:
    doors = quiet.doors()
    assert doors and doors == quiet.doors() == subject.platform(plugin).doors()
    ends = {end.key for end in subject.setup(plugin, "https://platform.example").ends}
    for door in doors:
        assert door.end in ends | {""}
        assert door.secret is None or (door.secret and "/" not in door.secret)
        assert not any(secret in repr(door) for secret in subject.secrets)
    assert len({door.secret for door in doors}) == len(doors)


BAD = (b"", b" ", b"{", b"nonsense", b"\xff\xfe\x00", b"[" * 50_000, b'{"a":"\xff"}', b'{"a":1}x', b"a=b&c")


@pytest.mark.parametrize("body", BAD)
def test_what_is_no_json_is_refused(subject: Subject, quiet: Platform, body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        quiet.verify(subject.request(body))
    assert refused.value.status in (400, 401)


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=200))
def test_no_bytes_make_it_stumble(subject: Subject, quiet: Platform, body: bytes) -> None:
    try:
        events = quiet.verify(subject.request(body))
    except Refused:
        return
    for event in events:
        assert quiet.parse(event)


def test_any_depth_of_nesting_is_taken_or_refused(subject: Subject, quiet: Platform) -> None:
    for depth in (500, *range(900, 1010, 5), 3000):
        request = subject.webhook({"method": "message", "params": "@", "payload": "@", "messages": "@"})
        body = request.body.replace(b'"@"', b"[" * depth + b"]" * depth)
        try:
            events = quiet.verify(subject.request(body))
        except Refused:
            continue
        for event in events:
            assert quiet.parse(event)


def test_a_message_is_one_event_with_one_key(subject: Subject, quiet: Platform) -> None:
    first, again = (quiet.verify(subject.said("message-1", TEXT)) for _ in range(2))
    other = quiet.verify(subject.said("message-2", TEXT))
    assert len(first) == len(other) == 1
    assert first[0].key == again[0].key != other[0].key
    assert first[0].key.isprintable() and first[0].window is None
    (fact,) = quiet.parse(first[0])
    assert isinstance(fact, SAID)
    assert (fact.messageid, fact.text) == ("message-1", TEXT)


@pytest.mark.parametrize(
    "text",
    ["NUL \0 here", "lone \ud83d surrogate", "\U0001f468\u200d\U0001f469 你好", "\u202e\r\n\t\x1b[0m", "x" * 100_000],
)
def test_every_text_comes_through(subject: Subject, quiet: Platform, text: str) -> None:
    (event,) = quiet.verify(subject.said("message-1", text))
    (fact,) = quiet.parse(event)
    assert isinstance(fact, SAID) and fact.text == text


def test_stored_bodies_hold_no_secret(subject: Subject, quiet: Platform) -> None:
    for request in (subject.said("message-1", TEXT), subject.webhook({"something": "unknown"})):
        for event in quiet.verify(request):
            assert not any(secret.encode() in event.body + event.key.encode() for secret in subject.secrets)


KEYS = st.text(max_size=3) | st.sampled_from(
    [
        "method",
        "params",
        "service",
        "event",
        "payload",
        "messages",
        "statuses",
        "id",
        "kind",
        "item",
        "messageid",
        "type",
    ]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(value=JSON)
def test_any_json_is_parsed_purely(subject: Subject, quiet: Platform, value: Any) -> None:
    stored = RawEvent("key", json.dumps(value).encode(), "link-1")
    try:
        events = (stored, *quiet.verify(subject.webhook(value)))
    except Refused:
        events = (stored,)
    for event in events:
        assert event.key.isprintable()
        facts = quiet.parse(event)
        assert facts and facts == quiet.parse(event)
        assert all(isinstance(fact, FACTS) for fact in facts)


async def test_a_send_arrives_once_and_is_named(line: Line) -> None:
    sent = await line.platform.send(line.subject.outgoing())
    assert sent.messageid and sent.http_status is not None and 200 <= sent.http_status < 300
    assert line.taken == 1
    another = await line.platform.send(line.subject.outgoing("another"))
    assert another.messageid != sent.messageid and line.taken == 2
    assert TEXT not in sent.answer and len(sent.answer) <= 1000
    assert not any(secret in sent.answer for secret in line.subject.secrets)


@pytest.mark.parametrize("text", ["NUL \0 here", "lone \ud83d surrogate", "\r\n--boundary\r\n & = %00 \"'"])
async def test_every_text_can_be_sent(line: Line, text: str) -> None:
    assert (await line.platform.send(line.subject.outgoing(text))).messageid
    assert line.taken == 1


async def test_nobody_listens(line: Line) -> None:
    await line.simulator.stop()
    with pytest.raises(NotSent) as error:
        await line.platform.send(line.subject.outgoing())
    assert_tells_no_secret(line, error.value)


HTML = b"<!DOCTYPE html><html><body>Welcome</body></html>"


def echo(line: Line) -> bytes:
    """An answer that repeats all it should not."""
    words = " ".join((*line.subject.carried, TEXT))
    told = {"code": "x", "message": words, "error": words, "description": words, "title": words}
    return json.dumps(told | {"meta": told, "errors": [told]}).encode()


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (lambda line: Fault("status", status=400, body=echo(line)), Rejected),
        (lambda line: Fault("status", status=401, body=echo(line)), AuthFailed),
        (lambda line: Fault("status", status=401, body=HTML), AuthFailed),
        (lambda line: Fault("status", status=429, body=echo(line), headers={"Retry-After": "7"}), RateLimited),
        (lambda line: Fault("status", status=502, body=HTML), MaybeSent),
        (lambda line: Fault("status", status=503, body=echo(line)[:-1]), MaybeSent),
        (lambda line: Fault("reply", status=200, body=HTML), MaybeSent),
        (lambda line: Fault("reply", status=200, body=echo(line)[:-1]), MaybeSent),
        (lambda line: Fault("reply", status=200), MaybeSent),
        (lambda line: Fault("lost"), MaybeSent),
        (lambda line: Fault("hangup"), MaybeSent),
    ],
    ids=["400", "401", "401 HTML", "429", "502", "503", "200 HTML", "200 cut", "200 empty", "lost", "hangup"],
)
async def test_every_failure_has_its_class(
    line: Line, fault: Callable[[Line], Fault], outcome: type[SendError]
) -> None:
    await line.platform.send(line.subject.outgoing("first"))  # so that the connection is a kept one
    made = fault(line)
    line.simulator.faults.append(made)
    with pytest.raises(SendError) as error:
        await line.platform.send(line.subject.outgoing())
    assert type(error.value) is outcome
    assert made.hits == 1
    assert line.taken == (2 if made.kind in ("reply", "lost") else 1)
    if isinstance(error.value, RateLimited):
        assert error.value.retry_after == 7.0
    if made.kind in ("status", "reply"):
        assert error.value.http_status == made.status
    assert_tells_no_secret(line, error.value)


async def test_an_answer_that_takes_too_long_is_a_doubt(line: Line) -> None:
    line.simulator.faults.append(Fault("delay", seconds=5.0))
    with pytest.raises(MaybeSent) as error:
        await line.hasty.send(line.subject.outgoing())
    assert line.taken == 1
    assert_tells_no_secret(line, error.value)


async def test_a_redirect_is_not_followed(line: Line) -> None:
    line.simulator.faults.append(Fault("status", status=307, headers={"Location": line.simulator.url}))
    with pytest.raises(SendError):
        await line.platform.send(line.subject.outgoing())
    assert len(line.simulator.calls) == 1 and line.taken == 0


async def test_probe_never_raises_and_tells_no_secret(line: Line) -> None:
    assert all(finding.ok for finding in await line.platform.probe() if "webhook" not in finding.subject)
    for fault in (
        Fault("status", times=-1, status=401, body=echo(line)),
        Fault("status", times=-1, status=500, body=echo(line)),
        Fault("status", times=-1, status=200, body=HTML),
        Fault("hangup", times=-1),
    ):
        line.simulator.faults[:] = [fault]
        findings = await line.platform.probe()
        assert any(not finding.ok for finding in findings)
        assert not any(secret in f"{finding}" for finding in findings for secret in line.subject.secrets)
    assert line.taken == 0


def assert_tells_no_secret(line: Line, error: SendError) -> None:
    """Nothing that a log could make of the error holds a secret, and what is shown of it no message text."""
    story = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))
    assert not any(secret in story for secret in line.subject.secrets)
    assert TEXT not in error.reason and TEXT not in error.answer
    assert len(error.answer) <= 1000
