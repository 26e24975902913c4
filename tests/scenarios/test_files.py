"""Files, every way; and what stands in the place of those that do not get through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import pytest

from syncd.simulators.bird_records import SimFile
from tests.support.files import JPEG, PDF, PNG, STICKER, VIDEO, VOICE, Sample
from tests.support.settings import BIRD_CHANNEL, ISLASH_SESSION, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, World

Files = list[tuple[str, str, str]]
"""Text, or a file's name and the hash of its bytes."""


def settings(world: World, **keys: str) -> Settings:
    """Media may come from the simulators, and links lead to the daemon itself."""
    world.bird.public_hook_url = f"{world.bridge.url}/hooks/bird"
    hosts = [world.bird.media_host, world.bird.bucket_host, *(_host(s.url) for s in (world.ring, world.islash))]
    bird = {"media_hosts": [world.bird.media_host]}
    return Settings(
        server={"public_url": world.bridge.url},
        media={"private_hosts": hosts},
        keys_of_account={"bird": bird, "birdpoll": bird, "office": keys} if keys else {"bird": bird, "birdpoll": bird},
    )


def _host(url: str) -> str:
    return url.removeprefix("http://").partition("/")[0]


def chat(world: World, extension: str) -> Files:
    """What a user's chat shows."""
    return [
        (one.text, "", "") if one.file is None else ("", one.file.name or "", one.file.sha256)
        for one in world.ring.shown(extension, ALICE)
    ]


def from_bird(sample: Sample) -> SimFile:
    return SimFile(sample.content, sample.content_type, sample.name)


async def contact_sends(world: World, *samples: Sample, text: str = "") -> None:
    world.bird.contact_says(BIRD_CHANNEL, ALICE, text, files=[from_bird(one) for one in samples])
    assert world.bird.posted is not None
    await world.bird.posted


@pytest.mark.parametrize("way", ["link", "upload"])
async def test_a_contact_sends_files_by_bird(world: World, way: str) -> None:
    """Bird's key is shown to its own hosts, files come through redirects, and reach every user's chat in order."""
    await world.start(settings(world, files=way))
    await contact_sends(world, JPEG, text="look")
    await contact_sends(world, VOICE)
    await contact_sends(world, PDF, VIDEO, STICKER)
    await world.contact_says("that was all")
    wanted = [("look", "", ""), *(("", one.name, one.sha256) for one in (JPEG, VOICE, PDF, VIDEO, STICKER))]
    wanted.append(("that was all", "", ""))
    for extension in ("9003", "9004"):
        await until(lambda: len(chat(world, extension)) >= len(wanted), "shown")  # noqa: B023
        assert [one[2] or one[0] for one in chat(world, extension)] == [one[2] or one[0] for one in wanted]
    await world.quiet()
    assert await world.database.value("SELECT count(*) FROM blob") == 5
    hashes = {one.sha256 for one in (JPEG, VOICE, PDF, VIDEO, STICKER)}
    assert {row["hash"] for row in await world.database.rows("SELECT hash FROM blob")} == hashes


async def test_a_contact_sends_files_by_islash(world: World) -> None:
    """iSlash's page A8: a file where a link is given, else a line that names it; the caption in any case."""
    await world.start(settings(world))
    identity = ALICE.removeprefix("+")
    world.islash.contact_sends(ISLASH_SESSION, identity, JPEG.content, name="a.jpg", caption="first")
    await world.islash.hooks_taken()
    world.islash.contact_sends(ISLASH_SESSION, identity, JPEG.content, caption="second", linked=False)
    await world.islash.hooks_taken()
    gone = world.islash.contact_sends(ISLASH_SESSION, identity, PNG.content, caption="third", hashed="wrong")
    assert gone
    await until(lambda: len(chat(world, "9004")) >= 4, "shown")
    await world.quiet()
    assert [text or digest for text, _, digest in chat(world, "9003")] == [
        "first",
        JPEG.sha256,
        "second",
        "[image: not provided]",
        "third",
        chat(world, "9003")[-1][0],
    ]
    assert "damaged" in chat(world, "9003")[-1][0]


