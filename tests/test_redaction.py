"""No secret in any log, error, metric, table, answer or command output.

Every scenario ends with a search for the secrets of its config in the daemon's logs, in all tables, and in what its
admin listener shows (`World.leaks`). Here are the search itself, what the redactor hides, and the other ways out.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from syncd.config import ConfigError, load
from syncd.redaction import MASK, Redactor
from syncd.simulators.base import Fault
from tests.cli.conftest import Bridge, bridge, warm
from tests.support.canaries import leaks, leaks_in_tables, spellings
from tests.support.settings import (
    ACCESS_KEY,
    API_KEY,
    DESK_HOOK_SECRET,
    ISLASH_HOOK_SECRET,
    ISLASH_SESSION,
    SECRETS,
    SMS,
    USER_TOKEN,
    WHATSAPP,
    Settings,
    toml,
)
from tests.support.waiting import until
from tests.support.world import World

__all__ = ["bridge", "warm"]  # fixtures

SPELLINGS = ("as it is", "escaped for JSON, slashes too", "URL-quoted whole", "escaped for HTML")
PASSWORD = "db/Pw3+Qs8=Lk2&Vn6"
SECRET_TEXT = st.text(min_size=8, max_size=40).filter(lambda text: len(text.encode("utf-8", "replace")) >= 8)

# --- the search, and the redactor ---


@given(SECRET_TEXT, st.binary(max_size=20), st.binary(max_size=20))
@example(API_KEY, b"", b"")
def test_a_secret_is_found_in_every_spelling(secret: str, before: bytes, after: bytes) -> None:
    """G12: what the other tests rely on."""
    for name, form in spellings(secret):
        assert leaks(before + form + after, [secret]), name
    assert leaks("nothing here", [secret]) == []


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_found_in_what_programs_write(secret: str) -> None:
    """G12: made by other means than the search."""
    import base64
    import urllib.parse

    for text in (
        f"x{secret}y",
        urllib.parse.urlencode({"key": secret}),
        json.dumps({"key": secret}),
        json.dumps(json.dumps({"key": secret})),
        base64.b64encode(f"user:{secret}".encode()).decode(),
        base64.urlsafe_b64encode(f'{{"k":"{secret}"}}'.encode()).decode(),
        repr({"key": secret}),
        repr(f"\\x{secret.encode().hex()}"),
    ):
        assert leaks(text, SECRETS), text
        assert not leaks(text.replace(secret, ""), [secret]) or secret not in text


@given(SECRET_TEXT, st.text(max_size=20), st.text(max_size=20))
@example(API_KEY, "", "")
@example("s3cret/key+with=signs & ümlaut <b>'\"\\", "", "")
@example("12345678", "", "")
def test_what_is_found_is_hidden(secret: str, before: str, after: str) -> None:
    """G12: the redactor knows every spelling that the search knows."""
    assume(not leaks(MASK + before + after, [secret]))
    redactor = Redactor([secret])
    for name, form in spellings(secret):
        text = before + form.decode() + after
        assert redactor.stands_in(text), name
        assert not leaks(redactor.redact(text), [secret]), name


@given(st.lists(SECRET_TEXT, min_size=1, max_size=4), st.text(max_size=60))
def test_the_quick_look_misses_nothing(secrets: list[str], text: str) -> None:
    """G12: where it says that there is no secret, there is none to take out."""
    redactor = Redactor(secrets)
    for candidate in (text, *(form.decode() for secret in secrets for _, form in spellings(secret))):
        if redactor.redact(candidate) != candidate:
            assert redactor.stands_in(candidate)


async def test_tables_are_searched(world: World) -> None:
    """G12: texts and bytes, in whatever table; that nothing is found in a scenario says something."""
    await world.start()
    await world.contact_says("hello")
    await world.quiet()
    await world.bridge.stop()
    assert await leaks_in_tables(world.database, SECRETS) == []
    tables = ("event", "message", "mapping", "lane", "delivery", "session", "attempt", "conversation")
    for table in tables:
        column = {"event": "key", "message": "author", "session": "spelling", "conversation": "name"}.get(table)
        column = column or {"mapping": "status", "lane": "why", "delivery": "reason", "attempt": "answer"}[table]
        await world.database.change(f"UPDATE \"{table}\" SET {column} = '{API_KEY}'")
        assert f"table {table}: {API_KEY}, as it is" in await leaks_in_tables(world.database, SECRETS)
        await world.database.change(f"UPDATE \"{table}\" SET {column} = 'x'")
    hexed = json.dumps({"api_key": API_KEY}).encode().hex()
    value = f"X'{hexed}'" if world.database.kind == "sqlite" else f"'\\x{hexed}'"
    await world.database.change(f"UPDATE event SET body = {value}")
    assert f"table event: {API_KEY}, as it is" in await world.leaks()
    await world.database.change("UPDATE event SET body = NULL")


# --- what others see of a daemon ---


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_platforms_that_repeat_our_keys(world: World, spelling: str) -> None:
    """G12: whatever an answer quotes of our request, nothing of it is kept; nor is a message's text logged."""
    await world.start()
    text = "a text that stays among those who talk"
    for status in (200, 400, 404, 422, 500, 401):
        faults = repeating(world, spelling, status)
        for link, contact in ((SMS, f"+447700901{status}"), (WHATSAPP, f"+447700902{status}")):
            await world.contact_says(text, contact=contact, link=link)
            await world.user_says("9003", text, contact=contact, link=link)
        await until(partial(all_hit, faults), world.bridge.tail)
    await world.bridge.stop()
    assert await world.leaks() == []
    assert text not in world.bridge.log.read_text()


