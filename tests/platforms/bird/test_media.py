"""Files that contacts send by Bird, fetched over real sockets with the key and without it; answers and interactions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syncd.engine.platform import RawEvent
from syncd.model.facts import ContactSaid, CopyStatus, StatusSeen, Uninteresting
from syncd.model.files import FileKind
from syncd.platforms.bird.client import Bird
from syncd.platforms.fetch import Fetcher, NotNow, NotThere, TooLarge
from syncd.simulators.bird import BirdSimulator
from syncd.simulators.bird_records import SimFile
from tests.platforms.bird.harness import ACCESS_KEY, CHANNEL, CONTACT, connected, offline, outgoing, simulator

DATA = bytes(range(256)) * 40
CAPTION = "the quick brown fox"


@pytest.fixture
async def bird() -> AsyncIterator[BirdSimulator]:
    async with simulator() as started:
        yield started


def _parsed(bird: BirdSimulator, messageid: str, platform: Bird) -> ContactSaid:
    """What the webhook of a contact's message says."""
    event = {"service": "channels", "event": "whatsapp.inbound", "payload": bird.messages[messageid]}
    (fact,) = platform.parse(RawEvent("k", json.dumps(event).encode()))
    assert isinstance(fact, ContactSaid)
    return fact


def _fetcher(bird: BirdSimulator, **options: Any) -> Fetcher:
    return Fetcher(private_hosts=(bird.media_host, bird.bucket_host), **options)


INBOUND = [
    ((SimFile(DATA, "image/jpeg"),), None, [FileKind.IMAGE]),
    ((SimFile(b"a", "image/png"), SimFile(b"b", "image/jpeg")), None, [FileKind.IMAGE, FileKind.IMAGE]),
    ((SimFile(DATA, "audio/ogg; codecs=opus"),), None, [FileKind.VOICE]),
    ((SimFile(DATA, "audio/mpeg"), SimFile(b"v", "video/mp4")), None, [FileKind.AUDIO, FileKind.VIDEO]),
    ((SimFile(DATA, "image/webp"),), None, [FileKind.STICKER]),
    ((SimFile(DATA, "application/pdf", "a.pdf", "b.pdf"),), None, [FileKind.FILE]),
    ((SimFile(DATA, "video/mp4"),), "gif", [FileKind.IMAGE]),
    ((SimFile(DATA, "image/jpeg", "me.jpg"), SimFile(b"x", "text/plain", "x.txt")), "html", None),
]


@pytest.mark.parametrize("presigned", [False, True])
@pytest.mark.parametrize(("files", "shape", "kinds"), INBOUND)
async def test_what_contacts_send_can_be_fetched(
    bird: BirdSimulator, files: tuple[SimFile, ...], shape: str | None, kinds: list[FileKind] | None, presigned: bool
) -> None:
    """G12: the key is shown to the media host that the config names, and never to the bucket behind it."""
    bird.presigned = presigned
    messageid = bird.contact_says(CHANNEL, CONTACT, CAPTION, files=files, shape=shape)
    async with connected(bird, media_hosts=[bird.media_host]) as platform, _fetcher(bird) as fetcher:
        said, credential = _parsed(bird, messageid, platform), platform.media_credential()
        assert said.text == CAPTION
        assert [found.kind for found in said.files] == (kinds or [FileKind.IMAGE, FileKind.FILE])
        for found, true in zip(said.files, files, strict=True):
            assert found.url is not None and found.size is None
            async with fetcher.download(found.url, credential=credential) as download:
                assert b"".join([chunk async for chunk in download]) == true.data
                assert download.content_type == true.content_type.partition(";")[0]
                assert download.name == true.header_name
            if shape is None:
                assert found.name == (true.name if found.kind is not FileKind.IMAGE else None)
    shown = [call.headers.get("authorization") for call in bird.calls_of("media")]
    assert shown == ([] if presigned else [f"AccessKey {ACCESS_KEY}"] * len(files))
    assert len(bird.calls_of("bucket")) == len(files)
    assert not any("authorization" in call.headers for call in bird.calls_of("bucket"))


def test_the_key_is_for_the_hosts_of_the_config() -> None:
    credential = offline().media_credential()
    assert credential is not None
    assert (credential.header, credential.value) == ("Authorization", f"AccessKey {ACCESS_KEY}")
    assert credential.hosts == ("media.api.bird.com",)
    assert ACCESS_KEY not in repr(credential)


async def test_media_that_cannot_be_had(bird: BirdSimulator) -> None:
    messageid = bird.contact_says(CHANNEL, CONTACT, files=[SimFile(DATA, "image/jpeg")])
    async with connected(bird, media_hosts=[bird.media_host]) as platform, _fetcher(bird) as fetcher:
        (found,) = _parsed(bird, messageid, platform).files
        credential = platform.media_credential()
        assert found.url is not None

        async def fetched(**options: Any) -> int:
            async with fetcher.download(str(found.url), **{"credential": credential} | options) as download:
                return sum([len(chunk) async for chunk in download])

        with pytest.raises(NotThere, match="401"):
            await fetched(credential=None)
        bird.media_length = "hidden"
        assert await fetched() == len(DATA)
        with pytest.raises(TooLarge):
            await fetched(max_bytes=len(DATA) - 1)
        bird.media_length = "more"
        with pytest.raises(NotNow):
            await fetched()
        bird.media_length = "less"
        with pytest.raises(NotNow):
            await fetched()
        bird.media_length, bird.media_pause = "right", 5.0
        with pytest.raises(NotNow, match="longer than"):
            await fetched(seconds=0.2)
        bird.media_pause, bird.media_gone = 0.0, True
        with pytest.raises(NotThere, match="404"):
            await fetched()


async def test_an_answer_of_a_contact_names_what_it_answers_to(bird: BirdSimulator) -> None:
    async with connected(bird) as platform:
        sent = await platform.send(outgoing())
        messageid = bird.contact_says(CHANNEL, CONTACT, "that one", reply_to=sent.messageid)
        assert _parsed(bird, messageid, platform).quotes == sent.messageid
        assert _parsed(bird, bird.contact_says(CHANNEL, CONTACT, "no"), platform).quotes is None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("clicked", "clicked"), ("reaction", "reaction"), ("conversion", "conversion"),
        ("invalid", "invalid interaction"), ("delete-request", "delete request"),
        ("unsubscribe-request", "unsubscribe request"), ("subscribe-request", "subscribe request"),
        ("subscribe-consent", "subscribe consent"), ("reported-as-spam", "reported as spam"),
        ("kind of a stranger", "unknown interaction"),
    ],
)  # fmt: skip
async def test_interactions_have_a_phrase_each(bird: BirdSimulator, kind: str, reason: str) -> None:
    messageid = bird.agent_says(CHANNEL, CONTACT, "x")
    bird.interact(messageid, kind)
    record = bird._record(messageid)[1]
    event = {"service": "channels", "event": "whatsapp.interaction", "payload": record.interactions[0]}
    assert offline().parse(RawEvent("k", json.dumps(event).encode())) == (Uninteresting(reason),)


@pytest.mark.parametrize("kind", ["read", "opened"])
async def test_what_was_seen(bird: BirdSimulator, kind: str) -> None:
    messageid = bird.agent_says(CHANNEL, CONTACT, "x")
    bird.interact(messageid, kind)
    event = {"service": "channels", "event": "x.interaction", "payload": bird._record(messageid)[1].interactions[0]}
    (fact,) = offline().parse(RawEvent("k", json.dumps(event).encode()))
    assert isinstance(fact, StatusSeen) and (fact.status, fact.messageid) == (CopyStatus.READ, messageid)
