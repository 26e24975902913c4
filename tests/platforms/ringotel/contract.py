"""Ringotel for the contract suite."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from syncd.engine.platform import HookRequest
from syncd.model.sending import Author
from syncd.simulators.ringotel import RingotelSimulator
from tests.platforms.contract import PUBLIC_URL, Subject

KEY = "ringotel-key-Xq7"
HOOK = "hook-secret-Wp5"
ORGANIZATION = "18446744073709551617"
CONTACT = "+12025550143"


class RingotelSubject(Subject):
    account: ClassVar[dict[str, Any]] = {"api_key": KEY, "webhook_secret": HOOK}
    end: ClassVar[dict[str, Any]] = {"organization": ORGANIZATION, "users": ["9003"]}
    secrets: ClassVar[tuple[str, ...]] = (KEY, HOOK)
    carried: ClassVar[tuple[str, ...]] = (KEY,)
    addressed: ClassVar[dict[str, Any]] = {
        "end": ORGANIZATION,
        "contact": CONTACT,
        "extension": "9003",
        "author": Author.CONTACT,
    }

    def simulator(self) -> RingotelSimulator:
        simulator = RingotelSimulator(KEY)
        simulator.add_organization(["9003"], orgid=ORGANIZATION)
        return simulator

    def base_url(self, simulator: RingotelSimulator) -> str:
        return simulator.api_url

    def taken(self, simulator: RingotelSimulator) -> int:
        return len(simulator.chat("9003", CONTACT))

    def request(self, body: bytes) -> HookRequest:
        return HookRequest(f"{PUBLIC_URL}/hooks/account-1/{HOOK}", {"content-type": "application/json"}, body)

    def webhook(self, value: Any) -> HookRequest:
        members = value if isinstance(value, dict) else {"method": value, "params": value}
        return self.request(json.dumps(members | {"api_key": KEY}).encode())

    def said(self, messageid: str, text: str) -> HookRequest:
        params = {"orgid": ORGANIZATION, "from": "9003", "userid": "1", "to": CONTACT, "type": 1, "content": text}
        ids = {"messageid": messageid, "sessionid": "session-1"}
        return self.webhook({"method": "message", "params": params | ids})


SUBJECT = RingotelSubject()