def all_hit(faults: list[Fault]) -> bool:
    """Whether each has been met with."""
    return all(fault.hits for fault in faults)


def repeating(world: World, spelling: str, status: int) -> list[Fault]:
    """From now on every platform refuses every call with all our secrets."""
    faults = []
    for platform in (world.ring, world.bird, world.islash):
        words = b" ".join(dict(spellings(secret)).get(spelling, secret.encode()) for secret in SECRETS)
        body = b'{"error":"@","code":"@","message":"@","meta":{"code":"@","message":"@"}}'.replace(b"@", words)
        faults.append(Fault("status", times=-1, status=status, body=body, headers={"Content-Type": "application/json"}))
        platform.faults[:] = [faults[-1]]
    return faults


async def test_answers_of_the_daemon(world: World) -> None:
    """G12: to right requests and wrong ones, on both listeners; not even what the caller sent is sent back."""
    await world.start()
    office, islash = f"/hooks/office/{DESK_HOOK_SECRET}", f"/hooks/islash/{ISLASH_HOOK_SECRET}"
    event = json.dumps({"method": "message", "params": {"messageid": "1"}, "api_key": API_KEY}).encode()
    headers = {"X-Echo": API_KEY, "Referer": f"https://x/{USER_TOKEN}", "Cookie": f"a={ACCESS_KEY}"}
    asked = [
        *((path, event) for path in (office, f"{office}/", f"/{API_KEY}", "/hooks/bird")),
        *((path, event[:-3]) for path in (office, islash, "/hooks/bird", "/metrics", "/readyz", "/livez")),
        (islash, b"{}"),
    ]
    for base in (world.bridge.url, world.bridge.admin_url):
        for path, body in asked:
            for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE"):
                async with world.client.request(
                    method, base + path, data=body, headers=headers, params={"q": ISLASH_SESSION}
                ) as answer:
                    told = await answer.read() + repr((dict(answer.headers), answer.reason)).encode()
                    assert leaks(told, SECRETS) == [], (method, path)


async def test_commands_show_no_secret(bridge: Bridge) -> None:
    """G12: beside a daemon and without one; `hooks` shows the secret steps of addresses, and nothing else."""
    url = bridge.world.database.url
    named = re.sub("postgres@", f"postgres:{PASSWORD.replace('/', '%2F').replace('&', '%26')}@", url)
    bridge.configure(database=named)

    async def look() -> None:
        for arguments in (
            ("check",),
            ("check", "--live"),
            ("status",),
            ("migrate", "--show"),
            ("hooks", "register", "--dry-run"),
        ):
            for form in ((), ("--json",)):
                ran = await bridge(*arguments, *form)
                assert ran.code in (0, 1, 69), (arguments, ran)
                assert leaks(ran.out + ran.err, CONFIGURED) == [], arguments
        for form in ((), ("--json",)):
            ran = await bridge("hooks", *form, shows_secrets=True)
            assert DESK_HOOK_SECRET in ran.out and ISLASH_HOOK_SECRET in ran.out
            assert leaks(ran.err, CONFIGURED) == []
            rest = [secret for secret in CONFIGURED if secret not in (DESK_HOOK_SECRET, ISLASH_HOOK_SECRET)]
            assert leaks(ran.out, rest) == []

    await look()
    await bridge.run()
    await bridge.world.contact_says("hello")
    repeating(bridge.world, SPELLINGS[-1], 400)
    await bridge.world.contact_says("hello again")
    await look()
    for platform in (bridge.world.ring, bridge.world.bird, bridge.world.islash):
        platform.faults.clear()
    await bridge.end()
    assert leaks(bridge.log.read_text(), CONFIGURED) == []


