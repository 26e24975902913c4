"""Whoever is not the platform, and whoever is and lies: nothing of it is stored, nothing of it writes into the log."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from yarl import URL

from syncd.simulators.base import Hook
from syncd.simulators.bird import signature
from tests.support.figures import Note
from tests.support.history import Lane, Said
from tests.support.settings import (
    API_KEY,
    BIRD_CHANNEL,
    DESK_HOOK_SECRET,
    ISLASH_HOOK_SECRET,
    ISLASH_SESSION,
    ORGANIZATION,
    PUBLIC_URL,
    SIGNING_KEY,
    WHATSAPP,
)
from tests.support.world import ALICE, World
from tests.web.calling import calling, request
from tests.web.outcome import every_count, note

OFFICE = f"/hooks/office/{DESK_HOOK_SECRET}"
ISLASH = f"/hooks/islash/{ISLASH_HOOK_SECRET}"
BIRD = "/hooks/bird"
HOUR = 3600


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request, and the answer that it must get."""

    name: str
    status: int
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


async def posted(world: World, path: str, body: bytes, headers: dict[str, str] | None = None) -> int:
    """Post exactly that; the status of the answer."""
    url = URL(world.bridge.url + path, encoded=True)
    async with world.client.post(url, data=io.BytesIO(body), headers=headers) as response:
        await response.read()
        return response.status


async def refused(world: World, attempts: Iterable[Attempt]) -> int:
    """Make the attempts: each gets its answer, and no table gets a row. How many they were."""
    before = await every_count(world)
    count = 0
    for count, attempt in enumerate(attempts, start=1):  # noqa: B007 - the number of the last one
        status = await posted(world, attempt.path, attempt.body, attempt.headers)
        assert status == attempt.status, f"{attempt.name}: {status}"
        assert status >= 400, attempt.name
    await world.quiet()
    assert await every_count(world) == before
    return count


def reconfigured(world: World, old: str, new: str) -> None:
    """Change the daemon's config, for its next start."""
    text = world.bridge.config.read_text()
    assert old in text
    world.bridge.config.write_text(text.replace(old, new))


# --- Bird ---


def said_on_bird(world: World, text: str, contact: str = ALICE) -> dict[str, Any]:
    """What a contact really wrote, and no webhook has told yet."""
    messageid = world.bird.contact_says(BIRD_CHANNEL, contact, text, webhook=False)
    return dict(world.bird.messages[messageid])


