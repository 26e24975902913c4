"""A simulated iSlash: its public API, the customers behind its channels, and its webhooks.

It takes sends as the documentation's two revisions do, keeps what every customer got, files included, and posts
messages and statuses in any of the layouts that its webhooks may have. What the documentation leaves open is a switch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from aiohttp import web

from syncd.simulators.base import Call, Hook, Simulator
from syncd.simulators.islash_media import Hashed, Media, Place, SentFile, Shelf, uploaded
from syncd.simulators.islash_shapes import OWN_NUMBER, PAGE, SHAPES, encoded, messenger

_BASE = "/api/public"
_MESSENGER_LIKE = {"messenger": "page", "instagram": "instagram"}
_WINDOW_CLOSED = {"code": 470, "title": "Message failed to send because more than 24 hours have passed"}

ParamStyle = Literal["any", "form", "query"]
Reply = Literal["current", "older", "pending", "no_message"]


@dataclass(slots=True)
class SentMessage:
    """A message of ours, as the customer has it."""

    id: int
    sid: str
    session: str
    identity: str
    text: str
    """With a file: its caption, empty where it has none."""
    at: int
    """Unix seconds."""
    file: SentFile | None = None
    quoted: str | None = None
    statuses: list[str] = field(default_factory=list)
    """Every status that was posted for it, in order."""


class ISlashSimulator(Simulator):
    """See the module. Calls are named `send`, `stickers` and `media` (somebody fetches a customer's file).

    `sessions` maps a session key to its channel: `whatsapp`, `messenger` or `instagram`; `hook_urls` maps it to where
    its webhooks go (none: nowhere).
    """

    def __init__(
        self,
        *,
        token: str = "islash-token",  # noqa: S107 - nobody's secret
        sessions: dict[str, str] | None = None,
        retries_hooks: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.token = token
        self.sessions = dict(sessions) if sessions is not None else {"islash-session": "whatsapp"}
        self.hook_urls: dict[str, str] = {}
        self.retries_hooks = retries_hooks
        """Whether iSlash posts an untaken webhook again is not documented; False assumes that it does not."""
        self.param_style: ParamStyle = "any"
        """Which revision's way of passing parameters a send must use."""
        self.reply: Reply = "current"
        """Shape of a send's answer: of either revision, with no `sid` yet, or with `data` as an empty array."""
        self.auto_statuses: tuple[str, ...] = ()
        """Statuses posted of themselves for every send, in this order, e.g. `("sent", "delivered", "read")`."""
        self.statuses_first = False
        """Post them, and see them taken, before the API answers."""
        self.status_delay = 0.01
        """Seconds from a send to its first status by itself, and from each status to the next."""
        self.closed_windows: set[tuple[str, str]] = set()
        """`(session, identity)` whose 24 hours are over: a send is accepted, then reported as failed."""
        self.messages: dict[str, SentMessage] = {}
        """All that we sent, by `sid`, in order."""
        self.received: list[dict[str, Any]] = []
        """All that customers said, as the webhook's item, in order."""
        self._shelf = Shelf(token)
        self._by_customer: dict[tuple[str, str], list[SentMessage]] = {}
        self._clock = clock
        self._last_id = 9125
        self._last_sequence = 35_500_919

    def routes(self, app: web.Application) -> None:
        app.router.add_post(f"{_BASE}/send-session-message", self._send)
        app.router.add_get(f"{_BASE}/sticker", self._stickers)
        app.router.add_get("/media/{id}", self._media)

    @property
    def base_url(self) -> str:
        """What the config calls `base_url`."""
        return f"{self.url}{_BASE}"

    @property
    def media_url_template(self) -> str:
        """What the config calls so: it leads to every customer's file, told with an address or without."""
        return f"{self.url}/media/{{id}}"

    @property
    def media(self) -> dict[str, Media]:
        """All files of customers, by id, in the order sent."""
        return self._shelf.media

    def sent(self, session: str, identity: str) -> list[SentMessage]:
        """Our messages that this customer got, in order."""
        return list(self._by_customer.get((session, identity), ()))

    def contact_says(
        self,
        session: str,
        identity: str,
        text: str,
        *,
        shape: str | None = None,
        name: str | None = None,
        at: float | None = None,
        content: dict[str, Any] | None = None,
        quotes: str | None = None,
        copies: int = 1,
        delay: float = 0.0,
    ) -> str:
        """A customer writes: post the webhook in the background, and give the message's id.

        `shape` is a key of `SHAPES`, `messenger`, `instagram` or `standby` (default: the channel's own). `content`
        replaces the text by something else: `{"type": "image", "image": {…}}`, or members of Messenger's `message`.
        `quotes`: the id of the message that it answers to.
        """
        at = self._clock() if at is None else at
        channel = self.sessions[session]
        shape = shape or ("wrapped" if channel == "whatsapp" else channel)
        if shape in SHAPES:
            content = content or {"text": {"body": text}, "type": "text"}
            if quotes is not None:
                content = content | {"context": {"from": OWN_NUMBER, "id": quotes}}
            item = self._message(identity, content, name, at)
            messageid: str = item["id"]
            self._post(session, shape, SHAPES[shape]("messages", item), copies, delay)
        else:
            messageid = f"m_{uuid4().hex}"
            said = {"mid": messageid, **(content or {"text": text})}
            if quotes is not None:
                said["reply_to"] = {"mid": quotes}
            item = {"sender": {"id": identity}, "recipient": {"id": PAGE}, "timestamp": int(at * 1000), "message": said}
            self._post(session, shape, self._page_event(shape, item), copies, delay)
        self.received.append(item)
        return messageid

    def contact_sends(
        self,
        session: str,
        identity: str,
        file: bytes,
        *,
        kind: str = "image",
        content_type: str = "image/jpeg",
        name: str | None = None,
        caption: str = "",
        linked: bool = True,
        place: Place = "link",
        hashed: Hashed | None = "hex",
        twin: bool = False,
        **said: Any,
    ) -> str:
        """A customer sends a file: post the webhook in the background, and give the message's id.

        WhatsApp tells its hash (`hashed`) and, if `linked`, its address at `place`; the documentation shows none.
        Messenger tells its address only if `linked`; a `twin` is the same file told as an image too, as it does with
        stickers. `said` is as for `contact_says`. The file's switches are then in `media`.
        """
        mediaid = self._shelf.put(Media(kind, file, content_type, name))
        media = self.media[mediaid]
        url = f"{self.url}/media/{mediaid}" if linked else None
        if self.sessions[session] == "whatsapp":
            content = media.told_by_whatsapp(mediaid, url, place, hashed, caption)
        else:
            payload = {} if url is None else {"url": url}
            kinds = ["image", kind] if twin else [kind]
            content = {"attachments": [{"type": told, "payload": payload} for told in kinds]}
            if caption:
                content["text"] = caption
        return self.contact_says(session, identity, "", content=content, **said)

    def status(
        self,
        sid: str,
        status: str,
        *,
        errors: list[dict[str, Any]] | None = None,
        shape: str | None = None,
        at: float | None = None,
        mids: bool = True,
        copies: int = 1,
        delay: float = 0.0,
    ) -> asyncio.Task[None] | None:
        """Report what became of a message of ours: post the webhook in the background; the task ends when it is taken.

        Messenger has `delivered` and `read` only, and `read` names a time, not messages; so does `delivered` without
        `mids`. None where nothing is posted.
        """
        message = self.messages[sid]
        message.statuses.append(status)
        at = self._clock() if at is None else at
        channel = self.sessions[message.session]
        shape = shape or ("wrapped" if channel == "whatsapp" else channel)
        value = self._status(message, status, errors, shape, at, mids)
        return self._post(message.session, shape, value, copies, delay) if value is not None else None

    async def _send(self, request: web.Request) -> web.Response:
        params = await self._params(request)
        call = Call("send", params or {}, dict(request.headers), self._loop_time())

        async def do() -> web.Response:
            refusal = self._refusal(request, call.params)
            if refusal is not None:
                return refusal
            if params is None:
                return _error(415, "RESP_UNSUPPORTED_MEDIA_TYPE", "Send multipart/form-data")
            if not params.get("identity") or not any(params.get(key) for key in ("text", "file", "file_url")):
                return _error(422, "RESP_INVALID_PARAMETER", "Missing identity or content")
            message = self._accept(params)
            await self._report(message)
            return web.json_response(self._reply_to(message))

        return await self.answer(request, call, do)

    async def _stickers(self, request: web.Request) -> web.Response:
        params = dict(request.query)

        async def do() -> web.Response:
            sticker = {"id": 1, "name": "hello", "type": "image/webp", "width": 512, "height": 512}
            return self._refusal(request, params) or web.json_response(_okay({"stickers": [sticker]}))

        return await self.answer(request, Call("stickers", params, dict(request.headers), self._loop_time()), do)

    async def _media(self, request: web.Request) -> web.Response:
        mediaid = request.match_info["id"]

        async def do() -> web.Response:
            return self._shelf.hand_out(mediaid, request.headers.get("X-USER-TOKEN"))

        return await self.answer(request, Call("media", {"id": mediaid}, dict(request.headers), self._loop_time()), do)

    async def _params(self, request: web.Request) -> dict[str, Any] | None:
        """The parameters; None where they came in no documented way."""
        if self.param_style != "form" and "session" in request.query:
            # The older revision puts everything into the query but the file itself (§3).
            body = await uploaded(request) if request.content_type == "multipart/form-data" else {}
            return {**request.query, **{name: part for name, part in body.items() if isinstance(part, SentFile)}}
        if self.param_style == "query" or request.content_type != "multipart/form-data":
            return None
        return await uploaded(request)

    def _refusal(self, request: web.Request, params: dict[str, Any]) -> web.Response | None:
        if request.headers.get("X-USER-TOKEN") != self.token:
            return _error(401, "RESP_UNAUTHORIZED", "Invalid token")
        if params and params.get("session") not in self.sessions:
            return _error(403, "RESP_INVALID_SESSION", "Invalid session")
        return None

    def _accept(self, params: dict[str, Any]) -> SentMessage:
        self._last_id += 1
        message = SentMessage(
            id=self._last_id,
            sid=f"gBGG{uuid4().hex[:12]}-{self._last_id}",
            session=params["session"],
            identity=params["identity"],
            text=params.get("text", ""),
            at=int(self._clock()),
            file=file if isinstance(file := params.get("file"), SentFile) else None,
            quoted=params.get("quoted_message_id"),
        )
        self.messages[message.sid] = message
        self._by_customer.setdefault((message.session, message.identity), []).append(message)
        return message

    async def _report(self, message: SentMessage) -> None:
        if (message.session, message.identity) in self.closed_windows:
            self.status(message.sid, "failed", errors=[_WINDOW_CLOSED], delay=self.status_delay)
            return
        for nth, status in enumerate(self.auto_statuses, 1):
            posted = self.status(message.sid, status, delay=0.0 if self.statuses_first else nth * self.status_delay)
            if self.statuses_first and posted is not None:
                await posted

    def _reply_to(self, message: SentMessage) -> dict[str, Any]:
        if self.reply == "no_message":
            return _okay([])
        pending = self.reply == "pending"
        body: dict[str, Any] = {
            "id": message.id,
            "conversation_id": 246,
            "user": None,
            "user_id": None,
            "contact": None,
            "status": "pending" if pending else "sent",
            "body": message.text,
            "media_type": message.file.content_type if message.file else None,
            "media_url": None,
            "sid": None if pending else message.sid,
            "direction": "outbound",
            "is_auto_message": True,
            "is_forwarded": False,
            "is_template_message": False,
            "is_sticker": False,
            "is_cloned": False,
            "media_thumbnail": None,
            "media_filename": message.file.name if message.file else None,
            "media_status": None,
            "media_resolution_x": None,
            "media_resolution_y": None,
            "message_at": message.at,
            "sent_at": None if pending else message.at,
            "delivered_at": None,
            "received_at": None,
            "read_at": None,
            "read_by": None,
            "read_by_user": None,
            "revoked_at": None,
        }
        if self.reply == "older":
            body |= {"quote_message": message.quoted, "color": "blue"}
        else:
            body["quoted_message"] = message.quoted
        return _okay({"message": body})

    def _message(self, identity: str, content: dict[str, Any], name: str | None, at: float) -> dict[str, Any]:
        item = {"wa_id": identity, "from": identity, "id": f"ABGG{uuid4().hex[:12]}-{self._last_sequence}", **content}
        if name is not None:
            item["profile"] = {"name": name}
        return item | {"sequence": self._sequence(), "timestamp": str(int(at))}

    def _status(
        self,
        message: SentMessage,
        status: str,
        errors: list[dict[str, Any]] | None,
        shape: str,
        at: float,
        mids: bool,
    ) -> Any:
        if shape in SHAPES:
            item: dict[str, Any] = {
                "sequence": self._sequence(),
                "id": message.sid,
                "type": "message",
                "conversation": {"origin": {"type": "user_initiated"}, "id": "0" * 32},
                "pricing": {"pricing_model": "CBP", "category": "user_initiated", "billable": True},
                "recipient_id": message.identity,
                "status": status,
                "timestamp": str(int(at)),
            }
            if errors:
                item["errors"] = errors
            return SHAPES[shape]("statuses", item)
        milliseconds = int(at * 1000)
        event: dict[str, Any] = {"sender": {"id": message.identity}, "recipient": {"id": PAGE}}
        if status == "delivered":
            named = {"mids": [message.sid]} if mids else {}
            return self._page_event(shape, event | {"delivery": {**named, "watermark": milliseconds}})
        if status == "read":
            return self._page_event(shape, event | {"timestamp": milliseconds, "read": {"watermark": milliseconds}})
        return None

    def _page_event(self, shape: str, event: dict[str, Any]) -> dict[str, Any]:
        channel = "standby" if shape == "standby" else "messaging"
        kind = _MESSENGER_LIKE.get(shape, "page")
        return messenger(event, int(self._clock() * 1000), kind=kind, channel=channel)

    def _post(self, session: str, shape: str, value: Any, copies: int, delay: float) -> asyncio.Task[None] | None:
        url = self.hook_urls.get(session)
        if url is None:
            return None
        body, content_type = encoded(shape, value)
        return self.emit(Hook(url, body, {"Content-Type": content_type}), copies=copies, delay=delay)

    def _sequence(self) -> str:
        # One growing counter for messages and statuses, with gaps.
        self._last_sequence += 7
        return str(self._last_sequence)

    @staticmethod
    def _loop_time() -> float:
        return asyncio.get_running_loop().time()


def _okay(data: Any) -> dict[str, Any]:
    return {"meta": {"code": "RESP_OKAY", "message": "Success"}, "data": data}


def _error(status: int, code: str, message: str) -> web.Response:
    """No error answer is documented; the envelope is taken to be the same."""
    return web.json_response({"meta": {"code": code, "message": message}, "data": {}}, status=status)
