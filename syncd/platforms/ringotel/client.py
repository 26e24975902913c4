"""Calls to Ringotel: one message, one session, and a look at the account (page §4, §9)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from syncd.engine.platform import EndSetup, Finding
from syncd.model.sending import Author, MaybeSent, Opening, Outgoing, SendError, Sent
from syncd.platforms import codec
from syncd.platforms.http import Http
from syncd.platforms.ringotel.answers import Ids, Veil, result_of

Method = Literal["message", "getOrganizations", "getChatUsers", "getSMSTrunks"]
Params = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PHONE = re.compile(r"\+?[0-9]+", re.ASCII)
_SHARED_NUMBER = re.compile(r"\+?[0-9]{7,}", re.ASCII)
"""Too long for an extension: a number (DID) that stands in a user's place."""


class Client:
    """The calls of one account. Each method is one HTTP request per call it makes, never repeated."""

    def __init__(self, http: Http, base_url: str, keys: tuple[str, ...], *, resend_on_reopen: bool = False) -> None:
        """`keys[0]` is used for calls; all of them are kept out of what is told of answers."""
        self._http = http
        self._url = base_url
        self._keys = keys
        self._resend_on_reopen = resend_on_reopen
        self._headers = {"Authorization": f"Bearer {keys[0]}", "Content-Type": "application/json"}

    async def send(self, outgoing: Outgoing) -> Sent:
        """Put one copy into one chat. Raises a `SendError`. Not idempotent: Ringotel has no key for it (page §7)."""
        params = message_params(outgoing)
        sent = await self._message(params, said=outgoing.text)
        reopened = sent.sessionid is not None and sent.sessionid != outgoing.sessionid
        if not (self._resend_on_reopen and outgoing.sessionid is not None and reopened and sent.messageid is None):
            return sent
        again = await self._message(params | {"sessionid": sent.sessionid}, said=outgoing.text)
        return Sent(again.messageid, again.sessionid or sent.sessionid, again.http_status, again.answer)

    async def open_session(self, opening: Opening) -> str:
        """The session of a user's chat with a contact, without a message in it. Raises a `SendError`.

        Not idempotent: another call may open another session although one is open (page §6).
        """
        params = {"orgid": opening.end, **contact_speaks(opening.contact, opening.spelling, opening.name)}
        sent = await self._message(params | {"to": opening.extension})
        if sent.sessionid is None:
            raise MaybeSent("the answer names no session", http_status=sent.http_status, answer=sent.answer)
        return sent.sessionid

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

    async def _message(self, params: Params, *, said: str = "") -> Sent:
        status, result = await self._call("message", params, said)
        ids = Ids.of(result)
        if not ids:
            raise MaybeSent("the answer names neither message nor session", http_status=status, answer="no ids")
        return Sent(ids.messageid, ids.sessionid, status, str(ids))

    async def _list(self, method: Method, params: Params) -> list[Params]:
        status, result = await self._call(method, params, "")
        if not isinstance(result, list):
            raise MaybeSent(f"the answer to {method} is no list", http_status=status)
        return [each for each in result if isinstance(each, dict)]

    async def _call(self, method: Method, params: Params, said: str) -> tuple[int, Any]:
        body = codec.encode({"method": method, "params": params})
        answer = await self._http.request("POST", self._url, headers=self._headers, data=body)
        return answer.status, result_of(answer, Veil(self._keys, said))


def message_params(outgoing: Outgoing) -> Params:
    """Parameters of the `message` call for one copy (design §9).

    A contact's live message carries no `timestamp`: with one, Ringotel files it as history and tells nobody
    (page §4.4). What our side said elsewhere carries it, to stand where it was said.
    """
    params: Params = {"orgid": outgoing.end}
    if outgoing.author is Author.CONTACT:
        params |= contact_speaks(outgoing.contact, outgoing.spelling, outgoing.name)
        params["to"] = outgoing.extension
    else:
        params["from"] = outgoing.author_extension or outgoing.extension
        params["to"] = outgoing.spelling or outgoing.contact
        params["timestamp"] = (outgoing.said_at - _EPOCH) // timedelta(milliseconds=1)
    params["content"] = outgoing.text
    if outgoing.sessionid is not None:
        params["sessionid"] = outgoing.sessionid
    return params


def contact_speaks(contact: str, spelling: str | None, name: str | None) -> Params:
    """The author's part of a call in a contact's name: a number is `from`, any other address `senderid`."""
    if _PHONE.fullmatch(contact):
        return {"from": spelling or contact}
    return {"senderid": spelling or contact} | ({"sendername": name} if name else {})
