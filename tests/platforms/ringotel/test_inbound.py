"""Ringotel's webhooks: what is let in, what is kept of it, what names it, what it says."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from syncd.engine.platform import RawEvent, Refused
from syncd.model.facts import Fact, UserEdited, UserSaid
from syncd.model.files import Attachment, FileKind
from syncd.platforms.ringotel import inbound

KEY, OLD_KEY = b"rt-key-1", b"rt-key-0"
FIXTURES = Path(__file__).parent / "fixtures"
SAMPLES = sorted(path for path in FIXTURES.glob("*.json") if not path.name.endswith(".golden.json"))
REGENERATE = "REGENERATE_GOLDENS"
"""Set it to write the goldens anew; then read the difference."""


def verified(body: bytes, *keys: bytes) -> RawEvent:
    return inbound.verify(body, keys or (KEY,))


def said(body: bytes) -> UserSaid:
    fact = inbound.parse(verified(body).body)
    assert isinstance(fact, UserSaid)
    return fact


def golden_of(event: RawEvent, fact: Fact) -> dict[str, Any]:
    window = None if event.window is None else event.window.total_seconds()
    return {"key": event.key, "window": window, "fact": {"kind": type(fact).__name__, **dataclasses.asdict(fact)}}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_sample_gives_its_golden_facts(path: Path) -> None:
    event = verified(path.read_bytes())
    found = json.loads(json.dumps(golden_of(event, inbound.parse(event.body))))
    golden = path.with_suffix(".golden.json")
    if os.environ.get(REGENERATE):
        golden.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    assert found == json.loads(golden.read_text())


def test_every_sample_is_there() -> None:
    assert len(SAMPLES) >= 45


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_no_sample_leaves_the_key_in_the_stored_body(path: Path) -> None:
    event = verified(path.read_bytes())
    assert KEY not in event.body
    assert set(json.loads(event.body)) == {"method", "params"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'"rt-key-1"',
        b"null",
        b'{"api_key":"rt-key-1"',
        b'{"api_key":"rt-key-1"} x',
        b'{"api_key":"rt-key-1","params":{"content":"\xff"}}',
        b'{"api_key":"rt-key-1","params":NaN}',
        b'{"api_key":"rt-key-1","params":{"a":"\\ud83d","b":NaN}}',
        b'\xef\xbb\xbf["\\ud83d"]',
        b'{"api_key":"rt-key-1","params":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"method=message&api_key=rt-key-1",
    ],
)
def test_what_is_no_json_object_is_400(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        verified(body)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"method":"message","params":{}}',
        b'{"method":"message","params":{"api_key":"rt-key-1"}}',
        b'{"api_key":"wrong"}',
        b'{"api_key":""}',
        b'{"api_key":"rt-key-1 "}',
        b'{"api_key":"rt-key-"}',
        b'{"api_key":"RT-KEY-1"}',
        b'{"api_key":null}',
        b'{"api_key":1}',
        b'{"api_key":["rt-key-1"]}',
        b'{"api_key":{"api_key":"rt-key-1"}}',
        b'{"api_key":"\\ud83d"}',
        b'{"api_key":"rt-key-1","api_key":"wrong"}',
        b'{"method":"StartCallActivity","api_token":"rt-key-1","params":{}}',
    ],
)
def test_missing_or_wrong_key_is_401(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        verified(body)
    assert refused.value.status == 401
    assert "rt-key" not in refused.value.reason


def test_during_a_rotation_both_keys_are_taken() -> None:
    for key in (KEY, OLD_KEY):
        assert verified(b'{"api_key":"%s"}' % key, KEY, OLD_KEY)
    with pytest.raises(Refused):
        verified(b'{"api_key":"rt-key-0"}', KEY)


@pytest.mark.parametrize(
    "body",
    [
        b'{"api_key":"wrong","method":"m","params":{},"api_key":"rt-key-1"}',
        b'{"api\\u005fkey":"rt-key-1","method":"m","params":{"content":"x"}}',
        b'{"api_key":"rt-key-1","copy":"rt-key-1","API_KEY":"rt-key-1","method":"m","params":{}}',
        b'{"api_key":"rt-key-1","copy":"rt-key-1","method":"m","params":{"content":"\\ud83d"}}',
        b'\xef\xbb\xbf{"method":"m","params":{},"api_key":"rt-key-1"}',
    ],
)
def test_the_key_is_never_kept(body: bytes) -> None:
    assert KEY not in verified(body).body


def test_params_are_kept_byte_for_byte() -> None:
    params = (
        b'{ "to" : "1", "zz":[1.50,1e2,18446744073709551617], "to":"2",\n"content":"\xf0\x9f\x98\x80 \\u0000 \\/"  }'
    )
    event = verified(b'{"api_key":"rt-key-1", "params" : %s ,"method": "message"}' % params)
    assert event.body == b'{"method":"message","params":' + params + b"}"


@pytest.mark.parametrize(
    ("text", "ascii_only"),
    [
        ("nul \0 inside", True),
        ("nul \0 inside", False),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd", True),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd", False),
        ("half \ud83d", True),  # a lone surrogate has no UTF-8: it only ever comes as an escape
        ("\ude00 half", True),
        ("\ud83d\ud83d x \ude00\ud83d", True),
    ],
)
def test_any_text_gets_through(text: str, ascii_only: bool) -> None:
    params = {"orgid": "1", "from": "502", "to": "2", "messageid": "m", "content": text}
    whole = json.dumps({"method": "message", "params": params, "api_key": "rt-key-1"}, ensure_ascii=ascii_only)
    assert said(whole.encode()).text == text


def test_a_message_is_named_by_its_id_whatever_else_changes() -> None:
    one = b'{"method":"message","params":{"messageid":"m1","content":"a"},"api_key":"rt-key-1"}'
    two = b'{"api_key":"rt-key-1", "params":{"content":"b","messageid":"m1"},"method":"message"}'
    assert verified(one).key == verified(two).key == "message:m1"
    assert verified(one).window is None


def test_the_2022_variant_is_named_by_what_it_says() -> None:
    sample = json.loads((FIXTURES / "message_2022.json").read_bytes())
    first = verified(json.dumps(sample).encode())
    assert first.window == inbound.WINDOW
    sample["params"] = dict(reversed(sample["params"].items()))
    sample["params"]["ownerid"] = "another"
    sample["params"]["type"] = "1"
    assert verified(json.dumps(sample).encode()).key == first.key
    for member in ("orgid", "userid", "to", "content"):
        changed = {**sample, "params": {**sample["params"], member: "other"}}
        assert verified(json.dumps(changed).encode()).key != first.key, member


def updated(content: Any) -> RawEvent:
    params = {"messageid": "m", "content": content}
    return verified(json.dumps({"method": "updated", "params": params, "api_key": "rt-key-1"}).encode())


def test_edits_of_one_message_are_told_apart() -> None:
    assert updated("a").key == updated("a").key != updated("b").key


def test_a_text_that_returns_is_another_edit() -> None:
    """G2: an edit is the same as an equal one only for a while, so that A, B, A ends with A."""
    assert updated("a").window == inbound.WINDOW


def test_a_number_meant_as_text_is_a_text() -> None:
    assert inbound.parse(updated(5).body) == UserEdited("m", "5")


# --- files ---

HOST = "https://files.example"


@pytest.mark.parametrize(
    ("content", "kind", "content_type", "name"),
    [
        (f"{HOST}/abc.jpg", FileKind.IMAGE, "image/jpeg", "abc.jpg"),
        (f"{HOST}/a/b/ABC.JPG?token=x.pdf", FileKind.IMAGE, "image/jpeg", "ABC.JPG"),
        (f"{HOST}/x.webp", FileKind.IMAGE, "image/webp", "x.webp"),
        (f"{HOST}/x.mp3", FileKind.AUDIO, "audio/mpeg", "x.mp3"),
        (f"{HOST}/x.ogg", FileKind.AUDIO, "audio/ogg", "x.ogg"),
        (f"{HOST}/x.3gp", FileKind.VIDEO, "video/3gpp", "x.3gp"),
        (f"{HOST}/x.mp4", FileKind.VIDEO, "video/mp4", "x.mp4"),
        (f"{HOST}/x.pdf", FileKind.FILE, "application/pdf", "x.pdf"),
        (f"{HOST}/x.tar.gz", FileKind.FILE, None, "x.tar.gz"),
        (f"{HOST}/x.unheard", FileKind.FILE, None, "x.unheard"),
        (f"{HOST}/x", FileKind.FILE, None, "x"),
        (f"{HOST}/", FileKind.FILE, None, None),
        (HOST, FileKind.FILE, None, None),
        (f"{HOST}/dir/..", FileKind.FILE, None, None),
        (f"{HOST}/%2e%2e%2f%2e%2e%2fetc%2Fpasswd.png", FileKind.IMAGE, "image/png", "passwd.png"),
        (f"{HOST}/a%5Cb%0d%0a%00%E2%80%AEc.png", FileKind.IMAGE, "image/png", "bc.png"),
        (f"{HOST}/caf%C3%A9%20%E4%BD%A0.png", FileKind.IMAGE, "image/png", "café 你.png"),
        (f"{HOST}/%FF.png", FileKind.IMAGE, "image/png", "\ufffd.png"),
        (f"{HOST}/data:image.png,x.pdf", FileKind.FILE, "application/pdf", "data:image.png,x.pdf"),
        (f"{HOST}/{'n' * 300}.jpeg", FileKind.IMAGE, "image/jpeg", f"{'n' * 115}.jpeg"),
        ("HTTP://files.example:8080/x.gif", FileKind.IMAGE, "image/gif", "x.gif"),
        (f"  {HOST}/x.gif\n", FileKind.IMAGE, "image/gif", "x.gif"),
    ],
)
def test_a_file_is_what_its_address_says(
    content: str, kind: FileKind, content_type: str | None, name: str | None
) -> None:
    fact = said_with(content)
    assert fact.text == ""
    assert fact.files == (Attachment(kind, content.strip(), content_type, name),)


@pytest.mark.parametrize(
    "content",
    [
        "",
        None,
        7,
        {"url": f"{HOST}/x.jpg"},
        "x.jpg",
        "/files/x.jpg",
        "//files.example/x.jpg",
        "ftp://files.example/x.jpg",
        "file:///etc/passwd",
        "data:image/png;base64,iVBORw0KGgo=",
        "https://",
        "https://user:secret@files.example/x.jpg",
        f"{HOST}/x\ud83d.jpg",
        f"{HOST}/x\0.jpg",
        f"{HOST}/{'x' * 9000}",
        f"see {HOST}/x.jpg",
    ],
)
def test_what_is_no_address_is_still_a_file(content: Any) -> None:
    """G1: a user's file that cannot be had is told of, not passed over."""
    fact = said_with(content)
    assert fact.text == "" and fact.files == (Attachment(FileKind.FILE, None),)


def said_with(content: Any) -> UserSaid:
    params = {"orgid": "1", "from": "502", "to": "2", "messageid": "m", "content": content, "type": 2}
    return said(json.dumps({"method": "message", "params": params, "api_key": "rt-key-1"}).encode())


@pytest.mark.parametrize("huge", ["9" * 5000, "1e999", "[" * 600 + "]" * 600, '"' + "x" * 200 + '"'])
@pytest.mark.parametrize("member", ["orgid", "messageid", "content", "type", "from", "surprise"])
def test_odd_values_are_taken_and_never_raise(member: str, huge: str) -> None:
    event = verified(b'{"method":"message","params":{"%s":%s},"api_key":"rt-key-1"}' % (member.encode(), huge.encode()))
    assert type(inbound.parse(event.body)).__name__ == "Uninteresting"
    assert len(event.key) < 100


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b'{"method":1}', b'{"method":"read","params":7}'])
def test_parse_never_raises(body: bytes) -> None:
    assert type(inbound.parse(body)).__name__ == "Uninteresting"
