"""A Bird account: sending, and the parts that the other modules hold (page §2)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from syncd.engine.platform import AccountSetup, Credential, Door, Finding, HookRequest, Minimal, Page, RawEvent
from syncd.model.facts import Fact
from syncd.model.files import FileKind
from syncd.model.sending import (
    AuthFailed,
    MaybeSent,
    NotSent,
    Outgoing,
    RateLimited,
    Rejected,
    SendError,
    Sent,
)
from syncd.platforms import codec
from syncd.platforms.bird import hooks, inbound, polling
from syncd.platforms.bird.addresses import identifier, receiver
from syncd.platforms.bird.api import Api, Pages
from syncd.platforms.bird.settings import BirdAccount
from syncd.platforms.bird.uploads import uploaded
from syncd.platforms.bird.wire import Message, stamp, text
from syncd.platforms.http import Answer, Http

_BEFORE_ATTEMPT = timedelta(minutes=2)
"""How much earlier than the attempt its message is looked for: the clocks are two (page §2.3)."""
_SEARCH_PAGES = 50
_PERHAPS_THE_QUOTE = (400, 404, 422)
"""How Bird may refuse a `replyTo`; its codes are not documented."""

_MESSAGE = msgspec.json.Decoder(Message)
_REFUSED_AT_ONCE = ("rejected", "sending_failed", "delivery_failed", "skipped")


class Bird(Minimal):
    """One workspace (see `syncd.engine.platform.Platform`). `clock` gives epoch seconds, for the age of webhooks."""

    def __init__(self, setup: AccountSetup, http: Http, clock: Callable[[], float] = time.time) -> None:
        settings: BirdAccount = setup.settings
        self._setup = setup
        self._signing_keys = tuple(key.reveal() for key in settings.signing_key)
        self._clock = clock
        self._api = Api(settings, http)
        key = settings.access_key.reveal()
        self._credential = Credential("Authorization", f"AccessKey {key}", settings.media_hosts)

    def doors(self) -> tuple[Door, ...]:
        """One address for all channels: the body names the channel."""
        return (Door(end="", secret=None),)

    def verify(self, request: HookRequest) -> tuple[RawEvent, ...]:
        """Check the signature over the raw bytes, then name the event."""
        inbound.check_signature(request.headers, request.url, request.body, self._signing_keys, self._clock())
        return inbound.split(request)

    def parse(self, event: RawEvent) -> tuple[Fact, ...]:
        """What the event says; a webhook and a polled row read alike."""
        return inbound.parse(event)

    async def send(self, outgoing: Outgoing) -> Sent:
        """Post the message (page §2.2), after its file has been uploaded (page §6.1).

        Bird does not de-duplicate by `reference`: a doubt is never repeated here. A refusal is certain, and quoting
        must not keep a message back: what Bird refuses as an answer to another message is posted once more as none.
        """
        request: dict[str, Any] = {
            "receiver": {"contacts": [receiver(_address(outgoing))]},
            "body": await self._body(outgoing),
            "reference": outgoing.reference,
        }
        path = self._api.messages(outgoing.end)
        if outgoing.quotes is not None:
            quoting = request | {"replyTo": {"id": outgoing.quotes, "type": "message"}}
            answer = await self._api.call("POST", path, quoting)
            if answer.status not in _PERHAPS_THE_QUOTE:
                return self._taken(answer, outgoing)
        return self._taken(await self._api.call("POST", path, request), outgoing)

    async def _body(self, outgoing: Outgoing) -> dict[str, Any]:
        """The body, with its file uploaded. There is none for sound, videos or stickers: those are files (page §3)."""
        file = outgoing.file
        if file is None:
            return {"type": "text", "text": {"text": outgoing.text}}
        item = {"mediaUrl": await uploaded(self._api, outgoing.end, file)}
        caption = {"text": outgoing.text} if outgoing.text else {}
        if file.kind is FileKind.IMAGE:
            return {"type": "image", "image": {"images": [item], **caption}}
        item |= {"contentType": file.content_type, "filename": file.name}
        return {"type": "file", "file": {"files": [item], **caption}}

    def _taken(self, answer: Answer, outgoing: Outgoing) -> Sent:
        """What the answer to a message says. Raises a `SendError`."""
        if not 200 <= answer.status < 300:
            raise self._refused(answer, outgoing)
        try:
            message = codec.decode(answer.body, _MESSAGE)
        except (ValueError, msgspec.MsgspecError):
            message = Message()
        messageid = text(message.id)
        if messageid is None:
            raise MaybeSent(
                "Bird took the message and did not name it",
                http_status=answer.status,
                answer=self._api.shown(answer, *_content(outgoing)),
            )
        # The whole answer repeats the text; these fields tell all that a trace needs.
        shown = codec.encode({"id": messageid, "status": message.status, "reference": message.reference}).decode()[
            :1000
        ]
        if message.status in _REFUSED_AT_ONCE:
            raise Rejected(
                f"{message.status}: {message.why or 'no reason given'}", http_status=answer.status, answer=shown
            )
        return Sent(messageid, http_status=answer.status, answer=shown)

    def _refused(self, answer: Answer, outgoing: Outgoing) -> SendError:
        """The table of page §10. 408 and 5xx leave a doubt: the request may have been carried out."""
        reason = self._api.problem(answer, *_content(outgoing))
        shown = self._api.shown(answer, *_content(outgoing))
        status = answer.status
        if status in (401, 403):
            return AuthFailed(reason, http_status=status, answer=shown)
        if status == 429:
            return RateLimited(reason, retry_after=answer.retry_after, http_status=status, answer=shown)
        if status == 408 or status >= 500:
            return MaybeSent(reason, http_status=status, answer=shown)
        return Rejected(reason, http_status=status, answer=shown)

    def media_credential(self) -> Credential | None:
        """The account's key, for the hosts that the config names (page §6.2). They redirect to others, without it."""
        return self._credential

    async def find_sent(self, outgoing: Outgoing, since: datetime) -> Sent | None:
        """Look for our reference among what the contact was sent; lists have no filter for it (page §2.3).

        Whatever keeps the list from being read whole leaves the doubt as it is (`MaybeSent`).
        """
        params = [("direction", "outgoing"), ("startAt", stamp(since - _BEFORE_ATTEMPT))]
        recipient = identifier(_address(outgoing))
        if recipient is not None:
            params.append(("to", recipient))
        pages = Pages(self._api, self._api.messages(outgoing.end), params, most_pages=_SEARCH_PAGES)
        try:
            async for rows in pages.read():
                for row in rows:
                    if found := _named(row, outgoing.reference):
                        return found
        except (NotSent, Rejected) as error:
            raise MaybeSent(
                f"not known whether it was sent: {error.reason}", http_status=error.http_status, answer=error.answer
            ) from error
        if pages.looped or pages.bounded:
            raise MaybeSent("not known whether it was sent: Bird's list of messages does not come to an end")
        return None

    async def poll(self, end: str, cursor: str | None, now: datetime) -> Page:
        """What contacts wrote on the channel since the cursor (see `polling`)."""
        return await polling.poll(self._api, end, cursor, now)

    def history(self, end: str, since: datetime, until: datetime) -> AsyncIterator[tuple[RawEvent, ...]]:
        """What was said on the channel, by contacts, agents, flows and us (see `polling`)."""
        return polling.history(self._api, end, since, until)

    async def probe(self) -> tuple[Finding, ...]:
        """Look at every linked channel and at its webhook subscriptions."""
        return await hooks.probe(self._api, self._setup, datetime.fromtimestamp(self._clock(), UTC))

    async def register_hooks(self, *, dry_run: bool) -> tuple[Finding, ...]:
        """One subscription for each linked channel and event (see `hooks`)."""
        return await hooks.register(self._api, self._setup, dry_run=dry_run)


def _address(outgoing: Outgoing) -> str:
    """E.164 goes out as it is; any other address the way Bird spelled it."""
    return outgoing.contact if outgoing.contact.startswith("+") else outgoing.spelling or outgoing.contact


def _content(outgoing: Outgoing) -> tuple[str, ...]:
    """What people wrote: no record of an answer shows it."""
    return (outgoing.text, outgoing.file.name) if outgoing.file is not None else (outgoing.text,)


def _named(row: Any, reference: str) -> Sent | None:
    if not isinstance(row, dict) or text(row.get("reference")) != reference:
        return None
    messageid = text(row.get("id"))
    return Sent(messageid, answer=f"found by reference, status {text(row.get('status'))}") if messageid else None
