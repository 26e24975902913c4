"""Files and quotes sent to Bird over real sockets: ticket, upload, message, and what each failure means."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from syncd.model.files import File, FileKind
from syncd.model.sending import AuthFailed, MaybeSent, NotSent, RateLimited, Rejected, SendError
from syncd.platforms.bird import plugin
from syncd.simulators.base import Fault
from syncd.simulators.bird import BirdSimulator
from syncd.simulators.bird_records import Received, SimFile
from tests.platforms.bird.harness import (
    ACCESS_KEY,
    CHANNEL,
    CONTACT,
    NOW,
    SIGNING_KEY,
    connected,
    file,
    offline,
    outgoing,
    simulator,
)

DATA = bytes(range(256)) * 40
NAME = "price list, draft.pdf"
CAPTION = "the quick brown fox"


@pytest.fixture
async def bird() -> AsyncIterator[BirdSimulator]:
    async with simulator() as started:
        yield started


@pytest.fixture
def pdf(tmp_path: Path) -> File:
    return file(tmp_path / "kept", DATA, name=NAME)


def _at(name: str, **fields: Any) -> Fault:
    """A fault of one kind of call."""
    return Fault(match=lambda call: call.name == name, **fields)


async def _error(bird: BirdSimulator, sent: File, fault: Fault | None = None, *, timeout: float = 5.0) -> SendError:
    """What the send of a file raises. Nothing of it shows a key, a ticket, the caption or the name."""
    if fault is not None:
        bird.faults.append(fault)
    async with connected(bird, timeout=timeout) as platform:
        with pytest.raises(SendError) as caught:
            await platform.send(outgoing(CAPTION, file=sent))
    shown = f"{caught.value.reason} {caught.value.answer} {caught.value}"
    hidden = (ACCESS_KEY, SIGNING_KEY, CAPTION, NAME, "policy-of", "token-of", "ASIA")
    assert not any(secret in shown for secret in hidden)
    return caught.value


def test_what_bird_takes() -> None:
    can = plugin.capabilities
    assert can.files == dict.fromkeys(FileKind, 20_000_000) and not can.types
    assert can.captions == {FileKind.IMAGE, FileKind.VIDEO, FileKind.FILE} and can.max_caption == 1024
    assert can.quotes and not (can.edits or can.deletes or can.receipts)


@pytest.mark.parametrize("caption", ["", CAPTION])
@pytest.mark.parametrize(
    ("kind", "content_type", "name"),
    [
        (FileKind.IMAGE, "image/jpeg", "photo.jpg"),
        (FileKind.VIDEO, "video/mp4", "clip.mp4"),
        (FileKind.AUDIO, "audio/mpeg", "song.mp3"),
        (FileKind.VOICE, "audio/ogg", "voice.ogg"),
        (FileKind.STICKER, "image/webp", "sticker.webp"),
        (FileKind.FILE, "application/pdf", "Übersicht “neu”.pdf"),
    ],
)
async def test_every_kind_arrives_whole(
    bird: BirdSimulator, tmp_path: Path, kind: FileKind, content_type: str, name: str, caption: str
) -> None:
    sent = file(tmp_path / "kept", DATA, kind, content_type=content_type, name=name)
    async with connected(bird) as platform:
        answer = await platform.send(outgoing(caption, file=sent))
    (got,) = bird.received(CHANNEL, CONTACT)
    (kept,) = got.files
    assert isinstance(kept, SimFile)
    assert (kept.data, kept.content_type, got.text) == (DATA, content_type, caption)
    (message,) = bird.sent(CHANNEL, CONTACT)
    assert answer.messageid == message["id"]
    (call,) = bird.calls_of("send")
    words = {"text": caption} if caption else {}
    if kind is FileKind.IMAGE:
        url = message["body"]["image"]["images"][0]["mediaUrl"]
        body: Any = {"type": "image", "image": {"images": [{"mediaUrl": url}], **words}}
    else:
        url = message["body"]["file"]["files"][0]["mediaUrl"]
        item = {"mediaUrl": url, "contentType": content_type, "filename": name}
        body = {"type": "file", "file": {"files": [item], **words}}
    assert call.params["request"]["body"] == body
    assert [call.name for call in bird.calls] == ["ticket", "upload", "send"]


async def test_a_ticket_is_used_as_it_was_given(bird: BirdSimulator, pdf: File) -> None:
    """G12: the bucket is not shown the key; its fields go out in order, the file last, its length known."""
    async with connected(bird) as platform:
        await platform.send(outgoing(file=pdf))
    ticket, upload, _ = bird.calls
    assert ticket.params["contentType"] == "application/pdf" and ticket.params["channel"] == CHANNEL
    assert ticket.headers["authorization"] == f"AccessKey {ACCESS_KEY}"
    assert upload.params["fields"] == [
        "Content-Type", "acl", "bucket", "key", "policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date",
        "x-amz-meta-allowed-paths", "x-amz-security-token", "x-amz-signature", "file",
    ]  # fmt: skip
    assert upload.params["size"] == len(DATA)
    assert "authorization" not in upload.headers and ACCESS_KEY not in str(upload.headers)
    assert int(upload.headers["content-length"]) > len(DATA) and "transfer-encoding" not in upload.headers


async def test_a_large_file_is_streamed_from_the_disk(bird: BirdSimulator, tmp_path: Path) -> None:
    """G9: a file of the largest size is never in memory as a whole, and is closed afterwards."""
    path, asked = tmp_path / "large", []
    lent: list[io.FileIO] = []

    class Watched(io.FileIO):
        def read(self, size: int | None = -1, /) -> Any:
            asked.append(size)
            return super().read(-1 if size is None else size)

    @asynccontextmanager
    async def lend() -> AsyncIterator[BinaryIO]:
        lent.append(Watched(path))
        with lent[-1] as opened:
            yield opened

    large = file(path, b"\7" * 20_000_000, FileKind.VIDEO, lend=lend)
    async with connected(bird, timeout=30) as platform:
        await platform.send(outgoing(file=large))
    ((kept,),) = (got.files for got in bird.received(CHANNEL, CONTACT))
    assert isinstance(kept, SimFile) and kept.size == 20_000_000
    assert len(asked) > 10 and all(size is not None and 0 < size <= 1 << 20 for size in asked)
    assert [opened.closed for opened in lent] == [True]


async def test_an_empty_file(bird: BirdSimulator, tmp_path: Path) -> None:
    async with connected(bird) as platform:
        await platform.send(outgoing("", file=file(tmp_path / "empty", b"")))
    assert bird.received(CHANNEL, CONTACT) == [Received("", (SimFile(b"", "application/pdf", "plan.pdf"),))]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthFailed), (403, AuthFailed), (429, RateLimited), (404, Rejected), (422, Rejected), (400, Rejected),
        (409, Rejected), (302, Rejected), (408, NotSent), (500, NotSent), (503, NotSent),
    ],
)  # fmt: skip
async def test_no_ticket_means_no_message(bird: BirdSimulator, pdf: File, status: int, error: type[SendError]) -> None:
    body = json.dumps({"code": "Some Code", "message": f"no: {ACCESS_KEY}"}).encode()
    found = await _error(bird, pdf, _at("ticket", kind="status", status=status, body=body))
    assert (type(found), found.http_status) == (error, status)
    assert "upload refused" in found.reason and "Some Code" in found.reason
    assert [call.name for call in bird.calls] == ["ticket"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, NotSent), (408, NotSent), (500, NotSent), (503, NotSent), (429, RateLimited),
        (400, Rejected), (401, Rejected), (404, Rejected), (411, Rejected), (413, Rejected),
    ],
)  # fmt: skip
async def test_a_refused_upload_means_no_message(
    bird: BirdSimulator, pdf: File, status: int, error: type[SendError]
) -> None:
    body = b"<Error><Code>SomeCode</Code><StringToSign>policy-of ASIA</StringToSign></Error>"
    found = await _error(bird, pdf, _at("upload", kind="status", status=status, body=body))
    assert (type(found), found.http_status) == (error, status)
    assert "upload refused" in found.reason and "SomeCode" in found.reason and not found.answer
    assert [call.name for call in bird.calls] == ["ticket", "upload"]


async def test_rate_limits_of_both_say_how_long(bird: BirdSimulator, pdf: File) -> None:
    for name in ("ticket", "upload"):
        found = await _error(bird, pdf, _at(name, kind="status", status=429, headers={"Retry-After": "7"}))
        assert isinstance(found, RateLimited) and found.retry_after == 7.0


async def test_the_simulators_own_refusals(bird: BirdSimulator, pdf: File) -> None:
    bird.refuses_uploads = "expired"
    expired = await _error(bird, pdf)
    assert isinstance(expired, NotSent) and expired.tries
    bird.refuses_uploads = "too large"
    assert type(await _error(bird, pdf)) is Rejected
    bird.refuses_uploads, bird.refused_types = "", {"application/pdf"}
    assert type(await _error(bird, pdf)) is Rejected
    assert bird.sent(CHANNEL, CONTACT) == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_an_upload_is_never_redirected(bird: BirdSimulator, pdf: File, status: int) -> None:
    """G12: a file goes to the host of the ticket and no further."""
    headers = {"Location": bird.bucket_url + "/"}
    found = await _error(bird, pdf, _at("upload", kind="status", status=status, headers=headers))
    assert type(found) is Rejected
    assert len(bird.calls_of("upload")) == 1


@pytest.mark.parametrize("step", ["ticket", "upload"])
@pytest.mark.parametrize("kind", ["lost", "hangup", "delay"])
async def test_a_lost_answer_before_the_message_is_no_doubt(
    bird: BirdSimulator, pdf: File, monkeypatch: pytest.MonkeyPatch, step: str, kind: str
) -> None:
    """G3: whatever happens before the message is posted, it was not sent; the next try sends it once."""
    monkeypatch.setattr("syncd.platforms.bird.uploads.UPLOAD_SECONDS", 0.3)
    assert type(await _error(bird, pdf, _at(step, kind=kind, seconds=1.0), timeout=0.3)) is NotSent
    async with connected(bird) as platform:
        await platform.send(outgoing(CAPTION, file=pdf))
    assert bird.received(CHANNEL, CONTACT) == [Received(CAPTION, (SimFile(DATA, "application/pdf", NAME),))]
    assert len(bird.calls_of("ticket")) == 2  # each try has a ticket of its own


async def test_a_bucket_that_is_not_there(bird: BirdSimulator, pdf: File) -> None:
    assert bird._bucket is not None
    await bird._bucket.cleanup()
    assert type(await _error(bird, pdf)) is NotSent


async def test_a_file_that_cannot_be_read_is_not_given_up(bird: BirdSimulator, pdf: File, tmp_path: Path) -> None:
    (tmp_path / "kept").unlink()
    found = await _error(bird, pdf)
    assert isinstance(found, NotSent) and found.tries is None and "cannot be read" in found.reason
    assert "kept" not in found.reason


GOOD: dict[str, Any] = {
    "mediaUrl": "https://m/U",
    "uploadUrl": "https://b/",
    "uploadMethod": "POST",
    "uploadFormData": {"key": "k"},
}


WRONG: tuple[dict[str, Any], ...] = (
    {"mediaUrl": ""},
    {"mediaUrl": 7},
    {"uploadUrl": ""},
    {"uploadUrl": "ftp://b/"},
    {"uploadUrl": "https://user@b/"},
    {"uploadUrl": "https://b\\@c/"},
    {"uploadMethod": "DELETE"},
    {"uploadFormData": []},
    {"uploadFormData": {"key": 1}},
    {"uploadFormData": {"a\r\nb": "k"}},
    {"uploadFormData": {"key": "half \ud83d"}},
)


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"{}", b"[]", b"<html>", b"\xff", b"[" * 100_000,
        *(json.dumps({name: value for name, value in GOOD.items() if name != gone}).encode() for gone in GOOD),
        *(json.dumps(GOOD | change).encode() for change in WRONG),
    ],
)  # fmt: skip
async def test_a_ticket_that_is_none(bird: BirdSimulator, pdf: File, answer: bytes) -> None:
    found = await _error(bird, pdf, _at("ticket", kind="reply", status=200, body=answer))
    assert isinstance(found, NotSent) and found.tries and "not understood" in found.reason
    assert [call.name for call in bird.calls] == ["ticket"]


async def test_plain_http_is_only_for_an_account_that_is_plain_itself(
    bird: BirdSimulator, pdf: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G12: with an account on https, no file leaves unencrypted."""
    async with connected(bird) as platform:
        monkeypatch.setattr(platform._api, "plain", False)
        with pytest.raises(NotSent, match="not https"):
            await platform.send(outgoing(file=pdf))
    assert bird.calls_of("upload") == []


