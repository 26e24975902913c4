"""One account at iSlash: its webhook addresses, sends and a read-only check."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import BinaryIO
from urllib.parse import quote, quote_plus, urlsplit

import aiohttp

from syncd.engine.platform import AccountSetup, Credential, Door, Finding, HookRequest, Minimal, RawEvent, Refused
from syncd.model.facts import Fact
from syncd.model.files import File
from syncd.model.sending import AuthFailed, EndRefused, Gone, NotSent, Outgoing, RateLimited, Rejected, SendError, Sent
from syncd.platforms.http import Answer, Http
from syncd.platforms.islash import answers, inbound, wire
from syncd.platforms.islash.settings import ISlashAccount, ISlashEnd

SEND_SECONDS = 30.0
BYTES_A_SECOND = 100_000
"""How slow an upload may be: a file's send may take `SEND_SECONDS` and as long as its bytes do at this speed."""
_PORTS = {"https": 443, "http": 80}


class ISlash(Minimal):
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
        self._media_url_template = account.media_url_template
        self._credential = _credential(account)

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
        return inbound.facts(event, self._media_url_template)

    def media_credential(self) -> Credential | None:
        """The token, for the API's own host only, where `media_url_template` leads there (A8).

        Addresses that a webhook gives are open to who knows them.
        """
        return self._credential

    async def send(self, outgoing: Outgoing) -> Sent:
        """Send one free-form text, or one file with or without a caption (§3, A12, A13). Raises a `SendError`.

        Not idempotent: iSlash takes no key of ours.
        """
        if not outgoing.text and outgoing.file is None:
            raise Rejected("there is nothing to send")
        address = outgoing.spelling or outgoing.contact
        params = [
            ("session", self._end(outgoing.end).session.reveal()),
            ("identity", wire.well_formed(wire.phone(address) or address)),
        ]
        if outgoing.text:
            params.append(("text", wire.well_formed(outgoing.text)))
        answer = await self._post(params, outgoing.file)
        return answers.outcome(answer, answers.Redaction(self._secrets, outgoing.text))

    async def probe(self) -> tuple[Finding, ...]:
        """List the stickers of every session (§6.6): it only reads, and needs the host, the token and the session."""
        if not self._ends:
            return (Finding(True, "account", "no link uses it, so there is no session to try"),)
        return tuple([await self._probe(link, end) for link, end in self._ends.items()])

    async def _post(self, params: list[tuple[str, str]], file: File | None) -> Answer:
        """The call of §3, with its parameters where this installation wants them and the file as the last part."""
        # Multipart for text alone too: the documentation names no other type, and aiohttp would choose one (§3).
        # Names stand plainly, as browsers write them: a server may take an escaped name for the name.
        form = aiohttp.FormData([] if self._in_query else params, quote_fields=False, default_to_multipart=True)
        query = params if self._in_query else None
        url = f"{self._base_url}/send-session-message"
        if file is None:
            body = None if self._in_query else form
            return await self._http.request("POST", url, headers=self._headers, params=query, data=body)
        seconds = SEND_SECONDS + file.size / BYTES_A_SECOND
        async with AsyncExitStack() as lent:
            content = await _opened(lent, file)
            form.add_field("file", content, filename=wire.well_formed(file.name), content_type=file.content_type)
            return await self._http.request(
                "POST", url, headers=self._headers, params=query, data=form, timeout=seconds
            )

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


async def _opened(lent: AsyncExitStack, file: File) -> BinaryIO:
    try:
        return await lent.enter_async_context(file.lend())
    except OSError as error:
        raise NotSent(f"the file cannot be opened: {error.strerror or type(error).__name__}") from error


def _credential(account: ISlashAccount) -> Credential | None:
    template = account.media_url_template
    if template is None or _origin(template) != _origin(account.base_url):
        return None
    _, host, port = _origin(template)
    place = f"[{host}]" if ":" in host else host
    return Credential("X-USER-TOKEN", account.user_token.reveal(), (f"{place}:{port}",))


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme]


def _advice(error: SendError) -> str:
    if error.http_status is None:
        return f"{error.reason}; check base_url, and that this machine may reach it"
    if isinstance(error, AuthFailed | EndRefused | RateLimited):
        return error.reason
    if error.http_status >= 500:
        return f"HTTP {error.http_status}: iSlash is not well, try again later"
    if isinstance(error, Rejected) and error.http_status < 300:
        return f"{error.reason}; check the session key"
    return f"HTTP {error.http_status} without iSlash's envelope: base_url is not the address of its API"
