"""A simulated Bird: one workspace with channels, contacts and messages, and the signed webhooks that tell of them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from syncd.simulators.base import Hook
from syncd.simulators.bird_api import ORGANIZATION, WORKSPACE, BirdApi
from syncd.simulators.bird_records import (
    Received,
    Record,
    SimChannel,
    SimFile,
    file_body,
    file_items,
    identified,
    stamp,
)


class BirdSimulator(BirdApi):
    """What people do on the channels, done by methods; what syncd does, seen in `sent`, `received`, `texts`, `calls`.

    `hook_url` is where webhooks are posted (empty: nowhere), `public_hook_url` the address that they are signed over.
    An address is `+12025550143`, `a@example.com`, `KEY:VALUE`, or `id:ID` for a contact without identifier.
    """

    def __init__(
        self,
        *,
        workspace: str = WORKSPACE,
        organization: str = ORGANIZATION,
        access_key: str = "bird-access-key",
        signing_key: str = "bird-signing-key",
        hook_url: str = "",
        public_hook_url: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(workspace=workspace, organization=organization, access_key=access_key)
        self.signing_key = signing_key
        self.hook_url = hook_url
        self.public_hook_url = public_hook_url
        self.clock = clock
        self.outbound_hooks: Literal["none", "after", "before"] = "after"
        """Webhooks of sends through the API: none, after the HTTP answer, or before it."""
        self.statuses: tuple[str, ...] = ("accepted",)
        """What an outgoing message goes through, each told by a webhook."""
        self.status_delay = 0.02
        """Seconds between the answer, and each status, with `after`."""
        self.hook_copies = 1
        """How often each webhook is posted, at once."""
        self.needs_subscription = False
        """Only post events that an active subscription asks for, signed with its key over its URL."""
        self.last_post: asyncio.Task[None] | None = None
        """The webhook posted last; awaiting it waits for the 2xx."""
        self._latest = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """The clock, never the same instant twice."""
        self._latest = max(datetime.fromtimestamp(self.clock(), UTC), self._latest + timedelta(microseconds=1))
        return self._latest

    def add_channel(
        self,
        channel: str | None = None,
        *,
        platform: str = "sms",
        identifier: str = "+12025550100",
        name: str = "Main line",
        status: str = "active",
    ) -> str:
        """A new channel; its id."""
        made = SimChannel(channel or str(uuid.uuid4()), platform, identifier, name, status, str(uuid.uuid4()))
        self.channels[made.id] = made
        return made.id

    @property
    def messages(self) -> dict[str, dict[str, Any]]:
        """All messages of all channels, by id."""
        return {key: record.data for channel in self.channels.values() for key, record in channel.messages.items()}

    def sent(self, channel: str, contact: str) -> list[dict[str, Any]]:
        """The messages that a contact was sent, by whomever, in the order that Bird took them."""
        return [record.data for record in self.channels[channel].chats.get(contact, ())]

    def received(self, channel: str, contact: str) -> list[Received]:
        """The same as the contact has it: words, the bytes of files, and what it answers to."""
        return [self._received(message) for message in self.sent(channel, contact)]

    def texts(self, channel: str, contact: str) -> list[str]:
        """The texts (and captions) of `sent`."""
        return [message.text for message in self.received(channel, contact)]

    def _received(self, message: dict[str, Any]) -> Received:
        body = message["body"] or {}
        files: list[SimFile | str] = []
        for item in file_items(body):
            kept = self.uploaded(item["mediaUrl"])
            files.append(item["mediaUrl"] if kept is None else replace(kept, name=item.get("filename")))
        text = body.get(body.get("type"), {}).get("text", "")
        return Received(text, tuple(files), message.get("replyTo", {}).get("id"))

    def contact_says(
        self,
        channel: str,
        contact: str,
        text: str = "",
        *,
        webhook: bool = True,
        at: datetime | None = None,
        name: str | None = None,
        body: dict[str, Any] | None = None,
        messageid: str | None = None,
        files: Sequence[SimFile] = (),
        shape: str | None = None,
        reply_to: str | None = None,
    ) -> str:
        """A contact writes; the message's id. Without `webhook` only a list tells of it. `body` takes text's place.

        With `files`, `text` is the caption. `shape` is the body's type (`image`, `file`, `gif`, or `text` and `html`
        with attachments); without one, pictures that are no stickers are an `image`, all else is a `file`.
        """
        messageid = messageid or str(uuid.uuid4())
        if files:
            items = [self._item(messageid, file) for file in files]
            body = file_body(shape or _shape(files), items, text)
        place = self.channels[channel]
        said = self._contact(contact)
        if name is not None:
            said = said | {"annotations": {"name": name}}
        record = self._made(place, contact, body or _text(text), at, messageid)
        record.data |= {
            "direction": "incoming",
            "status": "delivered",
            "sender": {"contact": said},
            "receiver": {"connector": {"id": place.connector, "identifierValue": ""}},
        }
        if reply_to is not None:
            record.data["replyTo"] = {"id": reply_to, "type": "message"}
        if webhook:
            self._tell(place, "inbound", record.data)
        return str(record.data["id"])

    def agent_says(
        self, channel: str, contact: str, text: str, *, webhook: bool = True, at: datetime | None = None
    ) -> str:
        """Somebody at Bird (an agent, a flow) writes to a contact; the message's id."""
        place = self.channels[channel]
        record = self._outgoing(place, contact, _text(text), "", at)
        self._pass_through(place, record, webhook=webhook)
        return str(record.data["id"])

    def set_status(
        self,
        message: str,
        status: str,
        *,
        reason: str | None = None,
        failure: dict[str, Any] | None = None,
        webhook: bool = True,
    ) -> None:
        """An outgoing message goes into another state."""
        channel, record = self._record(message)
        record.data |= {"status": status, "reason": reason or "", "lastStatusAt": stamp(self.now())}
        if failure is not None:
            record.data["failure"] = failure
        if webhook:
            self._tell(channel, "outbound", record.data)

    def interact(
        self, message: str, kind: str = "read", *, metadata: dict[str, Any] | None = None, webhook: bool = True
    ) -> str:
        """The recipient reads an outgoing message, or does something else with it; the interaction's id."""
        channel, record = self._record(message)
        done = {
            "id": str(uuid.uuid4()),
            "messageId": message,
            "channelId": channel.id,
            "platformId": channel.platform,
            "type": kind,
            "messageReference": record.data["reference"],
            "receiver": record.data["receiver"],
            "createdAt": stamp(self.now()),
            "details": "",
            "metadata": metadata or {},
        }
        record.interactions.append(done)
        if webhook:
            self._tell(channel, "interaction", done)
        return str(done["id"])

    def tell_again(self, message: str) -> asyncio.Task[None] | None:
        """Post the webhook of a message once more, as a new delivery."""
        channel, record = self._record(message)
        return self._tell(channel, "inbound" if record.data["direction"] == "incoming" else "outbound", record.data)

    def hook(
        self,
        event: str,
        payload: Any,
        *,
        at: float | None = None,
        url: str | None = None,
        signed_url: str | None = None,
        key: str | None = None,
    ) -> Hook:
        """A signed webhook of service `channels`, for `post` or `emit`. `at` is the signed time in epoch seconds."""
        body = json.dumps({"service": "channels", "event": event, "payload": payload}).encode("ascii")
        url = self.hook_url if url is None else url
        signed_url = signed_url or self.public_hook_url or url
        timestamp = str(int(self.clock() if at is None else at))
        headers = {
            "Content-Type": "application/json",
            "messagebird-signature": signature(key or self.signing_key, timestamp, signed_url, body),
            "messagebird-request-timestamp": timestamp,
            "messagebird-request-id": str(uuid.uuid4()),
        }
        return Hook(url, body, headers)

    async def accepted(self, channel: SimChannel, address: str, request: dict[str, Any]) -> Record:
        """Make the message of a send, and tell of its states as `outbound_hooks` says."""
        record = self._outgoing(channel, address, request.get("body"), request.get("reference", ""))
        record.data |= {name: request[name] for name in ("template", "replyTo") if name in request}
        posts = self._pass_through(channel, record, webhook=self.outbound_hooks != "none")
        if posts and self.outbound_hooks == "before":
            # Not for ever: whoever takes webhooks one by one may be waiting for this very answer.
            await asyncio.wait(posts, timeout=5.0)
        return record

    def _item(self, message: str, file: SimFile) -> dict[str, Any]:
        """A contact's file, published, as a body names it."""
        name = {"filename": file.name} if file.name is not None else {}
        return {"mediaUrl": self._published(message, file), "contentType": file.content_type, **name}

    def _contact(self, address: str) -> dict[str, Any]:
        contact = self.contacts.get(address)
        if contact is None:
            identity = address.removeprefix("id:") if address.startswith("id:") else str(uuid.uuid4())
            contact = self.contacts[address] = {"id": identity, **identified(address)}
            self._contact_addresses[identity] = address
        return contact

    def _made(
        self, channel: SimChannel, address: str, body: Any, at: datetime | None, messageid: str | None = None
    ) -> Record:
        created = at or self.now()
        written = stamp(created)
        data = {
            "id": messageid or str(uuid.uuid4()),
            "channelId": channel.id,
            "body": body,
            "reference": "",
            "reason": "",
            "parts": [{"platformReference": uuid.uuid4().hex}],
            "lastStatusAt": written,
            "createdAt": written,
            "updatedAt": written,
        }
        record = channel.messages[str(data["id"])] = Record(data, created, address)
        return record

    def _outgoing(
        self, channel: SimChannel, address: str, body: Any, reference: str, at: datetime | None = None
    ) -> Record:
        record = self._made(channel, address, body, at)
        record.data |= {
            "direction": "outgoing",
            "status": "accepted",
            "reference": reference,
            "sender": {"connector": {"id": channel.connector, "identifierValue": ""}},
            "receiver": {"contacts": [self._contact(address)]},
        }
        channel.chats.setdefault(address, []).append(record)
        return record

    def _record(self, message: str) -> tuple[SimChannel, Record]:
        for channel in self.channels.values():
            if (record := channel.messages.get(message)) is not None:
                return channel, record
        raise KeyError(message)

    def _pass_through(self, channel: SimChannel, record: Record, *, webhook: bool) -> list[asyncio.Task[None]]:
        """Go through `statuses`; the message is in the last of them at once, its webhooks come one by one."""
        step = self.status_delay if self.outbound_hooks == "after" else 0.0
        posts = []
        for count, status in enumerate(self.statuses, start=1):
            record.data |= {"status": status, "lastStatusAt": stamp(self.now())}
            if webhook:
                posts.append(self._tell(channel, "outbound", record.data, delay=count * step))
        return [post for post in posts if post is not None]

    def _tell(
        self, channel: SimChannel, kind: str, payload: dict[str, Any], delay: float = 0.0
    ) -> asyncio.Task[None] | None:
        """Post an event to whoever takes it; the last of the posts."""
        event = f"{channel.platform}.{kind}"
        post = None
        if self.needs_subscription:
            for row in self._subscribers(event, channel.id):
                target = self.hook_url or row["url"]
                hook = self.hook(event, payload, url=target, signed_url=row["url"], key=row["signingKey"])
                post = self.emit(hook, delay=delay, copies=self.hook_copies)
        elif self.hook_url:
            post = self.emit(self.hook(event, payload), delay=delay, copies=self.hook_copies)
        self.last_post = post or self.last_post
        return post

    def _subscribers(self, event: str, channel: str) -> list[dict[str, Any]]:
        """Active subscriptions to an event; one without a filter gets nothing that a filtered one takes."""
        rows = [row for row in self.subscriptions.values() if row["event"] == event and row["status"] == "active"]
        filtered = [row for row in rows if row["eventFilters"] == [{"key": "channelId", "value": channel}]]
        return filtered or [row for row in rows if not row["eventFilters"]]


def signature(key: str, timestamp: str, url: str, body: bytes) -> str:
    """The header `messagebird-signature`."""
    message = timestamp.encode() + b"\n" + url.encode() + b"\n" + hashlib.sha256(body).digest()
    return base64.b64encode(hmac.new(key.encode(), message, hashlib.sha256).digest()).decode()


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": {"text": text}}


def _shape(files: Sequence[SimFile]) -> str:
    kinds = {file.content_type for file in files}
    pictures = all(kind.startswith("image/") for kind in kinds) and "image/webp" not in kinds
    return "image" if pictures else "file"
