"""Ringotel, the desk: users chat with contacts in sessions (Messaging API and its webhook)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncd.engine.platform import AccountSetup, Door, Finding, HookRequest, Minimal, Plugin, RawEvent
from syncd.model.capabilities import Capabilities
from syncd.model.facts import Fact
from syncd.model.files import FileKind
from syncd.model.sending import Change, Opening, Outgoing, Receipt, Sent
from syncd.platforms.http import Http
from syncd.platforms.ringotel import inbound
from syncd.platforms.ringotel.client import Client
from syncd.platforms.ringotel.settings import RingotelAccount, RingotelEnd

MAX_FILE = 20_000_000

CAPABILITIES = Capabilities(
    role="desk",
    default_rate=2.0,
    max_text=4000,
    sessions=True,
    directory=True,
    files=dict.fromkeys(FileKind, MAX_FILE),
    edits=True,
    deletes=True,
    receipts=True,
)
"""Rate, text length and size of files are advice (page §8): the vendor publishes no limits.

A file has no caption (page §4.3), and nothing can be quoted (page §8).
"""


class Ringotel(Minimal):
    """One Ringotel account: one API key, one webhook address, any number of organizations."""

    def __init__(self, setup: AccountSetup, http: Http) -> None:
        settings: RingotelAccount = setup.settings
        keys = tuple(key.reveal() for key in settings.api_key)
        self._ends = setup.ends
        self._keys = tuple(key.encode() for key in keys)
        self._secret = settings.webhook_secret.reveal() if settings.webhook_secret else None
        self._client = Client(
            http,
            settings.base_url,
            keys,
            uploads=settings.files == "upload",
            resend_on_reopen=settings.resend_on_reopen,
        )

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

    async def edit(self, change: Change) -> Sent:
        """See `Client.edit`."""
        return await self._client.edit(change)

    async def delete(self, change: Change) -> Sent:
        """See `Client.delete`."""
        return await self._client.delete(change)

    async def receipt(self, change: Change, receipt: Receipt) -> Sent:
        """See `Client.receipt`."""
        return await self._client.receipt(change, receipt)

    async def open_session(self, opening: Opening) -> str:
        """See `Client.open_session`."""
        return await self._client.open_session(opening)

    async def users(self, end: str) -> Mapping[str, str]:
        """See `Client.users`."""
        return await self._client.users(end)

    async def probe(self) -> tuple[Finding, ...]:
        """See `Client.probe`."""
        return await self._client.probe(self._ends)


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
