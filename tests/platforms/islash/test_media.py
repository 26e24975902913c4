"""What iSlash's webhooks tell of files, quotes, cards and watermarks."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from typing import Any, cast

import pytest

from syncd.engine.platform import HookRequest
from syncd.model.facts import ContactSaid, CopyStatus, StatusSeen, Uninteresting
from syncd.model.files import Attachment, FileKind
from syncd.platforms.http import Http
from syncd.platforms.islash import plugin
from tests.platforms.islash.harness import END, setup
from tests.support.files import PDF

CUSTOMER = "85200000001"
PAGE_USER = "5000000000000001"


def parsed(value: Any, **account: Any) -> list[Any]:
    platform = plugin.build(setup("https://customer.islash.example", **account), cast(Http, None))
    body = json.dumps(value).encode()
    events = platform.verify(HookRequest("https://bridge.example.com/hooks/islash/x", {}, body, END))
    return [fact for event in events for fact in platform.parse(event)]


def whatsapp(kind: str, content: Any, account: dict[str, Any] | None = None, **beside: Any) -> ContactSaid:
    item = {"from": CUSTOMER, "id": "ABGG-1", "type": kind, kind: content, **beside}
    (said,) = parsed({"messages": [item]}, **(account or {}))
    assert isinstance(said, ContactSaid)
    return said


def messenger(**event: Any) -> Any:
    item = {"sender": {"id": PAGE_USER}, "recipient": {"id": "100000000000001"}, "timestamp": 1692603667024, **event}
    (fact,) = parsed({"object": "page", "entry": [{"id": "100000000000001", "messaging": [item]}]})
    return fact


@pytest.mark.parametrize(
    ("kind", "content", "is_"),
    [
        ("image", {}, FileKind.IMAGE),
        ("video", {}, FileKind.VIDEO),
        ("audio", {}, FileKind.AUDIO),
        ("audio", {"voice": True}, FileKind.VOICE),
        ("audio", {"voice": "yes"}, FileKind.AUDIO),
        ("voice", {}, FileKind.VOICE),
        ("document", {}, FileKind.FILE),
        ("sticker", {}, FileKind.STICKER),
        ("image", None, FileKind.IMAGE),
        ("image", "odd", FileKind.IMAGE),
    ],
)
def test_what_a_file_of_whatsapp_is(kind: str, content: Any, is_: FileKind) -> None:
    said = whatsapp(kind, content)
    assert (said.text, said.files) == ("", (Attachment(is_, None),))


def test_what_is_told_of_a_file_of_whatsapp() -> None:
    content = {
        "id": "m1",
        "mime_type": "Application/PDF; x=y",
        "filename": "Bericht \0ä.pdf",
        "caption": "  the report\n",
        "sha256": PDF.sha256.upper(),
        "link": "https://files.example/a?b=c#d",
    }
    said = whatsapp("document", content)
    assert said.text == "  the report\n"
    assert said.files == (
        Attachment(
            FileKind.FILE,
            "https://files.example/a?b=c#d",
            "application/pdf",
            "Bericht \ufffdä.pdf",
            sha256=PDF.sha256,
        ),
    )


@pytest.mark.parametrize("place", ["link", "url", "media_url", "file"])
def test_where_its_address_may_stand(place: str) -> None:
    def beside(scheme: str) -> dict[str, Any]:
        return {place: f"{scheme}://x.example/beside"}

    inside = whatsapp("image", {place: "https://x.example/in"}, **beside("https"))
    alone = whatsapp("image", {}, **beside("HTTP"))
    assert inside.files[0].url == "https://x.example/in"
    assert alone.files[0].url == "HTTP://x.example/beside"


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "/media/1",
        "//x.example/1",
        "ftp://x.example/1",
        "file:///etc/passwd",
        "data:image/png;base64,AA",
        "https://",
        "https://x.example/a b",
        "https://x.example/\0",
        "https://x.example/\ud83d",
        " https://x.example/",
        "https://x.example/" + "a" * 8000,
        None,
        7,
        {"url": "https://x.example"},
    ],
)
def test_what_is_no_web_address_counts_as_none(odd: Any) -> None:
    assert whatsapp("image", {"link": odd}).files == (Attachment(FileKind.IMAGE, None),)
    assert whatsapp("image", {"link": odd, "url": "https://x.example/1"}).files[0].url == "https://x.example/1"


DIGEST = sha256(b"x").digest()


@pytest.mark.parametrize(
    ("told", "is_"),
    [
        (DIGEST.hex(), DIGEST.hex()),
        (DIGEST.hex().upper(), DIGEST.hex()),
        (b64encode(DIGEST).decode(), DIGEST.hex()),
        (b64encode(DIGEST).decode().rstrip("="), DIGEST.hex()),
        (b64encode(DIGEST[:31]).decode(), None),
        (DIGEST.hex()[:-1], None),
        ("<64 hex>", None),
        ("ä" * 44, None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_the_hash_in_every_spelling(told: Any, is_: str | None) -> None:
    assert whatsapp("image", {"sha256": told}).files[0].sha256 == is_


@pytest.mark.parametrize("odd", ["", ";", "a\nb", 7, [], "x" * 2000])
def test_an_odd_type_counts_as_none(odd: Any) -> None:
    assert whatsapp("image", {"mime_type": odd}).files[0].content_type is None


def test_the_template_is_for_what_came_without_an_address() -> None:
    account = {"media_url_template": "https://files.example/m/{id}?also={id}"}
    (file,) = whatsapp("image", {"id": "a/../b c&d=%ä"}, account).files
    escaped = "a%2F..%2Fb%20c%26d%3D%25%C3%A4"
    assert file.url == f"https://files.example/m/{escaped}?also={escaped}"
    assert whatsapp("image", {"id": "1", "link": "https://x.example/1"}, account).files[0].url == "https://x.example/1"
    unusable: tuple[Any, ...] = (None, "", ".", "..", "a\0b", "x" * 2000, [], True)
    for odd in unusable:
        assert whatsapp("image", {"id": odd}, account).files[0].url is None
    assert messenger(message={"mid": "m", "attachments": [{"type": "image"}]}).files[0].url is None


def test_an_answer_names_what_it_answers_to() -> None:
    assert whatsapp("text", {"body": "yes"}, context={"from": "x", "id": "gBGG-1"}).quotes == "gBGG-1"
    assert whatsapp("image", {}, context={"id": "gBGG-1"}).quotes == "gBGG-1"
    contexts: tuple[Any, ...] = (None, {}, {"id": None}, {"id": "a\0"}, {"forwarded": True}, "gBGG-1")
    for odd in contexts:
        assert whatsapp("text", {"body": "yes"}, context=odd).quotes is None
    assert messenger(message={"mid": "m_2", "text": "yes", "reply_to": {"mid": "m_1"}}).quotes == "m_1"
    replies: tuple[Any, ...] = (None, {}, {"story": {"id": "1"}}, "m_1")
    for odd in replies:
        assert messenger(message={"mid": "m_2", "text": "yes", "reply_to": odd}).quotes is None


@pytest.mark.parametrize(
    ("cards", "text"),
    [
        (
            [{"name": {"formatted_name": "Ann"}, "phones": [{"phone": "+852 0000 0003"}]}],
            "[contact: Ann +852 0000 0003]",
        ),
        ([{"name": {"formatted_name": "Ann"}, "phones": [{"wa_id": "85200000003"}]}], "[contact: Ann +85200000003]"),
        ([{"phones": [{"phone": "+1"}, {"phone": "+2"}, {"phone": "+1"}]}, {"name": "Bo"}], "[contact: +1, +2; Bo]"),
        ([{"phones": [{"phone": None, "wa_id": []}, 7]}, None], "[contact: no name]"),
        ([], "[contact: no name]"),
    ],
)
def test_a_card_names_its_numbers(cards: Any, text: str) -> None:
    said = whatsapp("contacts", cards)
    assert (said.text, said.files) == (text, ())


def test_files_of_messenger() -> None:
    def told(kind: str, url: Any) -> dict[str, Any]:
        return {"type": kind, "payload": {"url": url}}

    attachments = [
        *[told(kind, f"https://x.example/{kind}") for kind in ("image", "video", "audio", "file")],
        told("fallback", "https://x.example/page"),
        {"type": "location"},
        told("image", "/relative"),
        {"type": "image", "payload": None},
        None,
        {},
    ]
    said = messenger(message={"mid": "m_1", "text": "see", "attachments": attachments})
    assert said.text == "[fallback] [location] see"
    assert said.files == (
        Attachment(FileKind.IMAGE, "https://x.example/image"),
        Attachment(FileKind.VIDEO, "https://x.example/video"),
        Attachment(FileKind.AUDIO, "https://x.example/audio"),
        Attachment(FileKind.FILE, "https://x.example/file"),
        Attachment(FileKind.IMAGE, None),
        Attachment(FileKind.IMAGE, None),
        Attachment(FileKind.FILE, None),
        Attachment(FileKind.FILE, None),
    )


@pytest.mark.parametrize("first", ["image", "sticker"])
@pytest.mark.parametrize("urls", [("https://x.example/1", "https://x.example/1"), (None, "https://x.example/1")])
def test_a_sticker_that_is_told_twice_is_one(first: str, urls: tuple[str | None, str]) -> None:
    pair = [{"type": "sticker", "payload": {"url": urls[0]}}, {"type": "image", "payload": {"url": urls[1]}}]
    said = messenger(message={"mid": "m_1", "attachments": pair if first == "sticker" else pair[::-1]})
    assert (said.text, said.files) == ("", (Attachment(FileKind.STICKER, "https://x.example/1"),))


def test_a_watermark_means_everything_until_then() -> None:
    for key, status in (("delivery", CopyStatus.DELIVERED), ("read", CopyStatus.READ)):
        seen = messenger(**{key: {"watermark": 1692603667026}})
        assert isinstance(seen, StatusSeen)
        assert (seen.status, seen.messageid, seen.end, seen.recipient) == (status, None, END, PAGE_USER)
        assert seen.at is not None and seen.at.timestamp() == pytest.approx(1692603667.026)
        empty: tuple[Any, ...] = ({}, {"watermark": None}, {"watermark": "soon"}, {"mids": []})
        for odd in empty:
            assert messenger(**{key: odd}) == Uninteresting("receipt for nothing")
    assert messenger(delivery={"watermark": 1692603667026}, sender=None) == Uninteresting("receipt for nothing")
    assert messenger(delivery={"mids": ["m_1"], "watermark": 1}).messageid == "m_1"