async def test_commands_pass_over_secrets_that_are_stored(bridge: Bridge) -> None:
    """G12: what an older version or a hand has written into a table is not shown either, and steers no terminal."""
    await bridge("migrate")
    words = " ".join(form.decode() for secret in SECRETS for _, form in spellings(secret))
    words += " \x1b[2J\r\n\u2028\u202e\x9b\x07"
    columns = "(account, state, reason, since) VALUES ('office', 'failing'"
    await bridge.world.database.change(
        f"INSERT INTO account_state {columns}, 'was {words} here', '2026-01-01T00:00:00.000000Z')"
    )
    for form in ((), ("--json",)):
        ran = await bridge("status", *form)
        assert "was" in ran.out and "here" in ran.out
        assert ran.out.replace("\n", "").isprintable()
        # For people, lines are broken.
        assert leaks(re.sub(r"\s", "", ran.out) + ran.out + ran.err, SECRETS) == []
    await bridge.world.database.change("DELETE FROM account_state")


# --- mistakes in the config ---

CONFIG = toml(
    Settings(),
    database=f"postgresql://syncd:{PASSWORD.replace('/', '%2F')}@127.0.0.1/syncd",
    listen="127.0.0.1:8080",
    admin="127.0.0.1:8081",
    urls={"ringotel": "https://r.example/api", "bird": "https://b.example", "islash": "https://i.example/api/public"},
)


def places(table: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every key of a document, and every item of a list in it."""
    items = table.items() if isinstance(table, dict) else enumerate(table)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


CONFIGURED = (*SECRETS, PASSWORD)
PLACES = [".".join(map(str, place)) for place in places(tomllib.loads(CONFIG))]


@pytest.mark.parametrize("wrong", ["{}", "x {}\n", "https://u:{}@h/", "{} {}", "bk_{}", "ws_{}"], ids=ascii)
def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path: Path, wrong: str) -> None:
    """G12: pasted in place of any other value, as text, in a list or a table."""
    refused = 0
    for place in PLACES:
        for value in (wrong.replace("{}", USER_TOKEN), [wrong.replace("{}", USER_TOKEN)], {"a": USER_TOKEN}):
            refused += told(tmp_path, written(place.split("."), value))
    assert refused > len(PLACES)


def test_a_config_that_is_cut_off_is_not_repeated(tmp_path: Path) -> None:
    """G12: what the parser says of it."""
    for cut in range(0, len(CONFIG), 7):
        told(tmp_path, CONFIG[:cut])
        told(tmp_path, CONFIG[:cut] + CONFIG[cut + 1 :])


def test_a_secret_in_an_override_is_not_repeated(tmp_path: Path) -> None:
    """G12: the environment's mistakes."""
    for place in PLACES:
        name = "SYNCD_" + place.upper().replace(".", "__")
        for value in (USER_TOKEN, f"[{USER_TOKEN!r}", f'{{a="{USER_TOKEN}"', f'"{USER_TOKEN}'):
            told(tmp_path, CONFIG, {name: value})


def written(place: list[str], value: Any) -> str:
    """The config with another value at a place."""
    document = tomllib.loads(CONFIG)
    node: Any = document
    for step in place[:-1]:
        node = node[int(step) if isinstance(node, list) else step]
    node[int(place[-1]) if isinstance(node, list) else place[-1]] = value
    return _toml(document)


def _toml(document: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in document.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)


def told(folder: Path, text: str, environ: dict[str, str] | None = None) -> int:
    """1 where the config is refused. What is said of it has no secret; a good one shows none of its own."""
    file = folder / "config.toml"
    file.write_text(text)
    try:
        config = load(file, environ or {})
    except ConfigError as error:
        said = f"{error}\n{error!r}"
        assert leaks(said, CONFIGURED) == [], said
        return 1
    assert leaks(str(config.warnings), CONFIGURED) == []
    # What stands where no secret belongs is none.
    assert leaks(repr(config), [secret for secret in CONFIGURED if secret != USER_TOKEN]) == []
    return 0
