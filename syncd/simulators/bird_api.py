"""The simulated Bird's HTTP API: messages, channels, webhook subscriptions."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from aiohttp import web

from syncd.simulators.bird_http import problem, reply
from syncd.simulators.bird_media import BirdMedia
from syncd.simulators.bird_records import (
    Order,
    Record,
    SimChannel,
    addressed,
    file_items,
    page,
    request_mistakes,
    stamp,
    subscription_mistakes,
)

WORKSPACE = "a1405560-c8d3-4b1a-877d-3f449ad95352"
ORGANIZATION = "cb28a94e-8557-4394-80ea-6bbd1170f434"

_REVERSED: dict[Order, Order] = {"newest": "oldest", "oldest": "newest", "shuffled": "shuffled"}


class BirdApi(BirdMedia):
    """The routes and the truth behind them. Calls are named `send`, `list`, `message`, `interactions`, `channels` and
    `subscriptions` (and as in `BirdMedia`); the `params` of a send hold `channel`, `contact`, `text` (or the caption),
    `reference` and the whole `request`."""

    def __init__(
        self, *, workspace: str = WORKSPACE, organization: str = ORGANIZATION, access_key: str = "bird-access-key"
    ) -> None:
        super().__init__(workspace=workspace, access_key=access_key)
        self.organization = organization
        self.channels: dict[str, SimChannel] = {}
        self.contacts: dict[str, dict[str, Any]] = {}
        """Contacts by address; one is made for whoever is written to."""
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.order: Order = "newest"
        """The order of lists."""
        self.token_loop = False
        """Every page of a list is the first one, and names the same next page."""
        self.list_ending: Literal["missing", "null", "empty"] = "missing"
        """How the last page says that it is the last."""
        self.shows_signing_keys = False
        """Whether reading a subscription tells its signing key."""
        self._contact_addresses: dict[str, str] = {}

    def routes(self, app: web.Application) -> None:
        """Add the API's routes."""
        super().routes(app)
        workspace = "/workspaces/{workspace}"
        messages = workspace + "/channels/{channel}/messages"
        app.router.add_post(messages, self._on_send)
        app.router.add_get(messages, self._on_list)
        app.router.add_get(messages + "/{message}", self._on_message)
        app.router.add_get(messages + "/{message}/interactions", self._on_interactions)
        app.router.add_get(workspace + "/channels", self._on_channels)
        app.router.add_get(workspace + "/channels/{channel}", self._on_channel)
        for start in (workspace, "/organizations/{organization}" + workspace):
            path = start + "/webhook-subscriptions"
            app.router.add_route("*", path, self._on_subscriptions)
            app.router.add_route("*", path + "/{subscription}", self._on_subscriptions)

    async def accepted(self, channel: SimChannel, address: str, request: dict[str, Any]) -> Record:
        """Take a valid request to send: make the message, and tell of it as the switches say."""
        raise NotImplementedError

    async def _on_send(self, request: web.Request) -> web.Response:
        try:
            wanted = json.loads(await request.read())
        except ValueError:
            wanted = None
        params = {"channel": request.match_info["channel"], "request": wanted, **_outline(wanted)}

        async def do() -> web.Response:
            if (refused := self._refused(request)) is not None:
                return refused
            channel = self.channels.get(params["channel"])
            if channel is None:
                return problem(404, "NotFound", "channel not found")
            if wanted is None:
                return problem(400, "BadRequest", "the body is not JSON")
            if mistakes := request_mistakes(wanted, channel.platform):
                return problem(422, "InvalidPayload", "the request is not valid", mistakes)
            contact = wanted["receiver"]["contacts"][0]
            address = self._contact_addresses.get(contact["id"]) if contact.get("id") else addressed(contact)
            if address is None:
                return problem(404, "NotFound", "contact not found")
            urls = [item["mediaUrl"] for item in file_items(wanted.get("body"))]
            if any(self.is_ours(url) and self.uploaded(url) is None for url in urls):
                return problem(422, "InvalidPayload", "the media is not there")
            if not self._answers_a_contact(channel, wanted.get("replyTo")):
                return problem(422, "InvalidPayload", "the request is not valid", {"replyTo.id": ["unknown"]})
            record = await self.accepted(channel, address, wanted)
            # The answer is the message as it was taken; what became of it since is told by webhooks.
            return reply(202, record.data | {"status": "accepted"})

        return await self._served(request, "send", params, do)

    def channel_exists(self, channel: str) -> bool:
        """Whether the workspace has it; an upload for no channel in particular needs none."""
        return not channel or channel in self.channels

    @staticmethod
    def _answers_a_contact(channel: SimChannel, reply_to: Any) -> bool:
        """Only messages that a contact sent can be answered to (`replyTo` of a send)."""
        if reply_to is None:
            return True
        record = channel.messages.get(reply_to["id"])
        return record is not None and record.data["direction"] == "incoming"

    async def _on_list(self, request: web.Request) -> web.Response:
        query = request.query

        async def do() -> web.Response:
            channel = self.channels.get(request.match_info["channel"])
            if (refused := self._refused(request)) is not None or channel is None:
                return refused or problem(404, "NotFound", "channel not found")
            try:
                limit = _limit(query.get("limit", "10"))
                chosen = filter(_chosen(query), channel.messages.values())
                order = _REVERSED[self.order] if query.get("reverse") == "true" else self.order
                rows, token = page(chosen, order, limit, None if self.token_loop else query.get("pageToken"))
            except (ValueError, TypeError) as error:
                return problem(422, "InvalidPayload", str(error))
            found: dict[str, Any] = {
                "startAt": query.get("startAt"),
                "endAt": query.get("endAt"),
                "results": [record.data for record in rows],
            }
            return reply(200, self._paged(found, "again" if self.token_loop else token))

        params = {"channel": request.match_info["channel"], "query": list(query.items())}
        return await self._served(request, "list", params, do)

    async def _on_message(self, request: web.Request) -> web.Response:
        return await self._on_record(request, "message", lambda record: record.data)

    async def _on_interactions(self, request: web.Request) -> web.Response:
        return await self._on_record(request, "interactions", lambda record: {"results": record.interactions})

    async def _on_record(self, request: web.Request, name: str, show: Callable[[Record], Any]) -> web.Response:
        async def do() -> web.Response:
            channel = self.channels.get(request.match_info["channel"])
            record = channel.messages.get(request.match_info["message"]) if channel else None
            if (refused := self._refused(request)) is not None or record is None:
                return refused or problem(404, "NotFound", "message not found")
            return reply(200, show(record))

        return await self._served(request, name, dict(request.match_info), do)

    async def _on_channels(self, request: web.Request) -> web.Response:
        async def do() -> web.Response:
            if (refused := self._refused(request)) is not None:
                return refused
            return reply(200, self._paged({"results": [channel.shown() for channel in self.channels.values()]}, None))

        return await self._served(request, "channels", {}, do)

    async def _on_channel(self, request: web.Request) -> web.Response:
        async def do() -> web.Response:
            channel = self.channels.get(request.match_info["channel"])
            if (refused := self._refused(request)) is not None or channel is None:
                return refused or problem(404, "NotFound", "channel not found")
            return reply(200, channel.shown())

        return await self._served(request, "channels", dict(request.match_info), do)

    async def _on_subscriptions(self, request: web.Request) -> web.Response:
        try:
            wanted = json.loads(await request.read() or b"null")
        except ValueError:
            wanted = None
        identity = request.match_info.get("subscription")

        async def do() -> web.Response:
            if (refused := self._refused(request)) is not None:
                return refused
            if request.match_info.get("organization", self.organization) != self.organization:
                return problem(403, "Forbidden", "not your organization")
            if identity is None:
                return self._subscriptions(request, wanted)
            return self._subscription(request.method, identity, wanted)

        params = {"method": request.method, "path": request.path, "request": wanted}
        return await self._served(request, "subscriptions", params, do)

    def _subscriptions(self, request: web.Request, wanted: Any) -> web.Response:
        if request.method == "GET":
            start = int(request.query.get("pageToken") or 0)
            end = start + _limit(request.query.get("limit", "10"), most=100)
            rows = list(self.subscriptions.values())
            found = {"results": [self._subscription_shown(row) for row in rows[start:end]]}
            return reply(200, self._paged(found, str(end) if end < len(rows) else None))
        if request.method != "POST":
            return problem(405, "MethodNotAllowed", request.method)
        if mistakes := subscription_mistakes(wanted):
            return problem(422, "InvalidPayload", "the request is not valid", mistakes)
        same = [
            row
            for row in self.subscriptions.values()
            if row["event"] == wanted["event"] and row["eventFilters"] == wanted.get("eventFilters")
        ]
        if len(same) >= 5:
            return problem(422, "InvalidPayload", "at most five subscriptions with the same filters")
        now = stamp(self.now())
        made = {
            "id": str(uuid.uuid4()),
            "organizationId": self.organization,
            "workspaceId": self.workspace,
            "eventFilters": None,
            "template": "",
            "signingKey": "",
            "status": "active",
            **wanted,
            "createdAt": now,
            "updatedAt": now,
        }
        self.subscriptions[made["id"]] = made
        return reply(201, made)

    def _subscription(self, method: str, identity: str, wanted: Any) -> web.Response:
        row = self.subscriptions.get(identity)
        if row is None:
            return problem(404, "NotFound", "webhook subscription not found")
        if method == "DELETE":
            del self.subscriptions[identity]
            return web.Response(status=204)
        if method == "PATCH":
            if mistakes := subscription_mistakes(wanted, patch=True):
                return problem(422, "InvalidPayload", "the request is not valid", mistakes)
            row.update(wanted, updatedAt=stamp(self.now()))
        elif method != "GET":
            return problem(405, "MethodNotAllowed", method)
        return reply(200, self._subscription_shown(row))

    def _subscription_shown(self, row: dict[str, Any]) -> dict[str, Any]:
        return row if self.shows_signing_keys else {name: row[name] for name in row if name != "signingKey"}

    def now(self) -> datetime:
        """The simulated Bird's clock."""
        raise NotImplementedError

    def _paged(self, found: dict[str, Any], token: str | None) -> dict[str, Any]:
        if token is not None:
            found["nextPageToken"] = token
        elif self.list_ending != "missing":
            found["nextPageToken"] = None if self.list_ending == "null" else ""
        return found


