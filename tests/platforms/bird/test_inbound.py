"""Webhooks of Bird: signature and age, keys, and what each documented payload means.

`SYNCD_GOLDENS=write pytest tests/platforms/bird` writes the goldens anew: read the difference before keeping it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.engine.platform import HookRequest, RawEvent, Refused
from syncd.model.facts import ChannelSaid, ContactSaid, Fact, Uninteresting
from syncd.platforms.bird.bodies import MOST_FILES, content, html_text
from tests.platforms.bird.harness import HOOK_URL, NOW, offline, signed

FIXTURES = Path(__file__).parent / "fixtures"
CASES = sorted(path.stem for path in FIXTURES.glob("*.json") if not path.name.endswith(".golden.json"))

BODY_1 = b'{"service":"channels","event":"sms.inbound","payload":{"id":"96a0b5fa-a986-453d-be5c-3117f989f025"}}'
BODY_2 = (
    '{"service":"channels","event":"whatsapp.inbound","payload":{"body":{"type":"text","text":{"text":"héllo ✓"}}}}'
).encode()
VECTORS = [
    ("1718017200", HOOK_URL, BODY_1, "NVZeMJLsa/jQmYJYub65oEB+1+rOz/goaASgfBuftQ0="),
    ("1718017260", HOOK_URL + "?t=abc%20d", BODY_2, "84PGATqre/mY/9R+RPMp017mZpemzNLY7S2LMQj7KWo="),
    ("1718017320", HOOK_URL, b"", "Dc3r90SdRNxbQ/9LVwbOZuu6OmMvZ6Z+oBNtNoNyFYA="),
]


def _verify(request: HookRequest, now: float) -> tuple[RawEvent, ...]:
    return offline(now).verify(request)


def _refused(request: HookRequest, now: float) -> Refused:
    with pytest.raises(Refused) as caught:
        _verify(request, now)
    return caught.value


def _event(value: Any) -> RawEvent:
    """The event of a webhook with this JSON."""
    timestamp = str(int(NOW.timestamp()))
    (event,) = _verify(signed(json.dumps(value).encode(), timestamp=timestamp), NOW.timestamp())
    return event


def _shown(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


@pytest.mark.parametrize("case", CASES)
def test_payloads_mean_what_their_goldens_say(case: str) -> None:
    body = (FIXTURES / f"{case}.json").read_bytes()
    timestamp = str(int(NOW.timestamp()))
    (event,) = _verify(signed(body, timestamp=timestamp), NOW.timestamp())
    assert event.body == body
    assert event.window is None
    key = "hash" if event.key.startswith("hash:") else event.key
    facts = [
        {"fact": type(fact).__name__} | {name: _shown(value) for name, value in asdict(fact).items()}
        for fact in offline().parse(event)
    ]
    found = json.loads(json.dumps({"key": key, "end": event.end, "facts": facts}))
    golden = FIXTURES / f"{case}.golden.json"
    if os.environ.get("SYNCD_GOLDENS") == "write":
        golden.write_text(json.dumps(found, indent=2) + "\n")
    assert found == json.loads(golden.read_text())


@pytest.mark.parametrize(("timestamp", "url", "body", "signature"), VECTORS)
def test_signature_vectors(timestamp: str, url: str, body: bytes, signature: str) -> None:
    request = HookRequest(url, {"messagebird-signature": signature, "messagebird-request-timestamp": timestamp}, body)
    if body:
        assert len(_verify(request, float(timestamp))) == 1
    else:
        # The signature is right: what is refused is that an empty body is not JSON.
        assert _refused(request, float(timestamp)).status == 400


@pytest.mark.parametrize(
    "signature",
    [
        "L+xV5hqsLNrdqZjlpjQ12UJKPBm4FfRN4FHaDrbP1RQ=",  # the hash as hex text
        "etjwvBaUNc1XFOtFTDVXonqKvLdmKQQgQ3wzHQXhK+8=",  # the URL with a trailing slash
        "NVZeMJLsa/jQmYJYub65oEB+1+rOz/goaASgfBuftQ0",  # no padding
        "NVZeMJLsa/jQmYJYub65oEB+1+rOz/goaASgfBuft\udcff",
        "%%%",
        "",
    ],
)
def test_wrong_signatures_are_refused(signature: str) -> None:
    timestamp, url, body, _ = VECTORS[0]
    headers = {"messagebird-signature": signature, "messagebird-request-timestamp": timestamp}
    assert _refused(HookRequest(url, headers, body), float(timestamp)).status == 401


def test_whatever_is_signed_may_not_change() -> None:
    good = signed(BODY_1, timestamp="1718017200")
    for changed in (
        replace(good, body=BODY_1 + b" "),
        replace(good, url=HOOK_URL + "/"),
        replace(good, headers={**good.headers, "messagebird-request-timestamp": "1718017201"}),
        replace(good, headers={"messagebird-signature": good.headers["messagebird-signature"]}),
        signed(BODY_1, timestamp="1718017200", key="another key"),
    ):
        assert _refused(changed, 1718017200).status == 401


def test_signature_comes_before_json() -> None:
    """G11: nothing is parsed before the signature is verified."""
    broken = HookRequest(HOOK_URL, {"messagebird-signature": "AAAA", "messagebird-request-timestamp": "1"}, b"{")
    assert _refused(broken, 1).status == 401


@pytest.mark.parametrize(
    ("hours", "taken"), [(0, True), (8, True), (25.9, True), (27, False), (-0.05, True), (-0.2, False)]
)
def test_a_retry_keeps_its_first_timestamp(hours: float, taken: bool) -> None:
    request = signed(BODY_1, timestamp="1718017200")
    now = 1718017200 + hours * 3600
    if taken:
        assert _verify(request, now)[0].key == "message:96a0b5fa-a986-453d-be5c-3117f989f025"
    else:
        assert _refused(request, now).status == 401


@pytest.mark.parametrize("timestamp", ["", "soon", "1718017200.5", "１７", "9" * 400, "-1"])
def test_a_timestamp_that_is_none_is_refused(timestamp: str) -> None:
    assert _refused(signed(BODY_1, timestamp=timestamp), 1718017200).status == 401


def test_the_newer_platform_is_told_apart() -> None:
    request = HookRequest(HOOK_URL, {"webhook-id": "msg_1", "webhook-signature": "v1,xx"}, b"{}")
    refused = _refused(request, 0)
    assert refused.status == 400
    assert "newer platform" in refused.reason


@pytest.mark.parametrize("body", [b"", b"{", b"hello", b'{"a":1}}', b'{"payload":"\xff"}', b"[" * 100_000])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    assert _refused(signed(body, timestamp="1718017200"), 1718017200).status == 400


@pytest.mark.parametrize(
    "value",
    [
        [],
        None,
        7,
        "x",
        {},
        {"service": "channels"},
        {"service": "channels", "event": "sms.inbound"},
        {"service": "channels", "event": "sms.inbound", "payload": [1]},
        {"service": "channels", "event": ["x"], "payload": {}},
        {"service": "channels", "event": "sms.inbound", "payload": {"sender": 7}},
        {"service": "channels", "event": "sms.outbound", "payload": {}},
        {"service": "channels", "event": "sms.interaction", "payload": {"type": "read"}},
    ],
)
def test_json_of_no_known_shape_is_kept_and_uninteresting(value: Any) -> None:
    event = _event(value)
    assert event.key.startswith("hash:")
    assert [type(fact) for fact in offline().parse(event)] == [Uninteresting]


def test_a_stored_body_that_is_broken_does_not_raise() -> None:
    assert offline().parse(RawEvent("k", b"\xff{")) == (Uninteresting("unreadable event"),)


def test_each_state_of_an_outgoing_message_is_an_event_of_its_own() -> None:
    def key(**fields: str) -> str:
        return _event({"service": "channels", "event": "sms.outbound", "payload": {"id": "m", **fields}}).key

    keys = [
        key(status="sent", lastStatusAt="2025-01-02T08:33:10Z"),
        key(status="delivered", lastStatusAt="2025-01-02T08:33:10Z"),
        key(status="delivered", lastStatusAt="2025-01-02T08:33:11Z"),
        key(),
    ]
    assert len(set(keys)) == 4
    assert keys[0] == key(status="sent", lastStatusAt="2025-01-02T08:33:10Z")


@pytest.mark.parametrize("identity", ["a\0b", "half \ud83d", "x" * 5000])
def test_keys_are_plain_text(identity: str) -> None:
    event = _event({"service": "channels", "event": "sms.inbound", "payload": {"id": identity}})
    assert event.key.isprintable()
    assert len(event.key) < 100


def test_absent_in_any_spelling_is_the_same() -> None:
    """`""`, null and a missing key are equal."""
    base = json.loads((FIXTURES / "outbound_agent.json").read_text())
    facts: list[Fact] = []
    for absent in ("", None, ...):
        value = json.loads(json.dumps(base))
        for name in ("reference", "reason", "details"):
            value["payload"].pop(name, None)
            if absent is not ...:
                value["payload"][name] = absent
        facts += offline().parse(_event(value))
    assert facts[0] == facts[1] == facts[2]
    assert isinstance(facts[0], ChannelSaid)
    assert facts[0].reference is None


def test_the_events_name_gives_the_direction_where_the_payload_does_not() -> None:
    value = json.loads((FIXTURES / "sms_text.json").read_text())
    del value["payload"]["direction"]
    (fact,) = offline().parse(_event(value))
    assert isinstance(fact, ContactSaid)


def test_lone_surrogates_and_nul_survive() -> None:
    (event,) = _verify(
        signed((FIXTURES / "nul_and_lone_surrogate.json").read_bytes(), timestamp="1718017200"), 1718017200
    )
    (fact,) = offline().parse(event)
    assert isinstance(fact, ContactSaid)
    assert fact.text == "NUL \0 and half \ud83d a pair"


def test_a_message_of_very_many_files_is_cut_and_says_so() -> None:
    """G9: a stranger's mail does not become thousands of deliveries."""
    attachments = [{"mediaUrl": f"https://media.api.bird.com/{n}"} for n in range(MOST_FILES + 7)]
    found = content({"type": "text", "text": {"text": "hi", "attachments": attachments}})
    assert found.text == "hi\n[7 more files]"
    assert [file.url for file in found.files] == [item["mediaUrl"] for item in attachments[:MOST_FILES]]


