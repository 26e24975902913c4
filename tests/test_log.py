from __future__ import annotations

import base64
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import assume, example, given
from hypothesis import strategies as st

from syncd import log
from syncd.redaction import MASK, Redactor
from tests.support.settings import API_KEY, ORGANIZATION
from tests.support.world import World

SECRET = "s3cret/key+with=signs & ümlaut"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def logged(event: str = "test.event", *, secrets: tuple[str, ...] = (), bodies: bool = False, **values: Any) -> Any:
    stream = io.StringIO()
    log.configure("json", "debug", secrets, stream, bodies=bodies)
    log.get().info(event, **values)
    (line,) = lines(stream)
    return line


def test_a_line_is_an_event() -> None:
    line = logged("delivery.sent", account="office", attempt=2, took=0.5, ok=True, none=None)
    assert list(line)[:3] == ["ts", "level", "event"]
    stamp = datetime.fromisoformat(line.pop("ts"))
    assert abs((datetime.now(UTC) - stamp).total_seconds()) < 10
    assert line == {
        "level": "info",
        "event": "delivery.sent",
        "account": "office",
        "attempt": 2,
        "took": 0.5,
        "ok": True,
        "none": None,
    }


def test_ids_are_bound_and_values_cannot_replace_the_head() -> None:
    stream = io.StringIO()
    log.configure("json", "info", stream=stream)
    log.get(account="office").bind(link="first").warning("lane.waits", ts="1970", level="fine")
    (line,) = lines(stream)
    assert (line["account"], line["link"], line["level"], line["level_"], line["ts_"]) == (
        "office",
        "first",
        "warning",
        "fine",
        "1970",
    )


def test_levels_are_filtered() -> None:
    stream = io.StringIO()
    log.configure("json", "warning", stream=stream)
    logger = log.get()
    logger.debug("a.b")
    logger.info("a.b")
    logger.warning("a.c")
    logger.error("a.d")
    logging.getLogger("some.library").info("not this")
    logging.getLogger("some.library").error("this")
    assert [(line["level"], line["event"]) for line in lines(stream)] == [
        ("warning", "a.c"),
        ("error", "a.d"),
        ("error", "some.library"),
    ]


def test_message_texts_are_left_out_unless_asked_for() -> None:
    assert "hello" not in json.dumps(logged(text="hello", sent={"text": "hello", "more": [{"text": "hello"}]}))
    assert logged(text="hello", bodies=True)["text"] == "hello"


def test_other_libraries_come_out_the_same_way() -> None:
    stream = io.StringIO()
    log.configure("json", "debug", [SECRET], stream)
    logging.getLogger("aiohttp.server").error("token %s\nforged", SECRET)
    logging.getLogger("sqlalchemy.engine.Engine").info("SELECT text")
    try:
        raise RuntimeError(SECRET)
    except RuntimeError:
        logging.getLogger("alembic").exception("failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old ways", stacklevel=1)
    first, second, third = lines(stream)
    assert (first["event"], first["message"], first["level"]) == ("aiohttp.server", f"token {MASK}\nforged", "error")
    assert f"RuntimeError: {MASK}" in second["exception"]
    assert third["event"] == "py.warnings"


def test_a_second_configuration_reaches_loggers_in_use() -> None:
    first, second = io.StringIO(), io.StringIO()
    log.configure("json", "info", stream=first)
    logger = log.get()
    logger.info("a.b")
    first.close()
    log.configure("json", "info", ["new-secret"], second)
    logger.info("a.c", value="new-secret")
    logging.getLogger("lib").error("once")
    assert [line["event"] for line in lines(second)] == ["a.c", "lib"]
    assert "new-secret" not in second.getvalue()


@pytest.mark.parametrize("format_", ["json", "console"])
def test_half_a_character_loses_no_line(format_: Any) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8")
    log.configure(format_, "info", stream=stream)
    log.get().info("a.b", name="half \ud83d")
    assert b"half \\ud83d" in raw.getvalue()


def test_a_closed_stream_stops_nobody() -> None:
    stream = io.StringIO()
    log.configure("json", "info", stream=stream)
    stream.close()
    log.get().info("a.b")
    logging.getLogger("lib").error("x")


def test_auto_is_console_on_a_terminal_only() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    log.configure("auto", "info", stream=terminal)
    log.get().info("a.b", account="office")
    log.configure("auto", "info", stream=pipe)
    log.get().info("a.b", account="office")
    assert re.fullmatch(r"\S+Z \x1b\[32minfo    \x1b\[0m a\.b account=office\n", terminal.getvalue())
    assert lines(pipe)[0]["account"] == "office"


def test_console_has_no_colours_off_a_terminal_and_quotes_what_would_mislead() -> None:
    stream = io.StringIO()
    log.configure("console", "info", stream=stream)
    log.get().info("a.b", reason="x level=error", empty="", many=["a", 1])
    assert stream.getvalue().endswith(' info     a.b reason="x level=error" empty="" many=["a", 1]\n')


