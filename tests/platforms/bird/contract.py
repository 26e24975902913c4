"""Bird for the contract suite."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any, ClassVar

from syncd.engine.platform import HookRequest
from syncd.simulators.bird import BirdSimulator
from tests.platforms.contract import PUBLIC_URL, Subject

ACCESS = "access-key-Xq7"
SIGNING = "signing-key-Zr9"
WORKSPACE = "a1405560-c8d3-4b1a-877d-3f449ad95352"
CHANNEL = "cb4b1ebc-34e6-5a7a-a375-f6f2f131d88f"
CONTACT = "+12025550143"
URL = f"{PUBLIC_URL}/hooks/account-1"


class BirdSubject(Subject):
    account: ClassVar[dict[str, Any]] = {"workspace": WORKSPACE, "access_key": ACCESS, "signing_key": SIGNING}
    end: ClassVar[dict[str, Any]] = {"channel": CHANNEL}
    secrets: ClassVar[tuple[str, ...]] = (ACCESS, SIGNING)
    carried: ClassVar[tuple[str, ...]] = (ACCESS, SIGNING)
    addressed: ClassVar[dict[str, Any]] = {"end": CHANNEL, "contact": CONTACT}

    def simulator(self) -> BirdSimulator:
        simulator = BirdSimulator(workspace=WORKSPACE, access_key=ACCESS, signing_key=SIGNING)
        simulator.add_channel(CHANNEL)
        return simulator

    def base_url(self, simulator: BirdSimulator) -> str:
        return simulator.url

    def taken(self, simulator: BirdSimulator) -> int:
        return len(simulator.sent(CHANNEL, CONTACT))

    def request(self, body: bytes) -> HookRequest:
        timestamp = str(int(time.time()))
        signed = b"\n".join((timestamp.encode(), URL.encode(), hashlib.sha256(body).digest()))
        signature = base64.b64encode(hmac.digest(SIGNING.encode(), signed, "sha256")).decode()
        headers = {"messagebird-signature": signature, "messagebird-request-timestamp": timestamp}
        return HookRequest(URL, headers, body)

    def webhook(self, value: Any) -> HookRequest:
        return self.request(json.dumps(value).encode())

    def said(self, messageid: str, text: str) -> HookRequest:
        simulator = self.simulator()
        simulator.contact_says(CHANNEL, CONTACT, text, webhook=False, messageid=messageid)
        payload = simulator.messages[messageid]
        return self.webhook({"service": "channels", "event": "sms.inbound", "payload": payload})


SUBJECT = BirdSubject()