def flipped(body: bytes, place: int) -> bytes:
    """The body with one bit changed."""
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def bird_attempts(world: World, hook: Hook) -> Iterator[Attempt]:
    """A genuine webhook, tampered with in every way."""
    given = hook.headers["messagebird-signature"]
    raw = base64.b64decode(given)
    stamp = hook.headers["messagebird-request-timestamp"]
    payload = json.loads(hook.body)["payload"]
    signatures = {
        "no bytes": "",
        "cut off": given[:20],
        "one byte less": base64.b64encode(raw[:-1]).decode(),
        "one byte more": base64.b64encode(raw + b"\0").decode(),
        "first byte only": base64.b64encode(raw[:1]).decode(),
        "one bit": base64.b64encode(flipped(raw, 0)).decode(),
        "hex": raw.hex(),
        "no padding": given.rstrip("="),
        "no base64": "%%%",
        "bytes that are no text": "ÿþ" + given,
        "in quotes": f'"{given}"',
        "with its scheme": f"sha256={given}",
        "twice in one": f"{given},{given}",
        "the empty body's": signature(SIGNING_KEY, stamp, f"{PUBLIC_URL}{BIRD}", b""),
        "another key's": signature(SIGNING_KEY + "x", stamp, f"{PUBLIC_URL}{BIRD}", hook.body),
        "the empty key's": signature("", stamp, f"{PUBLIC_URL}{BIRD}", hook.body),
        "over the path": signature(SIGNING_KEY, stamp, BIRD, hook.body),
        "over another host": signature(SIGNING_KEY, stamp, f"https://elsewhere.example.com{BIRD}", hook.body),
        "over http": signature(SIGNING_KEY, stamp, f"{PUBLIC_URL}{BIRD}".replace("https", "http"), hook.body),
        "over where it arrives": signature(SIGNING_KEY, stamp, world.bridge.url + BIRD, hook.body),
        "over a trailing slash": signature(SIGNING_KEY, stamp, f"{PUBLIC_URL}{BIRD}/", hook.body),
        "over a query": signature(SIGNING_KEY, stamp, f"{PUBLIC_URL}{BIRD}?a=b", hook.body),
        "over another account": signature(SIGNING_KEY, stamp, f"{PUBLIC_URL}/hooks/birdpoll", hook.body),
    }
    for name, value in signatures.items():
        yield Attempt(f"signature: {name}", 401, BIRD, hook.body, hook.headers | {"messagebird-signature": value})
    for name in ("messagebird-signature", "messagebird-request-timestamp"):
        without = {key: value for key, value in hook.headers.items() if key != name}
        yield Attempt(f"without {name}", 401, BIRD, hook.body, without)
    for place in (0, 1, len(hook.body) // 2, len(hook.body) - 1):
        yield Attempt(f"byte {place} of the body", 401, BIRD, flipped(hook.body, place), hook.headers)
    for name, body in {"more": hook.body + b" ", "less": hook.body[:-1], "none": b"", "twice": hook.body * 2}.items():
        yield Attempt(f"body: {name}", 401, BIRD, body, hook.headers)
    for name, value in {"later": str(int(stamp) + 1), "spaced": f" {stamp}0", "none": "", "word": "now"}.items():
        changed = hook.headers | {"messagebird-request-timestamp": value}
        yield Attempt(f"timestamp: {name}", 401, BIRD, hook.body, changed)
    now = time.time()
    for name, at in {"old": now - 27 * HOUR, "very old": 1.0, "future": now + HOUR, "year 5138": 1e11}.items():
        dated = world.bird.hook("sms.inbound", payload, at=at)
        yield Attempt(f"signed when: {name}", 401, BIRD, dated.body, dated.headers)
    for value in ("-5", "1e9", "٣", "9" * 400):
        signed = signature(SIGNING_KEY, value, f"{PUBLIC_URL}{BIRD}", hook.body)
        stamped = {"messagebird-signature": signed, "messagebird-request-timestamp": value}
        yield Attempt(f"signed time: {value[:9]}", 401, BIRD, hook.body, stamped)
    for path in (BIRD + "?a=b", "/hooks/birdpoll"):
        yield Attempt(f"at {path}", 401, path, hook.body, hook.headers)
    newer = {"webhook-id": "1", "webhook-timestamp": stamp, "webhook-signature": "v1," + given}
    yield Attempt("of the newer platform", 400, BIRD, hook.body, newer)
    large = b'{"service":"channels","event":"sms.inbound","payload":{"id":"1","x":"' + b"x" * 1024 * 1024 + b'"}}'
    headers = hook.headers | {"messagebird-signature": signature(SIGNING_KEY, stamp, f"{PUBLIC_URL}{BIRD}", large)}
    yield Attempt("oversized", 413, BIRD, large, headers)
    for body in (b"not JSON", b"\xff", b'{"payload":', b"", b"[" * 100_000):
        signed = signature(SIGNING_KEY, stamp, f"{PUBLIC_URL}{BIRD}", body)
        yield Attempt(f"genuine, but {body[:9]!r}", 400, BIRD, body, hook.headers | {"messagebird-signature": signed})


async def test_forged_bird(world: World, figures: Note) -> None:
    """G11, G2: a genuine webhook tampered with is refused; itself it is taken once, however often it is replayed."""
    await world.start()
    payload = said_on_bird(world, "hello")
    hook = world.bird.hook("sms.inbound", payload)
    offered = await refused(world, bird_attempts(world, hook))
    assert offered > 50
    assert await posted(world, BIRD, hook.body, hook.headers) == 200
    world.note_contact("hello")
    await world.check()
    before = await every_count(world)
    replays = [posted(world, BIRD, hook.body, hook.headers) for _ in range(20)]
    again = world.bird.hook("sms.inbound", payload, at=time.time() - 25 * HOUR)
    ahead = world.bird.hook("sms.inbound", payload, at=time.time() + 240)
    replays += [posted(world, BIRD, one.body, one.headers) for one in (again, ahead)]
    renamed = hook.headers | {"messagebird-request-id": "another"}
    assert set(await asyncio.gather(*replays, posted(world, BIRD, hook.body, renamed))) == {200}
    await world.check()
    assert await every_count(world) == before
    await note(world, figures, "webhooks of Bird tampered with", offered=offered + 24, accepted=24)


async def test_two_signatures(world: World) -> None:
    """G11: of two headers the first counts, and what is taken is what was signed."""
    await world.start()
    hook = world.bird.hook("sms.inbound", said_on_bird(world, "hello"))
    before = await every_count(world)
    stamp = f"messagebird-request-timestamp: {hook.headers['messagebird-request-timestamp']}"
    right, wrong = f"messagebird-signature: {hook.headers['messagebird-signature']}", "messagebird-signature: AAAA"
    for fields in ((wrong, right, stamp), (right, "messagebird-request-timestamp: 1", stamp)):
        async with calling(world.bridge.port) as caller:
            await caller.says(request(BIRD, hook.body, fields=fields))
            assert await caller.status() == 401
    assert await every_count(world) == before
    async with calling(world.bridge.port) as caller:
        await caller.says(request(BIRD, hook.body, fields=(right, wrong, stamp)))
        assert await caller.status() == 200
    world.note_contact("hello")
    await world.check()


DEMO_KEY = "demo-signing-key-please-change"
BODY_1 = b'{"service":"channels","event":"sms.inbound","payload":{"id":"96a0b5fa-a986-453d-be5c-3117f989f025"}}'
BODY_2 = (
    '{"service":"channels","event":"whatsapp.inbound","payload":{"body":{"type":"text","text":{"text":"héllo ✓"}}}}'
).encode()
VECTORS = (
    ("1718017200", BIRD, BODY_1, "NVZeMJLsa/jQmYJYub65oEB+1+rOz/goaASgfBuftQ0=", True),
    ("1718017260", f"{BIRD}?t=abc%20d", BODY_2, "84PGATqre/mY/9R+RPMp017mZpemzNLY7S2LMQj7KWo=", True),
    ("1718017320", BIRD, b"", "Dc3r90SdRNxbQ/9LVwbOZuu6OmMvZ6Z+oBNtNoNyFYA=", True),
    ("1718017200", BIRD, BODY_1, "L+xV5hqsLNrdqZjlpjQ12UJKPBm4FfRN4FHaDrbP1RQ=", False),
    ("1718017200", BIRD, BODY_1, "etjwvBaUNc1XFOtFTDVXonqKvLdmKQQgQ3wzHQXhK+8=", False),
    ("1718017260", BIRD, BODY_2, "84PGATqre/mY/9R+RPMp017mZpemzNLY7S2LMQj7KWo=", False),
)
"""Timestamp, path, body, signature by `DEMO_KEY`, and whether it is right: all of them are years old."""


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_the_vectors_of_the_platforms_page(world: World) -> None:
    """G11: a right signature that is years old is refused for its age, a wrong one for being wrong."""
    await world.start()
    await world.bridge.stop()
    reconfigured(world, json.dumps(SIGNING_KEY), json.dumps(DEMO_KEY))
    await world.bridge.start()
    for stamp, path, body, signed, right in VECTORS:
        headers = {"messagebird-signature": signed, "messagebird-request-timestamp": stamp}
        assert await posted(world, path, body, headers) == 401
        told = world.bridge.events("webhook.refused")[-1]["reason"]
        assert ("seconds ago" in told) == right, (path, told)
        assert ("wrong signature" in told) != right, (path, told)
    assert (await world.counts())["event"] == 0


async def test_a_signing_key_that_was_changed(world: World) -> None:
    """G11: after a rotation only the new key counts; the same message signed anew is taken, once."""
    await world.start()
    old = world.bird.hook("sms.inbound", said_on_bird(world, "before"))
    assert await posted(world, BIRD, old.body, old.headers) == 200
    world.note_contact("before")
    await world.check()
    await world.bridge.stop()
    reconfigured(world, json.dumps(SIGNING_KEY), json.dumps("the next signing key"))
    await world.bridge.start()
    payload = said_on_bird(world, "between")
    late = world.bird.hook("sms.inbound", payload)
    attempts = (Attempt("old key", 401, BIRD, hook.body, hook.headers) for hook in (old, late))
    assert await refused(world, attempts) == 2
    world.bird.signing_key = "the next signing key"
    anew = world.bird.hook("sms.inbound", payload)
    for _ in range(3):
        assert await posted(world, BIRD, anew.body, anew.headers) == 200
    world.note_contact("between")
    await world.check()


async def test_both_signing_keys_count_during_a_rotation(world: World) -> None:
    """G11, G1: with the next key before the old one in a list, webhooks signed with either are taken."""
    await world.start()
    await world.bridge.stop()
    reconfigured(world, json.dumps(SIGNING_KEY), json.dumps(["the next signing key", SIGNING_KEY]))
    await world.bridge.start()
    await world.contact_says("signed with the old key")
    world.bird.signing_key = "the next signing key"
    await world.contact_says("signed with the next key")
    world.bird.signing_key = "some other key"
    hook = world.bird.hook("sms.inbound", said_on_bird(world, "signed with another"))
    assert await posted(world, BIRD, hook.body, hook.headers) == 401
    await world.check()


# --- Ringotel ---


def desk_message(key: Any, *, text: str = "hello", messageid: str = "70001", **more: Any) -> dict[str, Any]:
    """A user's message as Ringotel posts it."""
    params = {"orgid": ORGANIZATION, "from": "9003", "to": ALICE, "content": text, "type": 1, "messageid": messageid}
    return {"method": "message", "params": params, "api_key": key} | more


def ringotel_attempts() -> Iterator[Attempt]:
    """Keys that are none of the account's, wherever they stand."""
    wrong: list[Any] = [
        *(API_KEY[:-1], API_KEY + "x", API_KEY.swapcase(), API_KEY[::-1], f" {API_KEY}", f"{API_KEY}\n"),
        *("", API_KEY + "\0", API_KEY + "\ud800", "ｒk/7Q", SIGNING_KEY, DESK_HOOK_SECRET),
        *(None, 0, 1, -1.5, True, False, [], {}, [API_KEY], {"api_key": API_KEY}, [None], 10**40),
    ]
    for key in wrong:
        body = json.dumps(desk_message(key)).encode()
        yield Attempt(f"api_key {str(key)[:9]}", 401, OFFICE, body)
    without = {name: value for name, value in desk_message("").items() if name != "api_key"}
    yield Attempt("no api_key", 401, OFFICE, json.dumps(without).encode())
    inside = without | {"params": without["params"] | {"api_key": API_KEY}}
    yield Attempt("api_key in params", 401, OFFICE, json.dumps(inside).encode())
    for name in ("API_KEY", "apiKey", "api_key ", "api_token", "key"):
        yield Attempt(f"as {name}", 401, OFFICE, json.dumps(without | {name: API_KEY}).encode())
    query = f"{OFFICE}?api_key={URL.build(query={'k': API_KEY}).raw_query_string[2:]}"
    yield Attempt("in the query only", 401, query, json.dumps(without).encode())
    bearer = {"Authorization": f"Bearer {API_KEY}", "X-Api-Key": API_KEY, "Cookie": f"api_key={API_KEY}"}
    yield Attempt("in headers only", 401, OFFICE, json.dumps(without).encode(), bearer)
    right = json.dumps(API_KEY)
    yield Attempt("the last of two is wrong", 401, OFFICE, f'{{"api_key":{right},"api_key":"x"}}'.encode())
    yield Attempt("the last of two is null", 401, OFFICE, f'{{"api_key":{right},"api_key":null}}'.encode())
    yield Attempt("in a form", 400, OFFICE, b"method=message&api_key=" + API_KEY.encode())
    yield Attempt("in a list", 400, OFFICE, json.dumps([desk_message(API_KEY)]).encode())
    yield Attempt("in UTF-16", 400, OFFICE, json.dumps(desk_message(API_KEY)).encode("utf-16"))
    genuine = json.dumps(desk_message(API_KEY)).encode()
    yield Attempt("cut off", 400, OFFICE, genuine[:-1])
    yield Attempt("oversized", 413, OFFICE, genuine + b" " * 1024 * 1024)
    for path in ("/hooks/office", "/hooks/office/wrong", "/hooks/islash/" + DESK_HOOK_SECRET, OFFICE + "/x"):
        yield Attempt(f"at {path[:16]}", 404, path, genuine)
    yield Attempt("at Bird's", 401, BIRD, genuine)


async def test_forged_ringotel(world: World, figures: Note) -> None:
    """G11, G2: only the account's key counts, and only where it belongs; replays change nothing."""
    await world.start()
    await world.contact_says("a first word")
    await world.check()
    offered = await refused(world, ringotel_attempts())
    assert offered > 40
    genuine = json.dumps(desk_message(API_KEY)).encode()
    assert await posted(world, OFFICE, genuine) == 200
    world.note_user("9003", "hello")
    await world.check()
    before = await every_count(world)
    assert [await posted(world, OFFICE, genuine) for _ in range(10)] == [200] * 10
    await world.check()
    assert await every_count(world) == before
    await note(world, figures, "webhooks of Ringotel tampered with", offered=offered + 12, accepted=12)


async def test_a_rotation_at_ringotel(world: World) -> None:
    """G11: during a rotation both keys count, for calls the first; afterwards the new one alone."""
    await world.start()
    await world.bridge.stop()
    new = "rk/the-next-one"
    reconfigured(world, f"api_key = {json.dumps(API_KEY)}", f"api_key = [{json.dumps(new)}, {json.dumps(API_KEY)}]")
    world.ring.api_key = new
    await world.bridge.start()
    for number, key in enumerate((API_KEY, new, API_KEY)):
        message = desk_message(key, text=f"number {number}", messageid=f"7000{number}")
        assert await posted(world, OFFICE, json.dumps(message).encode()) == 200
        world.note_user("9003", f"number {number}")
    await world.check()
    both = json.dumps(desk_message([new, API_KEY], messageid="70009")).encode()
    third = json.dumps(desk_message("rk/a-third", messageid="70009")).encode()
    await refused(world, [Attempt("both at once", 401, OFFICE, both), Attempt("a third", 401, OFFICE, third)])
    await world.bridge.stop()
    reconfigured(world, f"[{json.dumps(new)}, {json.dumps(API_KEY)}]", f"[{json.dumps(new)}]")
    await world.bridge.start()
    late = json.dumps(desk_message(API_KEY, messageid="70009")).encode()
    await refused(world, [Attempt("the old one", 401, OFFICE, late)])
    assert world.bridge.leaks([new]) == []


# --- iSlash ---

SECOND_SECRET = "islash-hook-of-the-second"
SECOND_SESSION = "is/Second9+Session3"
SECOND = "whatsapp-2"


async def with_two_sessions(world: World) -> None:
    """Start the daemon with a second link on the same iSlash account, of user 9005."""
    await world.start()
    await world.bridge.stop()
    desk = f'{{ account = "office", organization = "{ORGANIZATION}", users = ["9005"] }}'
    channel = f'{{ account = "islash", session = "{SECOND_SESSION}", webhook_secret = "{SECOND_SECRET}" }}'
    with world.bridge.config.open("a") as config:
        config.write(f'[[links]]\nname = "{SECOND}"\nregion = "GB"\ndesk = {desk}\nchannel = {channel}\n')
    world.islash.sessions[SECOND_SESSION] = "whatsapp"
    await world.bridge.start()


def on_whatsapp(text: str, *, messageid: str = "wamid.1", **more: Any) -> bytes:
    """A contact's message as iSlash posts it."""
    message = {"id": messageid, "from": ALICE[1:], "timestamp": str(int(time.time())), "type": "text"}
    return json.dumps({"messages": [message | {"text": {"body": text}} | more]} | more).encode()


async def test_forged_islash(world: World, figures: Note) -> None:
    """G11: the address alone says who it is: without its secret, 404, whatever the body says."""
    await with_two_sessions(world)
    body = on_whatsapp("hello", session=ISLASH_SESSION, webhook_secret=ISLASH_HOOK_SECRET)
    paths = [
        *("/hooks/islash", "/hooks/islash/", "/hooks/islash/wrong", f"/hooks/islash/{ISLASH_HOOK_SECRET[:-1]}"),
        *(f"{ISLASH}x", f"{ISLASH}/", f"{ISLASH}/{SECOND_SECRET}", f"/hooks/islash/{DESK_HOOK_SECRET}"),
        *(f"/hooks/office/{ISLASH_HOOK_SECRET}", f"/hooks/bird/{ISLASH_HOOK_SECRET}", f"/hooks/{ISLASH_HOOK_SECRET}"),
        *(f"/hooks/islash?secret={ISLASH_HOOK_SECRET}", f"/hooks/islash/%00{ISLASH_HOOK_SECRET}", "/hooks//islash"),
        f"/hooks/islash/{ISLASH_HOOK_SECRET.upper()}",
    ]
    attempts = [Attempt(path, 404, path, body, {"Authorization": f"Bearer {ISLASH_HOOK_SECRET}"}) for path in paths]
    attempts += [
        Attempt("no JSON", 400, ISLASH, b"hello"),
        Attempt("cut off", 400, ISLASH, body[:-1]),
        Attempt("oversized", 413, ISLASH, body + b" " * 1024 * 1024),
    ]
    offered = await refused(world, attempts)
    assert [await posted(world, ISLASH, on_whatsapp("hello")) for _ in range(5)] == [200] * 5
    world.note_contact("hello", link=WHATSAPP)
    await world.check()
    await note(world, figures, "webhooks of iSlash tampered with", offered=offered + 5, accepted=5)


async def test_one_session_does_not_speak_for_another(world: World) -> None:
    """G11, G10: a secret names its own session; what the body says of another one counts for nothing."""
    await with_two_sessions(world)
    body = on_whatsapp("mine", session=ISLASH_SESSION, channel=WHATSAPP, link=WHATSAPP)
    assert await posted(world, f"/hooks/islash/{SECOND_SECRET}", body) == 200
    world.said.append(Said("mine", Lane(SECOND, ALICE), (Lane("desk:9005", ALICE),)))
    await world.check()
    assert {row["link"] for row in await world.mapping()} == {SECOND}
    assert await posted(world, ISLASH, on_whatsapp("yours", messageid="wamid.2")) == 200
    world.note_contact("yours", link=WHATSAPP)
    await world.check()
    assert world.bridge.leaks([SECOND_SECRET, SECOND_SESSION]) == []


async def test_one_session_does_not_tell_what_became_of_anothers(world: World) -> None:
    """G11, G10: a status that came through one session's address changes nothing that another session sent."""
    await with_two_sessions(world)
    await world.contact_says("hello", link=WHATSAPP)
    await world.user_says("9003", "an answer", link=WHATSAPP)
    await world.check()
    (sent,) = world.islash.sent(ISLASH_SESSION, ALICE[1:])
    status = {"id": sent.sid, "recipient_id": ALICE[1:], "status": "failed", "timestamp": str(int(time.time()))}
    body = json.dumps({"statuses": [status]}).encode()
    assert await posted(world, f"/hooks/islash/{SECOND_SECRET}", body) == 200
    await world.check()
    (copy,) = [row for row in await world.mapping() if row["messageid"] == sent.sid]
    assert (copy["link"], copy["status"]) == (WHATSAPP, "sent")