async def test_a_user_sends_files(world: World) -> None:
    """Design §9: to the contact as a file, to the colleague by the original's id."""
    await world.start(settings(world))
    await world.contact_says("hello")
    await world.contact_says("hello", link=WHATSAPP, contact="+447700900002")
    await world.quiet()
    world.ring.user_sends_file("9003", ALICE, PDF.content, "Vertrag für Müller.pdf")
    await world.ring.hooks_taken()
    world.ring.user_sends_file("9003", "+447700900002", JPEG.content, "photo.jpg")
    await world.ring.hooks_taken()
    await until(lambda: len(world.bird.received(BIRD_CHANNEL, ALICE)) == 1, "at Bird")
    await until(lambda: len(world.islash.sent(ISLASH_SESSION, "447700900002")) == 1, "at iSlash")
    await world.quiet()
    (received,) = world.bird.received(BIRD_CHANNEL, ALICE)
    (file,) = received.files
    assert isinstance(file, SimFile)
    assert (file.name, file.content_type, sha256(file.data).hexdigest()) == (
        "Vertrag für Müller.pdf",
        "application/pdf",
        PDF.sha256,
    )
    (sent,) = world.islash.sent(ISLASH_SESSION, "447700900002")
    assert sent.file is not None
    assert (sent.file.name, sent.file.sha256) == ("photo.jpg", JPEG.sha256)
    assert chat(world, "9004")[-1] == ("", "Vertrag für Müller.pdf", PDF.sha256)
    copied = [call for call in world.ring.calls_of("message") if call.params.get("messageid")]
    assert len(copied) == 2
    assert not any("content" in call.params for call in copied)


async def test_files_that_do_not_get_through(world: World) -> None:
    """G9, G10: too large, gone, not public, refused: a line says so, nothing waits, nothing is lost."""
    chosen = settings(world)
    chosen.media["max_bytes"] = 2_000
    await world.start(chosen)
    large = Sample(PDF.kind, "large.pdf", "application/pdf", PDF.content + b"\n" * 5_000)
    await contact_sends(world, large, text="too large")
    await until(lambda: any("large" in text for text, _, _ in chat(world, "9003")), "told")
    world.bird.media_gone = True
    await contact_sends(world, PNG)
    await until(lambda: any("gone" in text for text, _, _ in chat(world, "9003")), "told")
    world.bird.media_gone = False
    world.bird.refuses_uploads = "too large"
    world.ring.user_sends_file("9003", ALICE, PNG.content, "pixel.png")
    await until(lambda: world.bird.received(BIRD_CHANNEL, ALICE) != [], "a line")
    await world.contact_says("still here")
    await world.quiet()
    shown = [text for text, _, _ in chat(world, "9004")]
    assert shown[0] == "too large"
    assert "large.pdf" in shown[1]
    assert "larger than" in shown[1]
    assert "gone" in shown[2]
    assert shown[-1] == "still here"
    (received,) = world.bird.received(BIRD_CHANNEL, ALICE)
    assert received.text.startswith("[image pixel.png")
    assert received.files == ()


@contextmanager
def _held(world: World) -> Iterator[None]:
    world.bird.media_pause = 1.0
    yield
    world.bird.media_pause = 0.0


async def test_a_kill_while_files_come(world: World) -> None:
    """G4, G7: what is said after a file comes after it, also where the daemon dies while it fetches."""
    await world.start(settings(world))
    with _held(world):
        await contact_sends(world, JPEG, text="before")
        await world.contact_says("after")
        await until(
            lambda: world.database.value("SELECT count(*) FROM media WHERE state = 'wanted' AND attempts > 0"),
            "fetching",
        )
        await world.bridge.kill()
    await world.database.change("UPDATE media SET due_at = created_at WHERE state = 'wanted'")
    await world.bridge.start()
    await until(lambda: len(chat(world, "9003")) >= 3, "shown")
    await world.quiet()
    assert [text or digest for text, _, digest in chat(world, "9003")] == ["before", JPEG.sha256, "after"]