def test_an_account_is_plain_as_its_base_url_is() -> None:
    assert not offline()._api.plain


@pytest.mark.parametrize(
    ("status", "error"), [(422, Rejected), (401, AuthFailed), (429, RateLimited), (408, MaybeSent), (500, MaybeSent)]
)
async def test_a_message_with_a_file_fails_as_any_other(
    bird: BirdSimulator, pdf: File, status: int, error: type[SendError]
) -> None:
    body = json.dumps({"code": "c", "message": f"no {NAME}, no {CAPTION}"}).encode()
    found = await _error(bird, pdf, _at("send", kind="status", status=status, body=body))
    assert (type(found), found.http_status) == (error, status)


async def test_a_message_with_a_file_is_found_again(bird: BirdSimulator, pdf: File) -> None:
    """G3: a doubt about a file is settled like any other."""
    assert type(await _error(bird, pdf, _at("send", kind="lost"))) is MaybeSent
    async with connected(bird) as platform:
        found = await platform.find_sent(outgoing(file=pdf), NOW)
    assert found is not None and found.messageid == bird.sent(CHANNEL, CONTACT)[0]["id"]


async def test_an_answer_to_a_message_names_it(bird: BirdSimulator, pdf: File) -> None:
    asked = bird.contact_says(CHANNEL, CONTACT, "which?")
    async with connected(bird) as platform:
        await platform.send(outgoing("this one", quotes=asked))
        await platform.send(outgoing("and this", quotes=asked, file=pdf, reference="syncd:r-2"))
    assert [(got.text, got.reply_to) for got in bird.received(CHANNEL, CONTACT)] == [
        ("this one", asked),
        ("and this", asked),
    ]
    request = bird.calls_of("send")[0].params["request"]
    assert request["replyTo"] == {"id": asked, "type": "message"} and "replyTo" not in request["body"]