def _outline(request: Any) -> dict[str, Any]:
    """What a request to send says, whatever its shape."""
    try:
        contact = request["receiver"]["contacts"][0]
        to = contact.get("identifierValue") or contact.get("id")
        text = request["body"].get(request["body"].get("type"), {}).get("text")
        return {"contact": to, "text": text, "reference": request["reference"]}
    except (TypeError, KeyError, IndexError, AttributeError):
        return {"contact": None, "text": None, "reference": None}


def _limit(value: str, most: int = 1000) -> int:
    limit = int(value)
    if not 1 <= limit <= most:
        raise ValueError(f"limit must be 1 to {most}")
    return limit


def _chosen(query: Any) -> Callable[[Record], bool]:
    """The filters of a list as one test. Raises `ValueError` for a malformed time."""
    direction, ids = query.get("direction"), set(query.getall("id", ()))
    to, sender = set(query.getall("to", ())), set(query.getall("from", ()))
    start = datetime.fromisoformat(query["startAt"]) if query.get("startAt") else None
    end = datetime.fromisoformat(query["endAt"]) if query.get("endAt") else None

    def fits(record: Record) -> bool:
        data = record.data
        incoming = data["direction"] == "incoming"
        contact = data["sender"]["contact"] if incoming else data["receiver"]["contacts"][0]
        return (
            (direction is None or data["direction"] == direction)
            and (start is None or record.created >= start)
            and (end is None or record.created <= end)
            and (not ids or data["id"] in ids)
            and (not to or (not incoming and contact.get("identifierValue") in to))
            and (not sender or (incoming and contact.get("identifierValue") in sender))
        )

    return fits
