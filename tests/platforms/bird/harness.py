"""Bird for the tests: a configured account, its simulator, and webhooks to order."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from syncd.engine.platform import AccountSetup, EndSetup, HookRequest
from syncd.model.files import File, FileKind
from syncd.model.sending import Author, Outgoing
from syncd.platforms.bird import plugin
from syncd.platforms.bird.client import Bird
from syncd.platforms.http import Http, client_session
from syncd.simulators.bird import BirdSimulator
from syncd.simulators.bird_api import ORGANIZATION, WORKSPACE

CHANNEL = "cb4b1ebc-34e6-5a7a-a375-f6f2f131d88f"
ACCESS_KEY = "AK-Xq7-do-not-show"
SIGNING_KEY = "demo-signing-key-please-change"
CONTACT = "+12025550143"
HOOK_URL = "https://bridge.example.com/hooks/bird"
NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)


def setup(
    base_url: str = "https://api.bird.com", *, public_url: str = "https://bridge.example.com", **account: Any
) -> AccountSetup:
    """An account with one link's end on it."""
    keys = {"workspace": WORKSPACE, "organization": ORGANIZATION, "access_key": ACCESS_KEY, "signing_key": SIGNING_KEY}
    settings = plugin.account_model.model_validate({"base_url": base_url, **keys, **account})
    end = plugin.end_model.model_validate({"channel": CHANNEL})
    return AccountSetup("bird", settings, (EndSetup("support-sms", CHANNEL, end),), public_url)


def offline(now: float = NOW.timestamp()) -> Bird:
    """For what needs no network; `now` is the clock."""
    return Bird(setup(), cast(Http, None), clock=lambda: now)


def simulator() -> BirdSimulator:
    """A workspace with the configured channel, not yet listening; it posts no webhooks until given a `hook_url`."""
    made = BirdSimulator(access_key=ACCESS_KEY, signing_key=SIGNING_KEY, clock=NOW.timestamp)
    made.add_channel(CHANNEL)
    return made


@asynccontextmanager
async def connected(bird: BirdSimulator, *, timeout: float = 5.0, **account: Any) -> AsyncIterator[Bird]:
    """The platform over real sockets to a simulator that listens."""
    async with client_session() as session:
        yield Bird(setup(bird.url, **account), Http(session, timeout=timeout), clock=NOW.timestamp)


def outgoing(text: str = "Hello from the bridge", **others: Any) -> Outgoing:
    """A send to the contact."""
    fields: dict[str, Any] = {
        "reference": "syncd:r-1",
        "end": CHANNEL,
        "contact": CONTACT,
        "spelling": None,
        "text": text,
        "said_at": NOW,
        "author": Author.USER,
    }
    return Outgoing(**fields | others)


def file(path: Path, data: bytes, kind: FileKind = FileKind.FILE, **others: Any) -> File:
    """A file that syncd has, at `path`."""
    path.write_bytes(data)

    @asynccontextmanager
    async def lend() -> AsyncIterator[BinaryIO]:
        with path.open("rb") as lent:
            yield lent

    fields: dict[str, Any] = {
        "kind": kind,
        "name": "plan.pdf",
        "content_type": "application/pdf",
        "size": len(data),
        "link": "https://bridge.example.com/media/t/plan.pdf",
        "lend": lend,
    }
    return File(**fields | others)


def signed(body: bytes, *, timestamp: str, url: str = HOOK_URL, key: str = SIGNING_KEY) -> HookRequest:
    """A webhook with the signature that the platform's page describes."""
    message = timestamp.encode() + b"\n" + url.encode() + b"\n" + hashlib.sha256(body).digest()
    signature = base64.b64encode(hmac.new(key.encode(), message, hashlib.sha256).digest()).decode()
    return HookRequest(url, {"messagebird-signature": signature, "messagebird-request-timestamp": timestamp}, body)
