"""iSlash for the contract suite."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from syncd.engine.platform import HookRequest
from syncd.simulators.islash import ISlashSimulator
from tests.platforms.contract import Subject
from tests.platforms.islash import harness


class ISlashSubject(Subject):
    account: ClassVar[dict[str, Any]] = {"user_token": harness.TOKEN}
    end: ClassVar[dict[str, Any]] = {"session": harness.SESSION, "webhook_secret": harness.HOOK}
    secrets: ClassVar[tuple[str, ...]] = harness.SECRETS
    carried: ClassVar[tuple[str, ...]] = harness.SECRETS
    addressed: ClassVar[dict[str, Any]] = {"end": "link-1", "contact": harness.CONTACT}

    def simulator(self) -> ISlashSimulator:
        return ISlashSimulator(token=harness.TOKEN, sessions={harness.SESSION: "whatsapp"})

    def base_url(self, simulator: ISlashSimulator) -> str:
        return simulator.base_url

    def taken(self, simulator: ISlashSimulator) -> int:
        return len(simulator.messages)

    def request(self, body: bytes) -> HookRequest:
        url = f"https://bridge.example.com/hooks/account-1/{harness.HOOK}"
        return HookRequest(url, {"content-type": "application/json"}, body, "link-1")

    def webhook(self, value: Any) -> HookRequest:
        return self.request(json.dumps(value).encode())

    def said(self, messageid: str, text: str) -> HookRequest:
        return self.request(harness.hook(messageid, text).body)


SUBJECT = ISlashSubject()
