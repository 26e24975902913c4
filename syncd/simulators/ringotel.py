"""Ringotel simulated: the Messaging API over HTTP, beside the users and their app (`ringotel_app`)."""

from __future__ import annotations

import asyncio
import hmac
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
from aiohttp import web

from syncd.simulators import ringotel_calls as api
from syncd.simulators.base import Call, Fault
from syncd.simulators.ringotel_app import App
from syncd.simulators.ringotel_desk import Message, Organization, Refusal, Session
from syncd.simulators.ringotel_files import StoredFile, Unfetchable, fetch, linked, read_form, served

Params = dict[str, Any]
Shape = Literal["messageid", "sessionid", "both", "empty", "{}"]
"""Of an answer to a `message` with content: which ids it names; an empty 200; a `result` without ids."""

_SOON = 0.05
"""Seconds after the answer at which a late echo is posted, or a link fetched."""


@dataclass(frozen=True, slots=True)
class Opened:
    """One open-session call that was carried out."""

    organization: str
    extension: str
    contact: str
    sessionid: str
    fresh: bool
    """False where it answered with a session that was open already."""


class RingotelSimulator(App):
    """One Ringotel account. Give it organizations and users, and `hook_url` to post webhooks to.

    Names of calls (`calls_of`): `message`, `open` for a `message` without content, `file` for a file that is fetched
    from here, else the method. An upload is a `message` with the file's name as `file`.
    """

    def __init__(
        self, api_key: str = "ringotel-key", *, hook_url: str = "", first_id: int = 18446744073709551615
    ) -> None:
        super().__init__(api_key, hook_url, first_id)
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
        self.refuse_files = False
        """Links and uploads are answered with an `error`."""
        self.fetch_links: Literal["before", "after"] = "before"
        """Whether a link is fetched before its answer (what cannot be fetched is then an `error`) or after it."""
        self.place_uploads = True
        """An upload's `sessionid` and `timestamp` count; False: they are passed over."""

    @property
    def api_url(self) -> str:
        """The account's `base_url`."""
        return f"{self.url}/api"

    def routes(self, app: web.Application) -> None:
        """`POST /api` and `/api/`, for every method; `GET /files/TOKEN/NAME`."""
        app.router.add_post("/api", self._api)
        app.router.add_post("/api/", self._api)
        app.router.add_get("/files/{token}/{name}", self._file)

    async def _file(self, request: web.Request) -> web.Response:
        token, name = request.match_info["token"], request.match_info["name"]
        call = Call("file", {"token": token, "name": name}, dict(request.headers), asyncio.get_running_loop().time())

        async def do() -> web.Response:
            return served(self.desk.files.get(token))

        return await self.answer(request, call, do)

    async def _api(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        method, params, upload, problem = await _read(request)
        if not hmac.compare_digest(given, f"Bearer {self.api_key}".encode()):
            problem = _error("Unauthorized", status=401)
        name = "open" if method == "message" and api.opens(params) and problem is None else method
        call = Call(name, params, dict(request.headers), asyncio.get_running_loop().time())

        async def do() -> web.Response:
            if problem is not None:
                return problem
            try:
                return await self._do(name, params, upload)
            except Refusal as refusal:
                return _error(str(refusal))

        return await self.answer(request, call, do)

    async def _do(self, name: str, params: Params, upload: StoredFile | None) -> web.Response:
        if name == "getOrganizations":
            return _result([api.told_organization(each) for each in self.desk.organizations.values()])
        where = self.desk.organization(params.get("orgid"), params.get("domain"))
        if name == "message":
            return await self._message(where, params, upload)
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

    def _fault_for(self, call: Call) -> Fault | None:
        """A directory is read in the background, at any time: only a fault that says so strikes that."""
        faults = self.faults
        if call.name == "getChatUsers":
            self.faults = [fault for fault in faults if fault.match is not None]
        try:
            return super()._fault_for(call)
        finally:
            self.faults = faults

    async def _message(self, where: Organization, params: Params, upload: StoredFile | None) -> web.Response:
        link = api.links(params)
        file = upload if link is None else linked(link)
        if upload is not None and not self.place_uploads:
            params = {name: value for name, value in params.items() if name not in ("sessionid", "timestamp")}
        if file is not None and self.refuse_files:
            raise Refusal("Files are not accepted")
        if file is not None and link is not None:
            await self._get(link, file)
        taken = api.take_message(
            self.desk,
            where,
            params,
            file=file,
            address="" if file is None else self.url + file.path,
            reopen_keeps=self.reopen_keeps,
        )
        if file is not None:
            self.desk.keep_file(file)
        if taken.message is not None:
            await self._echo(taken.message, taken.session)
        return _shaped(self.reopen_shape if taken.reopened else self.reply_shape, taken)

    async def _get(self, link: str, file: StoredFile) -> None:
        """Fetch a link's file, now or soon. Raises `Refusal`."""
        assert self._client is not None, "start() first"
        if self.fetch_links == "after":
            task = asyncio.get_running_loop().create_task(self._get_later(self._client, link, file))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)
            return
        try:
            await fetch(self._client, link, file)
        except Unfetchable:
            raise Refusal("File cannot be fetched") from None

    @staticmethod
    async def _get_later(client: aiohttp.ClientSession, link: str, file: StoredFile) -> None:
        await asyncio.sleep(_SOON)
        with suppress(Unfetchable):
            await fetch(client, link, file)

    async def _echo(self, message: Message, session: Session) -> None:
        if self.echo == "none" or not self.hook_url:
            return
        hook = self.hook("message", self.told(message, session))
        if self.echo == "after":
            self.emit(hook, delay=_SOON)
        elif not 200 <= await self.post(hook) < 300:
            self.emit(hook, delay=_SOON)  # the answer does not wait for ever


async def _read(request: web.Request) -> tuple[str, Params, StoredFile | None, web.Response | None]:
    """Method, parameters, an uploaded file, and the answer to give instead of carrying it out."""
    try:
        if request.content_type.startswith("multipart/"):
            params, upload = await read_form(request)
            return str(params.get("method", "message")), params, upload, None
        asked = json.loads(await request.read())
        return str(asked["method"]), dict(asked.get("params") or {}), None, None
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", {}, None, _error("Bad request", status=400)


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
