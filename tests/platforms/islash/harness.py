"""iSlash for the tests: a configured account, its simulator, and webhooks to order."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any, cast

from syncd.engine.platform import AccountSetup, EndSetup, HookRequest, Platform
from syncd.model.sending import Author, Outgoing
from syncd.platforms.http import Http
from syncd.platforms.islash import plugin

END = "support-whatsapp"
TOKEN = "user-token-Xq7"
SESSION = "session-key-Zr9"
HOOK = "hook-secret-Wp5"
SECRETS = (TOKEN, SESSION, HOOK)
CONTACT = "+85200000001"


def setup(base_url: str, **account: Any) -> AccountSetup:
    """An account with one link's end on it."""
    settings = plugin.account_model.model_validate({"base_url": base_url, "user_token": TOKEN, **account})
    end = plugin.end_model.model_validate({"session": SESSION, "webhook_secret": HOOK})
    ends = (EndSetup(END, plugin.end_key(END, end), end),)
    return AccountSetup("islash", settings, ends, "https://bridge.example.com")


@cache
def platform() -> Platform:
    """For what needs no network."""
    return plugin.build(setup("https://customer.islash.example"), cast(Http, None))


def outgoing(text: str = "Hello Testing", **others: Any) -> Outgoing:
    """A send to the contact."""
    fields: dict[str, Any] = {
        "reference": "r-1",
        "end": END,
        "contact": CONTACT,
        "spelling": None,
        "text": text,
        "said_at": datetime(2022, 4, 12, 9, 47, 34, tzinfo=UTC),
        "author": Author.USER,
    }
    return Outgoing(**fields | others)


def hook(messageid: str = "ABGG-1", text: str = "testing") -> HookRequest:
    """A webhook as iSlash posts it."""
    message = {
        "from": "85200000001",
        "id": messageid,
        "type": "text",
        "text": {"body": text},
        "timestamp": "1649756854",
        "sequence": "35500920",
    }
    return HookRequest(
        f"https://bridge.example.com/hooks/islash/{HOOK}",
        {"content-type": "application/json"},
        json.dumps({"messages": [message]}).encode(),
        END,
    )
