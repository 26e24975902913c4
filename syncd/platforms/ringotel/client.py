"""Calls to Ringotel: a message, what is done to one, a session, and a look at the account (page §4, §9)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import aiohttp

from syncd.engine.platform import EndSetup, Finding
from syncd.model.files import File
from syncd.model.sending import (
    Author,
    Change,
    MaybeSent,
    NotSent,
    Opening,
    Outgoing,
    Receipt,
    Rejected,
    SendError,
    Sent,
)
from syncd.model.text import storable
from syncd.platforms import codec
from syncd.platforms.http import Answer, Http
from syncd.platforms.ringotel import wire
from syncd.platforms.ringotel.answers import Ids, Veil, look_at_indication, result_of

Indication = Literal["delivered", "read", "updated", "deleted"]
Method = Literal["message", "getOrganizations", "getChatUsers", "getSMSTrunks"] | Indication
Params = dict[str, Any]

LINK: Final = 7
"""`type` of a message whose content is an address that Ringotel fetches (page §4.2)."""
_UPLOAD_SECONDS: Final = 30.0
_SLOWEST_LINE: Final = 100_000
"""Bytes a second that an upload may be as slow as."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PHONE = re.compile(r"\+?[0-9]+", re.ASCII)
_SHARED_NUMBER = re.compile(r"\+?[0-9]{7,}", re.ASCII)
"""Too long for an extension: a number (DID) that stands in a user's place."""


class Client:
    """The calls of one account. Each method is one HTTP request per call it makes, never repeated."""

    def __init__(
        self,
        http: Http,
        base_url: str,
        keys: tuple[str, ...],
        *,
        uploads: bool = False,
        resend_on_reopen: bool = False,
    ) -> None:
        """`keys[0]` is used for calls; all of them are kept out of what is told of answers.

        `uploads`: files are sent with the call; otherwise Ringotel fetches them from their links.
        """
        self._http = http
        self._url = base_url
        self._keys = keys
        self._uploads = uploads
        self._resend_on_reopen = resend_on_reopen
        self._authorization = {"Authorization": f"Bearer {keys[0]}"}
        self._json = self._authorization | {"Content-Type": "application/json"}

    async def send(self, outgoing: Outgoing) -> Sent:
        """Put one copy into one chat. Raises a `SendError`. Not idempotent: Ringotel has no key for it (page §7)."""
        file = outgoing.file if self._uploads and outgoing.copy_of is None else None
        params = message_params(outgoing, uploaded=file is not None)
        sent = await self._put(params, file)
        reopened = sent.sessionid is not None and sent.sessionid != outgoing.sessionid
        if not (self._resend_on_reopen and outgoing.sessionid is not None and reopened and sent.messageid is None):
            return sent
        again = await self._put(params | {"sessionid": sent.sessionid}, file)
        return Sent(again.messageid, again.sessionid or sent.sessionid, again.http_status, again.answer)

    async def edit(self, change: Change) -> Sent:
        """Give a message another text. Raises a `SendError`, never `MaybeSent`: it may be repeated."""
        params = {"orgid": change.end, "messageid": change.messageid, "content": change.text}
        return await self._indicate("updated", params, said=change.text)

    async def delete(self, change: Change) -> Sent:
        """Take a message back. Raises a `SendError`, never `MaybeSent`: it may be repeated."""
        return await self._indicate("deleted", {"orgid": change.end, "messageid": change.messageid})

    async def receipt(self, change: Change, receipt: Receipt) -> Sent:
        """Tell a user that the contact got a message, or has read the chat up to now: Ringotel has no `read` of one.

        Raises a `SendError`, never `MaybeSent`: it may be repeated.
        """
        if receipt is Receipt.DELIVERED:
            return await self._indicate("delivered", {"orgid": change.end, "messageid": change.messageid})
        if change.sessionid is None:
            raise Rejected("the session of the message is not known, and Ringotel takes `read` for a session only")
        return await self._indicate("read", {"orgid": change.end, "sessionid": change.sessionid})

    async def open_session(self, opening: Opening) -> str:
        """The session of a user's chat with a contact, without a message in it. Raises a `SendError`.

        Not idempotent: another call may open another session although one is open (page §6).
        """
        params = {"orgid": opening.end, **contact_speaks(opening.contact, opening.spelling, opening.name)}
        sent = await self._put(params | {"to": opening.extension})
        if sent.sessionid is None:
            raise MaybeSent("the answer names no session", http_status=sent.http_status, answer=sent.answer)
        return sent.sessionid

    async def users(self, orgid: str) -> dict[str, str]:
        """The extension of each user of an organization, by `userid`. Read-only. Raises a `SendError`.

        Who has no extension, as a parking slot, is left out; ids and extensions come as text or as numbers.
        """
        found = ((each.get("id"), each.get("phone")) for each in await self._list("getChatUsers", {"orgid": orgid}))
        named = ((wire.identifier(userid), wire.identifier(phone)) for userid, phone in found)
        return {userid: extension for userid, extension in named if userid is not None and extension is not None}

    async def probe(self, ends: Sequence[EndSetup]) -> tuple[Finding, ...]:
        """Look whether the key works and every configured organization and user exists. Read-only, never raises."""
        try:
            organizations = {str(each.get("id")): each for each in await self._list("getOrganizations", {})}
        except SendError as error:
            advice = "look at api_key and base_url; a new key is made in the Shell portal under API Settings"
            return (Finding(False, "Ringotel API", f"{error.reason}; {advice}"),)
        findings = [Finding(True, "Ringotel API", f"the key works; organizations: {len(organizations)}")]
        users: dict[str, dict[str, None]] = {}
        for end in ends:
            users.setdefault(end.settings.organization, {}).update(dict.fromkeys(end.settings.users))
        for orgid, extensions in users.items():
            findings += await self._probe_organization(orgid, organizations.get(orgid), list(extensions))
        return tuple(findings)

    async def _probe_organization(self, orgid: str, organization: Params | None, wanted: list[str]) -> list[Finding]:
        subject = f"organization {orgid}"
        if organization is None:
            return [Finding(False, subject, "the key does not see it; copy its id from the Shell portal")]
        if str(organization.get("status", 1)) == "0":
            return [Finding(False, subject, "it is disabled; enable it in the Shell portal")]
        try:
            there = {str(each.get("phone")) for each in await self._list("getChatUsers", {"orgid": orgid})}
            missing = [user for user in wanted if user not in there]
            if any(_SHARED_NUMBER.fullmatch(user) for user in missing):
                trunks = await self._list("getSMSTrunks", {"orgid": orgid})
                numbers = {str(each.get("number")).lstrip("+") for each in trunks}
                missing = [user for user in missing if user.lstrip("+") not in numbers]
        except SendError as error:
            return [Finding(False, subject, f"its users cannot be read: {error.reason}")]
        findings = [Finding(True, subject, f"{len(wanted) - len(missing)} of {len(wanted)} users found")]
        for user in missing:
            advice = "no such extension or shared number here; correct `users` or add it in the Shell portal"
            findings.append(Finding(False, f"{subject}, user {user}", advice))
        return findings

    async def _put(self, params: Params, file: File | None = None) -> Sent:
        """One `message` call. `file` goes with it, in place of content."""
        answer = await (self._post("message", params) if file is None else self._upload(params, file))
        said = str(params.get("content", "")) if file is None else file.name
        ids = Ids.of(result_of(answer, Veil(self._keys, said)))
        if not ids:
            raise MaybeSent("the answer names neither message nor session", http_status=answer.status, answer="no ids")
        return Sent(ids.messageid, ids.sessionid, answer.status, str(ids))

    async def _list(self, method: Method, params: Params) -> list[Params]:
        answer = await self._post(method, params)
        result = result_of(answer, Veil(self._keys))
        if not isinstance(result, list):
            raise MaybeSent(f"the answer to {method} is no list", http_status=answer.status)
        return [each for each in result if isinstance(each, dict)]

    async def _indicate(self, method: Indication, params: Params, *, said: str = "") -> Sent:
        try:
            answer = await self._post(method, params)
            look_at_indication(answer, Veil(self._keys, said))
        except MaybeSent as doubt:
            # Done twice it is the same as done once, so a doubt needs no settling.
            raise NotSent(doubt.reason, http_status=doubt.http_status, answer=doubt.answer) from doubt
        return Sent(None, http_status=answer.status)

    async def _post(self, method: Method, params: Params) -> Answer:
        body = codec.encode({"method": method, "params": params})
        return await self._http.request("POST", self._url, headers=self._json, data=body)

    async def _upload(self, params: Params, file: File) -> Answer:
        """A `message` call as a form, which has no `method` (page §11.14). The file is read as it is written out."""
        # Names go as UTF-8, as browsers send them; percent signs would stay in what people see.
        form = aiohttp.FormData(quote_fields=False)
        for name, value in params.items():
            form.add_field(name, storable(str(value)))
        seconds = _UPLOAD_SECONDS + file.size / _SLOWEST_LINE
        async with AsyncExitStack() as stack:
            try:
                opened = await stack.enter_async_context(file.lend())
            except OSError as error:
                raise NotSent(f"the file cannot be opened here: {error.strerror or type(error).__name__}") from error
            form.add_field("file", opened, filename=file.name, content_type=file.content_type)
            return await self._http.request("POST", self._url, headers=self._authorization, data=form, timeout=seconds)