def test_a_traceback_in_the_console_stays_behind_a_bar() -> None:
    stream = io.StringIO()
    log.configure("console", "info", [SECRET], stream)
    try:
        raise ValueError(f"{SECRET}\n2026-01-01T00:00:00Z info forged.line\r\x1b[2Kgone\u2028again")
    except ValueError:
        log.get().exception("a.b")
    first, *rest = stream.getvalue().splitlines()
    assert "error" in first
    assert len(rest) > 2
    assert all(line.startswith("  | ") for line in rest)
    assert "forged.line\\r\\x1b[2Kgone\\u2028again" in rest[-1]
    assert SECRET not in stream.getvalue()


@given(st.text(), st.text(), st.text(min_size=1))
@example("a.b", "x\n\u2028\u2029\x85\x1b[1m\u202e\x7f y", "key")
@example("a\u2028b", "x", "ke\u2029y")
def test_no_value_forges_a_line(event: str, value: str, key: str) -> None:
    assume(key not in ("event", "exc_info", "exception", "stack_info", "text", "self"))
    for format_ in ("json", "console"):
        stream = io.StringIO()
        log.configure(format_, "info", stream=stream)
        log.get().info(event, **{key: value, "nested": [{"deep": value}], "exc": ValueError(value)})
        written = stream.getvalue()
        assert written.endswith("\n")
        assert len(written.splitlines()) == 1
        assert written[:-1].isprintable()


FORGED = "2026-01-01T00:00:00.000Z info     daemon.stopped"
NASTY = {
    "line break": f"x\n{FORGED}",
    "carriage return": f"x\r{FORGED}",
    "both": f"x\r\n{FORGED}",
    "vertical": f"x\x0b{FORGED}\x0c{FORGED}\x1c{FORGED}",
    "next line": f"x\x85{FORGED}",
    "line separator": f"x\u2028{FORGED}\u2029{FORGED}",
    "JSON": '", "level": "error", "event": "forged',
    "a value": 'x level=error event=forged "',
    "colours": "\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07 \x9b31m",
    "backspaces": "daemon.ready\b\b\b\b\b\x7f\x7f",
    "NUL": "a\0b",
    "deleted": "\x7f",
    "right to left": "\u202egnp.exe\u202c \u2066\u2067\u2068\u2069 \u200e\u200f \u061c",
    "unseen": "\u200b\ufeff\u00ad\u2060\U000e0041\ufff9",
    "half": "\ud83d \udc00",
    "other letters": "Grüße 你好 👋🏽",
}


def only_ours() -> None:
    """Take pytest's own handlers away: they stumble over what is logged here."""
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if type(each).__module__ == log.__name__]


def logged_all_over(text: str) -> None:
    """A text wherever strangers' texts may stand in a line."""
    logger = log.get(account=text)
    logger.info("a.b", text=text, contact=text, key=text, headers={text: text, "deep": [(text, {text})]})
    logger.warning("a.b", reason=ValueError(text), raw=text.encode("utf-8", "surrogatepass"), **{text: text})
    logging.getLogger("aiohttp.server").error("bad request %s %r", text, text)
    logging.getLogger(text).error(text)


