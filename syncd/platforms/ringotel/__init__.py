"""Ringotel, the desk: users chat with contacts in sessions (Messaging API and its webhook)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from syncd.engine.platform import AccountSetup, Door, Finding, HookRequest, Page, Plugin, RawEvent
from syncd.model.capabilities import Capabilities
from syncd.model.facts import Fact
from syncd.model.sending import Opening, Outgoing, Sent
from syncd.platforms.http import Http
from syncd.platforms.ringotel import inbound
from syncd.platforms.ringotel.client import Client
from syncd.platforms.ringotel.settings import RingotelAccount, RingotelEnd

CAPABILITIES = Capabilities(role="desk", default_rate=2.0, max_text=4000, sessions=True)
"""Rate and text length are advice (page §8): the vendor publishes no limits."""


class Ringotel:
    """One Ringotel account: one API key, one webhook address, any number of organizations."""

    def __init__(self, setup: AccountSetup, http: Http) -> None:
        settings: RingotelAccount = setup.settings
        keys = tuple(key.reveal() for key in settings.api_key)
        self._ends = setup.ends
        self._keys = tuple(key.encode() for key in keys)
        self._secret = settings.webhook_secret.reveal() if settings.webhook_secret else None
        self._client = Client(http, settings.base_url, keys, resend_on_reopen=settings.resend_on_reopen)

    def doors(self) -> tuple[Door, ...]:
        """One address: the body tells the organization."""
        return (Door(end="", secret=self._secret),)

    def verify(self, request: HookRequest) -> tuple[RawEvent, ...]:
        """One webhook is one event. Raises `Refused`."""
        return (inbound.verify(request.body, self._keys),)

    def parse(self, event: RawEvent) -> tuple[Fact, ...]:
        """One event is one fact."""
        return (inbound.parse(event.body),)

    async def send(self, outgoing: Outgoing) -> Sent:
        """See `Client.send`."""
        return await self._client.send(outgoing)

    async def open_session(self, opening: Opening) -> str:
        """See `Client.open_session`."""
        return await self._client.open_session(opening)

    async def probe(self) -> tuple[Finding, ...]:
        """See `Client.probe`."""
        return await self._client.probe(self._ends)

    async def find_sent(self, outgoing: Outgoing, since: datetime) -> Sent | None:
        """Ringotel has no call that lists messages (page §1)."""
        raise NotImplementedError

    async def poll(self, end: str, cursor: str | None, now: datetime) -> Page:
        """Ringotel has no call that lists messages (page §1)."""
        raise NotImplementedError

    async def register_hooks(self, *, dry_run: bool) -> tuple[Finding, ...]:
        """Ringotel's webhook address is entered in its portal, with the API key (page §2)."""
        raise NotImplementedError


def _end_key(link: str, settings: Any) -> str:
    organization: str = settings.organization
    return organization


plugin = Plugin(
    name="ringotel",
    capabilities=CAPABILITIES,
    account_model=RingotelAccount,
    end_model=RingotelEnd,
    end_key=_end_key,
    build=Ringotel,
)
