"""Whatever a platform's servers repeat of our secrets, in whatever spelling, none of it comes out of a plug-in."""

from __future__ import annotations

import importlib
import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from syncd.engine.platform import Finding, HookRequest, Page, Platform, RawEvent, Refused
from syncd.model.sending import MaybeSent, Opening, Outgoing, Rejected, SendError, Sent
from syncd.platforms.discreet import Discreet
from syncd.platforms.http import Http, client_session
from syncd.redaction import MASK, Redactor
from syncd.simulators.base import Fault
from tests.platforms.contract import Subject
from tests.platforms.test_contract import ENTRIES
from tests.support.canaries import leaks, spellings

SECRET = "s3cret/of+another=account & more"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPENING = Opening("end", "+12025550143", None, "9003")
HOOK = HookRequest("https://bridge.example.com/hooks/a", {}, b"")


class Loud:
    """A platform that says a secret wherever it can."""

    extra = "anything else it can do"

    def __init__(self, words: str) -> None:
        self.words = words

    def doors(self) -> tuple[str, ...]:
        return ("doors",)

    def verify(self, request: HookRequest) -> tuple[RawEvent, ...]:
        raise Refused(401, self.words)

    def parse(self, event: RawEvent) -> tuple[str, ...]:
        return (f"facts of {event.key}",)

    async def send(self, outgoing: Outgoing) -> Sent:
        return Sent("id", "session", 200, self.words)

    async def find_sent(self, outgoing: Outgoing, since: datetime) -> Sent | None:
        return Sent("id", answer=self.words)

    async def open_session(self, opening: Opening) -> str:
        raise MaybeSent(self.words, http_status=500, answer=self.words)

    async def poll(self, end: str, cursor: str | None, now: datetime) -> Page:
        raise Rejected(self.words, answer=self.words)

    async def probe(self) -> tuple[Finding, ...]:
        return (Finding(False, self.words, self.words),)

    async def register_hooks(self, *, dry_run: bool) -> tuple[Finding, ...]:
        return (Finding(dry_run, self.words, self.words),)


@pytest.mark.parametrize("spelling", [name for name, _ in spellings(SECRET)])
async def test_every_word_of_a_platform_is_looked_at(spelling: str) -> None:
    """G12: what is no word comes through as it is."""
    words = f"before {dict(spellings(SECRET))[spelling].decode()} after"
    loud = Discreet(cast("Platform", Loud(words)), Redactor([SECRET]).redact)
    clean = f"before {MASK} after"
    outgoing = cast("Outgoing", None)
    with pytest.raises(Refused) as refused:
        loud.verify(HOOK)
    assert (refused.value.status, refused.value.reason) == (401, clean)
    assert await loud.send(outgoing) == Sent("id", "session", 200, clean)
    assert await loud.find_sent(outgoing, NOW) == Sent("id", answer=clean)
    assert await loud.probe() == (Finding(False, clean, clean),)
    assert await loud.register_hooks(dry_run=True) == (Finding(True, clean, clean),)
    for call, kind in ((loud.open_session(OPENING), MaybeSent), (loud.poll("end", None, NOW), Rejected)):
        with pytest.raises(kind) as error:
            await call
        assert (error.value.reason, error.value.answer, str(error.value)) == (clean, clean, clean)
    doors, facts = cast("Any", loud).doors(), cast("Any", loud).parse(RawEvent("key", b""))
    assert (doors, facts, loud.extra) == (("doors",), ("facts of key",), Loud.extra)


@pytest.mark.parametrize("status", [200, 400, 401, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("name", sorted(ENTRIES))
async def test_answers_that_repeat_a_secret(name: str, status: int) -> None:
    """G12: each secret of each platform, in each spelling, in each place of an answer that is read."""
    subject: Subject = importlib.import_module(f"tests.platforms.{name}.contract").SUBJECT
    redact = Redactor([*subject.secrets, SECRET]).redact
    async with subject.simulator() as simulator, client_session() as session:
        url = subject.base_url(simulator)
        platform = Discreet(subject.platform(ENTRIES[name].load(), Http(session, timeout=10.0), url), redact)
        for secret in (*subject.secrets, SECRET):
            for _, form in spellings(secret):
                for body in bodies(form):
                    simulator.faults[:] = [Fault("status", status=status, body=body)]
                    try:
                        told = repr(await platform.send(subject.outgoing()))
                    except SendError as error:
                        told = f"{error!r} {vars(error)}"
                    assert leaks(told, [secret]) == []


def bodies(form: bytes) -> tuple[bytes, ...]:
    """Answers that say it: as JSON where it can be said so, or a page."""
    word = json.dumps(form.decode()).encode()
    fields = b'{"error":@,"code":@,"message":@,"id":"1","meta":{"code":@,"message":@,"trace_id":@}}'
    return (
        fields.replace(b"@", word),
        fields.replace(b"@", b'"' + form + b'"'),
        b"<html><title>" + form + b"</title><p>" + form,
    )