ODD: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({})
)
ITEM = st.fixed_dictionaries(
    {},
    optional={
        "mediaUrl": ODD | st.sampled_from(["https://h/x", "http://h:0/", "//h", "https://[::1", "https://h\ud800/"]),
        "contentType": ODD | st.sampled_from(["image/webp", "audio/ogg;codecs=opus", "a/b/c", ";", "ＩＭＡＧＥ/png"]),
        "filename": ODD | st.sampled_from(["a.jpg", "data:,x", "//h/a.png", "a\0b", "\ud83d.ogg"]),
        "altText": ODD,
    },
)
PART = st.fixed_dictionaries(
    {},
    optional={
        "text": ODD,
        "html": ODD,
        "mediaUrl": ODD,
        "images": ODD | st.lists(ODD | ITEM, max_size=3),
        "files": ODD | st.lists(ODD | ITEM, max_size=3),
        "attachments": ODD | st.lists(ODD | ITEM, max_size=3),
        "coordinates": ODD | st.fixed_dictionaries({"latitude": ODD}),
        "location": ODD | st.fixed_dictionaries({"label": ODD}),
    },
)
KINDS = st.sampled_from(["text", "html", "image", "file", "gif", "location", "carousel", "list", "section"])
PLAIN = KINDS.flatmap(lambda kind: st.fixed_dictionaries({"type": st.just(kind), kind: ODD | PART}))
NESTED = st.recursive(
    PLAIN,
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("section"), "section": st.fixed_dictionaries({"items": st.lists(ODD | inner, max_size=3)})}
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(body=NESTED | ODD)
def test_bodies_of_any_shape_say_something(body: Any) -> None:
    """Nothing raises, and nothing is dropped."""
    found = content(body)
    assert found.text or found.files
    for file in found.files:
        assert file.url is None or file.url.startswith(("https://", "http://"))
        assert file.name is None or (file.name and "\n" not in file.name)
        assert file.content_type is None or (file.content_type.isascii() and file.content_type.count("/") == 1)


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("", ""),
        ("plain", "plain"),
        ("<p>a</p><p>b</p>", "a\nb"),
        ("a &amp; b &lt;tag&gt;", "a & b <tag>"),
        ("<STYLE>x</STYLE>y<script>if (a<b) {}</script>z", "yz"),
        ("a<br/>b<", "a\nb"),
        ("before<script>never closed", "before"),
        ("<head><title>T</title></head><header>H</header>", "H"),
    ],
)
def test_html_becomes_its_words(markup: str, words: str) -> None:
    assert html_text(markup) == words


@pytest.mark.parametrize("piece", ["<", "<!--", "<script", "<style>", "&#", "<p>", "</"])
def test_html_is_read_in_linear_time(piece: str) -> None:
    """G9: the quadratic cost of this size would outlast the time limit of the tests."""
    html_text(piece * 300_000)