async def test_quoting_never_blocks_a_message(bird: BirdSimulator, pdf: File) -> None:
    """An id that Bird does not know: the message goes out once, without the quote; its file was uploaded once."""
    async with connected(bird) as platform:
        await platform.send(outgoing(CAPTION, quotes="9d1c-unknown", file=pdf))
    assert bird.received(CHANNEL, CONTACT) == [Received(CAPTION, (SimFile(DATA, "application/pdf", NAME),))]
    assert [call.name for call in bird.calls] == ["ticket", "upload", "send", "send"]
    first, second = (call.params["request"] for call in bird.calls_of("send"))
    assert first == second | {"replyTo": {"id": "9d1c-unknown", "type": "message"}}


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_refusal_that_is_not_about_the_quote_stays_one(bird: BirdSimulator, status: int) -> None:
    asked = bird.contact_says(CHANNEL, CONTACT, "which?")
    bird.faults.append(Fault("status", times=-1, status=status))
    async with connected(bird) as platform:
        with pytest.raises(Rejected):
            await platform.send(outgoing(quotes=asked))
    assert len(bird.calls) == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", status=401), AuthFailed),
        (Fault("status", status=409), Rejected),
        (Fault("status", status=429), RateLimited),
        (Fault("status", status=408), MaybeSent),
        (Fault("status", status=500), MaybeSent),
        (Fault("lost"), MaybeSent),
        (Fault("hangup"), MaybeSent),
    ],
)
async def test_nothing_else_is_repeated_without_the_quote(
    bird: BirdSimulator, fault: Fault, error: type[SendError]
) -> None:
    """G3: a send that may have been done is never done again."""
    asked = bird.contact_says(CHANNEL, CONTACT, "which?")
    bird.faults.append(fault)
    async with connected(bird) as platform:
        with pytest.raises(error):
            await platform.send(outgoing(quotes=asked))
    assert len(bird.calls) == 1