@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize("name", NASTY)
def test_what_strangers_write_is_inert(format_: Any, name: str) -> None:
    """G12: a line is a line of ours, whatever stands in it, and it steers no terminal."""
    stream = io.StringIO()
    log.configure(format_, "info", stream=stream, bodies=True)
    only_ours()
    logged_all_over(NASTY[name])
    written = stream.getvalue().splitlines()
    assert len(written) == 4
    assert all(line.isprintable() for line in written)
    if format_ == "json":
        found = [json.loads(line) for line in written]
        assert all(line.isascii() for line in written)
        assert [line["event"] for line in found] == ["a.b", "a.b", "aiohttp.server", NASTY[name]]
        assert [line["level"] for line in found] == ["info", "warning", "error", "error"]
        assert (found[0]["text"], found[0]["account"]) == (NASTY[name], NASTY[name])
    else:
        assert [re.findall(r"^\S+Z (\w+) ", line) for line in written] == [["info"], ["warning"], ["error"], ["error"]]
        # Outside of quotes, nothing but our own keys stands before an equals sign.
        for line in written[:2]:
            assert "=forged" not in re.sub(r'"(\\.|[^"\\])*"', "", line)


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_line_of_a_library_that_cannot_be_put_together(format_: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """G12: the standard library would print its arguments as they are."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError(SECRET)

    stream = io.StringIO()
    log.configure(format_, "info", [SECRET], stream)
    only_ours()
    for arguments in ((SECRET,), (f"{SECRET}\nforged", 1, 2), (Broken(),)):
        logging.getLogger("lib").error("%d", *arguments)
    logging.getLogger("lib").error(Broken())
    written = stream.getvalue().splitlines()
    assert len(written) == 4
    assert all("lib" in line and "cannot be put together" in line for line in written)
    assert SECRET not in stream.getvalue()
    told = capsys.readouterr()
    assert told.out + told.err == ""


@pytest.mark.parametrize("format_", ["json", "console"])
def test_no_value_stops_who_logs_it(format_: Any) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError(SECRET)

        __hash__ = object.__hash__

    for value in (10**5000, -(10**5000), 2**70, {Odd(): 1}, [Odd()], float("nan"), {1: {2: {(3, 4): None}}}):
        stream = io.StringIO()
        log.configure(format_, "info", [SECRET], stream)
        log.get().info("a.b", value=value)
        assert len(stream.getvalue().splitlines()) == 1
        assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_what_platforms_tell_the_daemon_is_inert(world: World) -> None:
    """G12: ids, names, texts, paths and headers of webhooks, right and wrong ones."""
    await world.start()
    for number, (name, text) in enumerate(NASTY.items()):
        params = {"orgid": ORGANIZATION, "from": "9003", "to": f"+4477009{number:05d}", "sessionid": text}
        for more in (
            {"messageid": f"{name}-{text}", "content": text, "type": 1},
            {"messageid": f"{name}-2", "content": text, "type": text},
            {"messageid": f"{name}-3", "content": "x", "type": 1, "to": text},
            {"messageid": f"{name}-4", "content": "x", "type": 1, "from": text, "orgid": text},
        ):
            body = json.dumps({"method": "message", "params": params | more, "api_key": API_KEY}).encode()
            async with world.client.post(world.ring.hook_url, data=body) as answer:
                assert answer.status == 200
        event = json.dumps({"method": text, "params": {"messageid": text}, "api_key": text}).encode()
        path = quote(text.encode("utf-8", "surrogatepass"), safe="")
        for url in (world.ring.hook_url, f"{world.bridge.url}/hooks/{path}", f"{world.bridge.url}/{path}?{path}"):
            headers = {"X-Request-Id": path, "messagebird-signature": path}
            async with world.client.post(url, data=event, headers=headers) as answer:
                assert answer.status in (401, 404)
    await world.bridge.stop()
    written = world.bridge.log.read_text(encoding="utf-8")
    assert "\r" not in written and written.replace("\n", "").isprintable()
    assert all(json.loads(line)["event"] for line in written.split("\n")[:-1])
    assert len([line for line in world.bridge.events("event.taken") if line["account"] == "office"]) >= 4 * len(NASTY)
    assert len(world.bridge.events("webhook.refused")) == len(NASTY)


@example([SECRET], "", 0)
@given(st.lists(st.text(min_size=4, max_size=40), min_size=1, max_size=5), st.text(max_size=20), st.integers(0, 4))
def test_no_secret_comes_through(secrets: list[str], around: str, which: int) -> None:
    secret = secrets[which % len(secrets)]
    assume(secret not in f"{MASK}{around}" and not any(other in MASK or MASK in other for other in secrets))
    redactor = Redactor(secrets)
    raw = secret.encode("utf-8", "surrogatepass")
    context = around.encode("utf-8", "surrogatepass")
    assert redactor.redact(secret) == MASK
    for spelling in (
        secret,
        quote(raw, safe=""),
        quote_plus(raw),
        re.sub("%..", lambda match: match[0].lower(), quote(raw, safe="")),
        json.dumps(secret),
        repr(secret),
    ):
        assert MASK in redactor.redact(f"{around} {spelling} {around}")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert MASK in redactor.redact(encode(raw).decode())
        for before in (b"", b"u", b"us", b"us:"):
            assert MASK in redactor.redact(encode(before + raw + context).decode())


def test_secrets_are_taken_out_at_any_depth() -> None:
    class Odd:
        def __str__(self) -> str:
            return SECRET

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError(SECRET)

    circle: list[Any] = []
    circle.append(circle)
    line = logged(
        f"event.{SECRET}",
        secrets=(SECRET, "other-secret"),
        plain=f"before {SECRET} after",
        deep={"a": [{"b": ("x", {SECRET: SECRET})}]},
        url=f"https://h/hooks/a/{quote(SECRET, safe='')}",
        basic=base64.b64encode(f"user:{SECRET}".encode()).decode(),
        raw=b"other-secret",
        odd=Odd(),
        broken=Broken(),
        circle=circle,
        infinite=float("inf"),
    )
    text = json.dumps(line, ensure_ascii=False)
    assert SECRET not in text
    assert "other-secret" not in text
    assert quote(SECRET, safe="") not in text
    assert line["plain"] == f"before {MASK} after"
    assert line["deep"] == {"a": [{"b": ["x", {MASK: MASK}]}]}
    assert line["url"] == f"https://h/hooks/a/{MASK}"
    assert line["odd"] == MASK
    assert line["broken"] == "<Broken: RuntimeError>"
    assert line["infinite"] == "inf"


def test_the_longer_of_two_secrets_goes_whole() -> None:
    assert Redactor(["secret", "secret-and-more"]).redact("x secret-and-more y") == f"x {MASK} y"


def test_without_secrets_text_stays() -> None:
    assert Redactor([]).redact("plain") == "plain"
    assert Redactor(["", "abc"]).redact("abc") == "abc"
