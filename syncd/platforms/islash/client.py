"""One account at iSlash: its webhook addresses, sends and a read-only check."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote, quote_plus

import aiohttp

from syncd.engine.platform import AccountSetup, Door, Finding, HookRequest, Page, RawEvent, Refused
from syncd.model.facts import Fact
from syncd.model.sending import AuthFailed, Gone, Opening, Outgoing, RateLimited, Rejected, SendError, Sent
from syncd.platforms.http import Http
from syncd.platforms.islash import answers, inbound, wire
from syncd.platforms.islash.settings import ISlashAccount, ISlashEnd


class ISlash:
    """The `Platform` of one iSlash account. Its ends are called by their links' names (A3)."""

    def __init__(self, setup: AccountSetup, http: Http) -> None:
        account: ISlashAccount = setup.settings
        self._http = http
        self._base_url = account.base_url
        self._in_query = account.param_style == "query"
        self._headers = {"X-USER-TOKEN": account.user_token.reveal(), "Accept": "application/json"}
        self._ends: dict[str, ISlashEnd] = {end.key: end.settings for end in setup.ends}
        keys = [account.user_token.reveal()]
        for end in self._ends.values():
            keys += (end.session.reveal(), end.webhook_secret.reveal())
        # In an URL that an answer may quote, a key stands encoded. Longest first: a key may hold another one.
        spellings = {spelling for key in keys for spelling in (key, quote(key, safe=""), quote_plus(key))}
        self._secrets = tuple(sorted(spellings, key=lambda key: (-len(key), key)))
        self._masks = inbound.masks(self._secrets)

    def doors(self) -> tuple[Door, ...]:
        """One address a session: the secret in it authenticates the webhook and names the session (A2, A3)."""
        return tuple(Door(link, end.webhook_secret.reveal(), link) for link, end in self._ends.items())

    def verify(self, request: HookRequest) -> tuple[RawEvent, ...]:
        """Split a webhook, which its secret path has authenticated, into events in the order said.

        Raises `Refused`: 404 for an end that is not on this account, 400 for what is not JSON.
        """
        if request.end not in self._ends:
            raise Refused(404, "no such webhook address")
        return inbound.events(request.end, request.body, self._masks)

    def parse(self, event: RawEvent) -> tuple[Fact, ...]:
        """What the event says. Pure; never raises."""
        return inbound.facts(event)

    async def send(self, outgoing: Outgoing) -> Sent:
        """Send one free-form text (§3). Not idempotent: iSlash takes no key of ours. Raises a `SendError`."""
        if not outgoing.text:
            raise Rejected("there is no text to send")
        address = outgoing.spelling or outgoing.contact
        params = [
            ("session", self._end(outgoing.end).session.reveal()),
            ("identity", wire.well_formed(wire.phone(address) or address)),
            ("text", wire.well_formed(outgoing.text)),
        ]
        url = f"{self._base_url}/send-session-message"
        if self._in_query:
            answer = await self._http.request("POST", url, headers=self._headers, params=params)
        else:
            # Multipart for text alone too: the documentation names no other type, and aiohttp would choose one (§3).
            form = aiohttp.FormData(params, default_to_multipart=True)
            answer = await self._http.request("POST", url, headers=self._headers, data=form)
        return answers.outcome(answer, answers.Redaction(self._secrets, outgoing.text))

    async def probe(self) -> tuple[Finding, ...]:
        """List the stickers of every session (§6.6): it only reads, and needs the host, the token and the session."""
        if not self._ends:
            return (Finding(True, "account", "no link uses it, so there is no session to try"),)
        return tuple([await self._probe(link, end) for link, end in self._ends.items()])

    async def open_session(self, opening: Opening) -> str:
        """A channel has no sessions in syncd's sense."""
        raise NotImplementedError

    async def find_sent(self, outgoing: Outgoing, since: datetime) -> Sent | None:
        """iSlash has no call that lists messages (§0)."""
        raise NotImplementedError

    async def poll(self, end: str, cursor: str | None, now: datetime) -> Page:
        """iSlash has no call that lists messages (§0)."""
        raise NotImplementedError

    async def register_hooks(self, *, dry_run: bool) -> tuple[Finding, ...]:
        """Where webhooks are registered is not documented (§7)."""
        raise NotImplementedError

    async def _probe(self, link: str, end: ISlashEnd) -> Finding:
        params = [("session", end.session.reveal())]
        try:
            answer = await self._http.request("GET", f"{self._base_url}/sticker", headers=self._headers, params=params)
            answers.outcome(answer, answers.Redaction(self._secrets))
        except SendError as error:
            return Finding(False, link, _advice(error))
        return Finding(True, link, "host, token and session are accepted")

    def _end(self, key: str) -> ISlashEnd:
        try:
            return self._ends[key]
        except KeyError:
            raise Gone(f"no link named {key} has a session on this account") from None


def _advice(error: SendError) -> str:
    if error.http_status is None:
        return f"{error.reason}; check base_url, and that this machine may reach it"
    if isinstance(error, AuthFailed | RateLimited):
        return error.reason
    if error.http_status >= 500:
        return f"HTTP {error.http_status}: iSlash is not well, try again later"
    if isinstance(error, Rejected) and error.http_status < 300:
        return f"{error.reason}; check the session key"
    return f"HTTP {error.http_status} without iSlash's envelope: base_url is not the address of its API"
