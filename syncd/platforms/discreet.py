"""A platform in whose words no secret stands, whatever the servers it called repeat (G12)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from syncd.engine.platform import Credential, Door, Finding, HookRequest, Page, Platform, RawEvent, Refused
from syncd.model.facts import Fact
from syncd.model.sending import Change, Opening, Outgoing, Receipt, SendError, Sent

Redact = Callable[[str], str]


class _Hushed:
    """A `with` block out of which no `SendError` comes with a secret."""

    def __init__(self, redact: Redact) -> None:
        self._redact = redact

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SendError):
            error.reason, error.answer = self._redact(error.reason), self._redact(error.answer)
            error.args = (error.reason,)


class Discreet:
    """A platform like the one given; reasons, answers and findings pass `redact` before anybody stores or shows them.

    A plug-in knows the credentials that its own calls carry. This one knows those of the whole config, in every
    spelling, and it holds for plug-ins of others too.
    """

    def __init__(self, platform: Platform, redact: Redact) -> None:
        self._platform = platform
        self._redact = redact
        self._hushed = _Hushed(redact)

    def __getattr__(self, name: str) -> Any:
        """Whatever else the platform can do."""
        return getattr(self._platform, name)

    def doors(self) -> tuple[Door, ...]:
        """See `Platform`."""
        return self._platform.doors()

    def verify(self, request: HookRequest) -> tuple[RawEvent, ...]:
        """See `Platform`."""
        try:
            return self._platform.verify(request)
        except Refused as refused:
            raise Refused(refused.status, self._redact(refused.reason)) from None

    def parse(self, event: RawEvent) -> tuple[Fact, ...]:
        """See `Platform`."""
        return self._platform.parse(event)

    async def send(self, outgoing: Outgoing) -> Sent:
        """See `Platform`."""
        with self._hushed:
            return self._cleaned(await self._platform.send(outgoing))

    async def edit(self, change: Change) -> Sent:
        """See `Platform`."""
        with self._hushed:
            return self._cleaned(await self._platform.edit(change))

    async def delete(self, change: Change) -> Sent:
        """See `Platform`."""
        with self._hushed:
            return self._cleaned(await self._platform.delete(change))

    async def receipt(self, change: Change, receipt: Receipt) -> Sent:
        """See `Platform`."""
        with self._hushed:
            return self._cleaned(await self._platform.receipt(change, receipt))

    def media_credential(self) -> Credential | None:
        """See `Platform`."""
        return self._platform.media_credential()

    async def open_session(self, opening: Opening) -> str:
        """See `Platform`."""
        with self._hushed:
            return await self._platform.open_session(opening)

    async def users(self, end: str) -> Mapping[str, str]:
        """See `Platform`."""
        with self._hushed:
            return await self._platform.users(end)

    async def find_sent(self, outgoing: Outgoing, since: datetime) -> Sent | None:
        """See `Platform`."""
        with self._hushed:
            found = await self._platform.find_sent(outgoing, since)
        return None if found is None else self._cleaned(found)

    async def poll(self, end: str, cursor: str | None, now: datetime) -> Page:
        """See `Platform`."""
        with self._hushed:
            return await self._platform.poll(end, cursor, now)

    async def history(self, end: str, since: datetime, until: datetime) -> AsyncIterator[tuple[RawEvent, ...]]:
        """See `Platform`."""
        with self._hushed:
            async for page in self._platform.history(end, since, until):
                yield page

    async def probe(self) -> tuple[Finding, ...]:
        """See `Platform`."""
        return self._told(await self._platform.probe())

    async def register_hooks(self, *, dry_run: bool) -> tuple[Finding, ...]:
        """See `Platform`."""
        return self._told(await self._platform.register_hooks(dry_run=dry_run))

    def _cleaned(self, sent: Sent) -> Sent:
        answer = self._redact(sent.answer)
        return sent if answer == sent.answer else replace(sent, answer=answer)

    def _told(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        return tuple(Finding(one.ok, self._redact(one.subject), self._redact(one.detail)) for one in findings)