def message_params(outgoing: Outgoing, *, uploaded: bool = False) -> Params:
    """Parameters of the `message` call for one copy (design §9).

    A contact's live message carries no `timestamp`: with one, Ringotel files it as history and tells nobody
    (page §4.4). syncd's own word stands in the contact's place (design §14). What our side said elsewhere carries it,
    to stand where it was said; so does history (page §4.4). Where a file is `uploaded` with the
    call, nothing here says what the message holds.
    """
    params: Params = {"orgid": outgoing.end}
    if outgoing.author in (Author.CONTACT, Author.SYNCD):
        params |= contact_speaks(outgoing.contact, outgoing.spelling, outgoing.name)
        params["to"] = outgoing.extension
        timed = outgoing.history
    else:
        params["from"] = outgoing.author_extension or outgoing.extension
        params["to"] = outgoing.spelling or outgoing.contact
        timed = True
    if timed:
        params["timestamp"] = (outgoing.said_at - _EPOCH) // timedelta(milliseconds=1)
    if outgoing.copy_of is not None:
        params["messageid"] = outgoing.copy_of
    elif outgoing.file is None:
        params["content"] = outgoing.text
    elif not uploaded:
        params |= {"content": outgoing.file.link, "type": LINK}
    if outgoing.sessionid is not None:
        params["sessionid"] = outgoing.sessionid
    return params


def contact_speaks(contact: str, spelling: str | None, name: str | None) -> Params:
    """The author's part of a call in a contact's name: a number is `from`, any other address `senderid`."""
    if _PHONE.fullmatch(contact):
        return {"from": spelling or contact}
    return {"senderid": spelling or contact} | ({"sendername": name} if name else {})
