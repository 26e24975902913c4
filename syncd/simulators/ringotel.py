"""Ringotel simulated: the Messaging API over HTTP, and users who write, read, edit and delete in their app."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

from syncd.simulators import ringotel_calls as api
from syncd.simulators.base import Call, Hook, Simulator
from syncd.simulators.ringotel_desk import Desk, Message, Organization, Refusal, Session, User, chat_key

Params = dict[str, Any]
Shape = Literal["messageid", "sessionid", "both", "empty", "{}"]
"""Of an answer to a `message` with content: which ids it names; an empty 200; a `result` without ids."""

_SOON = 0.05
"""Seconds after the answer at which a late echo is posted."""


@dataclass(frozen=True, slots=True)
class Opened:
    """One open-session call that was carried out."""

    organization: str
    extension: str
    contact: str
    sessionid: str
    fresh: bool
    """False where it answered with a session that was open already."""


class RingotelSimulator(Simulator):
    """One Ringotel account. Give it organizations and users, and `hook_url` to post webhooks to.

    Names of calls (`calls_of`): `message`, `open` for a `message` without content, else the method.
    """

    def __init__(
        self, api_key: str = "ringotel-key", *, hook_url: str = "", first_id: int = 18446744073709551615
    ) -> None:
        super().__init__()
        self.api_key = api_key
        """What calls must carry, and what webhooks carry."""
        self.hook_url = hook_url
        """Where webhooks go; empty: nowhere."""
        self.desk = Desk(first_id)
        self.open_calls: list[Opened] = []
        self.reply_shape: Shape = "messageid"
        """Answer to a message that went into the session it named, or named none."""
        self.reopen_shape: Shape = "both"
        """Answer to a message into a closed session; its `sessionid` is the new one."""
        self.reopen_keeps = True
        """A message into a closed session lands in the new one; False: it is dropped, only the session is made."""
        self.open_always_new = False
        """An open call makes a session although one is open."""
        self.echo: Literal["none", "before", "after"] = "none"
        """Whether messages of the API come back as webhooks, before or after their answer."""
        self.escape_hooks = False
        """Webhooks in ASCII, all else as \\u escapes; False: UTF-8 (lone surrogates are escapes in any case)."""

    @property
    def api_url(self) -> str:
        """The account's `base_url`."""
        return f"{self.url}/api"

    def routes(self, app: web.Application) -> None:
        """`POST /api` and `/api/`, for every method."""
        app.router.add_post("/api", self._api)
        app.router.add_post("/api/", self._api)

    # --- who is there ---

    def add_organization(
        self, users: Iterable[str] = (), *, orgid: str | None = None, domain: str | None = None
    ) -> str:
        """A new organization with these extensions. Its id."""
        orgid = orgid or self.desk.long_id()
        domain = domain or f"org{orgid}"
        self.desk.organizations[orgid] = self.desk.domains[domain] = Organization(orgid, domain, domain)
        for extension in users:
            self.add_user(extension, organization=orgid)
        return orgid

    def add_user(self, extension: str, *, organization: str | None = None, name: str | None = None) -> str:
        """A new user. Its id."""
        where = self._organization(organization)
        user = User(self.desk.long_id(), extension, name or extension)
        where.users[extension] = where.users_by_id[user.id] = user
        return user.id

    def add_number(self, number: str, users: Iterable[str] = (), *, organization: str | None = None) -> None:
        """A shared number (DID) with these extensions behind it."""
        where = self._organization(organization)
        where.numbers[number] = [where.users[extension].id for extension in users]

    # --- what happens in the app ---

    def user_says(
        self,
        extension: str,
        contact: str,
        text: str,
        organization: str | None = None,
        sessionid: str | None = None,
        *,
        type: int | str = 1,  # noqa: A002 - the member's name
        form: Literal["to", "senderid", "legacy"] | None = None,
        delay: float = 0.0,
        copies: int = 1,
    ) -> str:
        """The user writes to a contact, in the chat's open session or in a new one, or in `sessionid`. The messageid.

        `form` of the webhook: `to`, `senderid` (default where the session was made with one), `legacy` (2022: no ids).
        """
        where = self._organization(organization)
        if sessionid is not None:
            session = self.desk.session(where.id, sessionid)
        else:
            session = self.desk.open_of(where.id, extension, contact) or self.desk.start(
                where.id, extension, contact, "user", opaque=form == "senderid"
            )
        message = Message(
            self.desk.short_id(), session.id, extension, session.contact, text, None, "outgoing", time.time(), int(type)
        )
        self.desk.keep(message)
        params = self._told(message, session)
        params["type"] = type
        if form is not None and form != "senderid" and "senderid" in params:
            params["to"] = params.pop("senderid")
        if form == "senderid" and "to" in params:
            params["senderid"] = params.pop("to")
        if form == "legacy":
            params = {k: v for k, v in params.items() if k not in ("messageid", "sessionid")} | {"ownerid": "1627"}
        self.emit_event("message", params, delay=delay, copies=copies)
        return message.id

    def user_edits(self, messageid: str, text: str) -> None:
        """The user changes a message."""
        message = self.desk.messages[messageid]
        message.content, message.edited = text, True
        self.emit_event("updated", {"messageid": messageid, "content": text})

    def user_deletes(self, messageid: str) -> None:
        """The user deletes a message."""
        self.desk.messages[messageid].deleted = True
        self.emit_event("deleted", {"messageid": messageid})

    def app_delivered(self, messageid: str) -> None:
        """The user's app got a message."""
        self.emit_event("delivered", {"messageid": messageid, "sessionid": self.desk.messages[messageid].sessionid})

    def app_read(self, sessionid: str, messageid: str | None = None) -> None:
        """The user opened the chat, when `messageid` was the last in it."""
        self.emit_event("read", {"sessionid": sessionid} | ({} if messageid is None else {"messageid": messageid}))

    def app_typing(self, sessionid: str, state: str = "on") -> None:
        """The user is typing."""
        self.emit_event("typing", {"sessionid": sessionid, "state": state})

    def emit_event(
        self, method: str, params: Any, *, api_key: str | None = None, delay: float = 0.0, copies: int = 1
    ) -> asyncio.Task[None] | None:
        """Post any webhook, also one that Ringotel never sent. None without a `hook_url`."""
        if not self.hook_url:
            return None
        return self.emit(self.hook(method, params, api_key=api_key), delay=delay, copies=copies)

    def hook(self, method: str, params: Any, *, api_key: str | None = None) -> Hook:
        """A webhook as Ringotel writes it: its only credential is the key in the body."""
        value = {"method": method, "params": params, "api_key": self.api_key if api_key is None else api_key}
        try:
            body = json.dumps(value, ensure_ascii=self.escape_hooks).encode()
        except UnicodeEncodeError:
            body = json.dumps(value).encode()
        return Hook(self.hook_url, body, {"Content-Type": "application/json"})

    def close_session(self, sessionid: str) -> None:
        """The platform closes a session; nothing tells of it."""
        self.desk.sessions[sessionid].open = False

    # --- what there is to see ---

    def chat(
        self,
        extension: str,
        contact: str,
        organization: str | None = None,
        *,
        by: Literal["arrival", "time"] = "arrival",
    ) -> list[Message]:
        """All that the user sees in the chat with a contact, over all its sessions; deleted messages are not seen.

        In the order of arrival, or by the times shown.
        """
        key = chat_key(self._organization(organization).id, extension, contact)
        seen = [message for message in self.desk.chats.get(key, ()) if not message.deleted]
        return seen if by == "arrival" else sorted(seen, key=lambda message: message.shown_at)

    def sessions_of(self, extension: str, contact: str, organization: str | None = None) -> list[Session]:
        """Every session that the chat ever had, oldest first."""
        key = chat_key(self._organization(organization).id, extension, contact)
        return [s for s in self.desk.sessions.values() if chat_key(s.organization, s.extension, s.contact) == key]

    def _organization(self, orgid: str | None) -> Organization:
        return next(iter(self.desk.organizations.values())) if orgid is None else self.desk.organizations[orgid]

    # --- the API ---

    async def _api(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        method, params, problem = await _read(request)
        if not hmac.compare_digest(given, f"Bearer {self.api_key}".encode()):
            problem = _error("Unauthorized", status=401)
        name = "open" if method == "message" and api.opens(params) and problem is None else method
        call = Call(name, params, dict(request.headers), asyncio.get_running_loop().time())

        async def do() -> web.Response:
            if problem is not None:
                return problem
            try:
                return await self._do(name, params)
            except Refusal as refusal:
                return _error(str(refusal))

        return await self.answer(request, call, do)

    async def _do(self, name: str, params: Params) -> web.Response:
        if name == "getOrganizations":
            return _result([api.told_organization(each) for each in self.desk.organizations.values()])
        where = self.desk.organization(params.get("orgid"), params.get("domain"))
        if name == "message":
            taken = api.take_message(self.desk, where, params, reopen_keeps=self.reopen_keeps)
            if taken.message is not None:
                await self._echo(taken.message, taken.session)
            return _shaped(self.reopen_shape if taken.reopened else self.reply_shape, taken)
        if name == "open":
            session, fresh = api.open_session(self.desk, where, params, always_new=self.open_always_new)
            self.open_calls.append(Opened(where.id, session.extension, session.contact, session.id, fresh))
            return _result({"sessionid": session.id})
        if name in ("delivered", "read", "typing", "updated", "deleted"):
            api.indicate(self.desk, where, name, params)
            return _result({})
        if name == "getChatUsers":
            return _result([api.told_chat_user(user) for user in where.users.values()])
        if name == "getUsers":
            return _result([api.told_user(where, user) for user in where.users.values()])
        if name == "getSMSTrunks":
            return _result([api.told_number(number, users) for number, users in where.numbers.items()])
        raise Refusal("Unknown method")

    async def _echo(self, message: Message, session: Session) -> None:
        if self.echo == "none" or not self.hook_url:
            return
        hook = self.hook("message", self._told(message, session))
        if self.echo == "after":
            self.emit(hook, delay=_SOON)
        elif not 200 <= await self.post(hook) < 300:
            self.emit(hook, delay=_SOON)  # the answer does not wait for ever

    def _told(self, message: Message, session: Session) -> Params:
        """`params` of the webhook for a message: whoever wrote it, `from` is the user and `to` the contact."""
        outgoing = message.direction == "outgoing"
        extension = message.sender if outgoing else session.extension
        user = self.desk.organizations[session.organization].users.get(extension)
        return {
            "senderid" if session.opaque else "to": session.contact,
            "from": extension,
            "orgid": session.organization,
            **({} if user is None else {"userid": user.id}),
            "messageid": message.id,
            "sessionid": session.id,
            "content": message.content,
            "type": message.type,
        }


async def _read(request: web.Request) -> tuple[str, Params, web.Response | None]:
    """Method, parameters, and the answer to give instead of carrying it out."""
    if request.content_type.startswith("multipart/"):
        return "message", {}, _error("file upload is not simulated", status=501)
    try:
        asked = json.loads(await request.read())
        return str(asked["method"]), dict(asked.get("params") or {}), None
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", {}, _error("Bad request", status=400)


def _shaped(shape: Shape, taken: api.Taken) -> web.Response:
    if shape == "empty":
        return web.Response()
    result: Params = {}
    if shape in ("messageid", "both") and taken.message is not None:
        result["messageid"] = taken.message.id
    if shape in ("sessionid", "both") or (shape == "messageid" and taken.message is None):
        result["sessionid"] = taken.session.id
    return _result(result)


def _result(result: Any) -> web.Response:
    return web.Response(body=json.dumps({"result": result}).encode(), content_type="application/json")


def _error(message: str, *, status: int = 200) -> web.Response:
    body = json.dumps({"error": {"message": message}}).encode()
    return web.Response(status=status, body=body, content_type="application/json")
