"""What iSlash's webhooks become: every sample of its page against a golden, and the layouts against each other.

`SYNCD_GOLDENS=write pytest tests/platforms/islash` writes the goldens anew: read the difference before keeping it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.engine.platform import HookRequest, RawEvent, Refused
from syncd.model.facts import ContactForm, ContactSaid, CopyStatus, StatusSeen, Uninteresting
from syncd.platforms.islash import inbound, wire
from syncd.simulators.islash_shapes import SHAPES, encoded
from tests.platforms.islash.harness import END, SECRETS, platform

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = sorted(path.name for path in FIXTURES.iterdir() if not path.name.endswith(".golden.json"))


def verify(body: bytes) -> tuple[RawEvent, ...]:
    return platform().verify(HookRequest("https://bridge.example.com/hooks/islash/x", {}, body, END))


def read(body: bytes) -> list[Any]:
    return [fact for event in verify(body) for fact in platform().parse(event)]


@pytest.mark.parametrize("name", NAMES)
def test_fixture_gives_its_golden(name: str) -> None:
    events = verify((FIXTURES / name).read_bytes())
    told = [
        {
            "key": event.key,
            "window": event.window.total_seconds() if event.window else None,
            "facts": [{"fact": type(fact).__name__, **asdict(fact)} for fact in platform().parse(event)],
        }
        for event in events
    ]
    text = json.dumps(told, indent=2, default=datetime.isoformat) + "\n"
    golden = FIXTURES / f"{name.rsplit('.', 1)[0]}.golden.json"
    if os.environ.get("SYNCD_GOLDENS") == "write":
        golden.write_text(text)
    assert text == golden.read_text()


MESSAGE: dict[str, Any] = {
    "profile": {"name": "Display Name"},
    "wa_id": "85200000001",
    "from": "85200000001",
    "id": "ABGG-1",
    "text": {"body": "NUL \0, emoji \U0001f600, lone \ud83d, 'quote\" & = %00 +"},
    "type": "text",
    "sequence": "35500920",
    "timestamp": "1649756854",
}
STATUS: dict[str, Any] = {"id": "gBGG-1", "status": "read", "timestamp": "1649812400", "recipient_id": "85200000001"}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_layout_of_a_message_gives_the_same_event_and_fact(shape: str) -> None:
    body, _ = encoded(shape, SHAPES[shape]("messages", MESSAGE))
    said_at = datetime(2022, 4, 12, 9, 47, 34, tzinfo=UTC)
    said = ContactSaid(
        END,
        "ABGG-1",
        "85200000001",
        ContactForm.INTERNATIONAL,
        MESSAGE["text"]["body"],
        said_at,
        "Display Name",
    )
    assert [event.key for event in verify(body)] == [f"message:{END}:ABGG-1"]
    assert read(body) == [said]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_layout_of_a_status_gives_the_same_event_and_fact(shape: str) -> None:
    body, _ = encoded(shape, SHAPES[shape]("statuses", STATUS))
    at = datetime(2022, 4, 13, 1, 13, 20, tzinfo=UTC)
    assert [event.key for event in verify(body)] == [f"status:{END}:gBGG-1:read"]
    assert read(body) == [StatusSeen(CopyStatus.READ, "gBGG-1", end=END, recipient="85200000001", at=at)]


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"hello", b"a=b&c=d", b"{", b"\xff\xfe", b"payload=%7B", b'{"a":"\xff"}', b"[" * 100_000],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        verify(body)
    assert refused.value.status == 400


def test_any_depth_of_nesting_is_read_or_refused() -> None:
    for depth in (*range(100, 1000, 100), *range(900, 1100, 7), 5000):
        body = b'{"messages":[{"from":"1","id":"x","text":' + b"[" * depth + b"]" * depth + b"}]}"
        with suppress(Refused):
            assert all(platform().parse(event) for event in verify(body))


def test_an_end_of_no_link_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        platform().verify(HookRequest("https://bridge.example.com/hooks/islash/x", {}, b"{}", "elsewhere"))
    assert refused.value.status == 404


def test_a_message_without_id_is_the_same_for_ten_seconds_only() -> None:
    item = {key: value for key, value in MESSAGE.items() if key != "id"}
    (event,) = verify(encoded("wrapped", {"messages": [item]})[0])
    (again,) = verify(encoded("wrapped", {"messages": [item]})[0])
    (other,) = verify(encoded("wrapped", {"messages": [item | {"sequence": "1"}]})[0])
    assert event.window == timedelta(seconds=10)
    assert event.key == again.key != other.key


@pytest.mark.parametrize("bad", ["a\0b", "a\ud800", "\n", "x" * 2000, "", None, True, 1.5, [], {}])
def test_an_id_that_no_database_could_hold_counts_as_none(bad: Any) -> None:
    (event,) = verify(encoded("wrapped", {"messages": [MESSAGE | {"id": bad}]})[0])
    assert event.key.startswith(f"hash:{END}:")
    (fact,) = platform().parse(event)
    assert isinstance(fact, ContactSaid) and fact.messageid is None


def test_a_credential_in_a_webhook_is_not_stored() -> None:
    body, _ = encoded("wrapped", {"note": " ".join(SECRETS), "n": 1})
    (event,) = verify(body)
    assert not any(secret.encode() in event.body for secret in SECRETS)
    assert event.body.count(b"***") == len(SECRETS)


NO_TIMES: tuple[Any, ...] = (0, "0", -1, "", "soon", None, True, [], {}, 10**40, float("nan"), 1e300)


@pytest.mark.parametrize(
    ("value", "said_at"),
    [
        (1649756854, datetime(2022, 4, 12, 9, 47, 34, tzinfo=UTC)),
        ("1649756854", datetime(2022, 4, 12, 9, 47, 34, tzinfo=UTC)),
        (1649756854.9, datetime(2022, 4, 12, 9, 47, 34, tzinfo=UTC)),
        (1692603667024, datetime(2023, 8, 21, 7, 41, 7, 24000, tzinfo=UTC)),
        ("1692603667024", datetime(2023, 8, 21, 7, 41, 7, 24000, tzinfo=UTC)),
        ("2022-04-12 09:47:34", datetime(2022, 4, 12, 9, 47, 34, tzinfo=UTC)),
        ("2022-04-12T17:47:34+08:00", datetime(2022, 4, 12, 17, 47, 34, tzinfo=timezone(timedelta(hours=8)))),
        *[(value, None) for value in NO_TIMES],
    ],
)
def test_one_parser_reads_every_time(value: Any, said_at: datetime | None) -> None:
    assert wire.moment(value) == said_at


def test_phone_numbers_and_other_addresses() -> None:
    assert wire.phone("+852 0000-0001") == wire.phone("0085200000001") == wire.phone("85200000001") == "85200000001"
    assert wire.phone("5000000000000001") is None  # longer than any number: Messenger's user id
    assert wire.phone("US.134-912") is None and wire.phone("") is None


WORDS = (
    "messages statuses contacts entry changes value messaging standby sender recipient message delivery read mids from "
    "wa_id id type text body profile name status errors timestamp sequence image location kind item own contact "
    "voice document sticker contacts phones phone wa_id link url file sha256 mime_type filename caption context mid "
    "attachments payload reply_to delivery watermark mids"
)
KEYS = st.text(max_size=3) | st.sampled_from(WORDS.split())
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_no_json_makes_it_stumble(value: Any) -> None:
    for event in verify(json.dumps(value).encode()):
        assert event.key.isprintable()
        assert platform().parse(event) == platform().parse(event) != ()


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(KEYS, JSON, max_size=5),
    st.sampled_from(("whatsapp.message", "whatsapp.status", "messenger.event")),
)
def test_no_stored_event_makes_it_stumble(item: dict[str, Any], kind: str) -> None:
    body = json.dumps({"kind": kind, "item": item, "contact": item, "own": item}).encode()
    assert inbound.facts(RawEvent("k", body, END))


def test_a_stored_body_that_is_no_json_is_uninteresting() -> None:
    assert inbound.facts(RawEvent("k", b"\xff", END)) == (Uninteresting("not JSON"),)
