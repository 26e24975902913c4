"""One request to Bird, and what its answer means (page §1, §5, §10)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import aiohttp
import msgspec

from syncd.model.sending import AuthFailed, Gone, MaybeSent, NotSent, RateLimited, Rejected, SendError
from syncd.platforms import codec
from syncd.platforms.bird.settings import BirdAccount
from syncd.platforms.bird.wire import Listing, Problem, Wire, text
from syncd.platforms.http import Answer, Http

PAGE = 100
"""Rows asked for at once: the general maximum, although the lists' schema says 1,000 (page §15.3)."""

_LISTING = msgspec.json.Decoder(Listing)
_PROBLEM = msgspec.json.Decoder(Problem)
_W = TypeVar("_W", bound=Wire)


class Api:
    """The workspace's API with the account's key."""

    def __init__(self, settings: BirdAccount, http: Http) -> None:
        self._http = http
        self._base = settings.base_url
        self.plain = settings.base_url.startswith("http://")
        """Configured without TLS: the hosts that Bird names may then be so too."""
        self._secrets = (settings.access_key.reveal(), *(key.reveal() for key in settings.signing_key))
        self._headers = {
            "Accept": "application/json",
            "Authorization": f"AccessKey {settings.access_key.reveal()}",
        }
        self._json_headers = self._headers | {"Content-Type": "application/json"}
        self.workspace = f"/workspaces/{settings.workspace}"
        self.administration = (
            f"/organizations/{settings.organization}{self.workspace}" if settings.organization else self.workspace
        )
        """Where webhook subscriptions live: the organization's path where it is known (page §7.1)."""

    def messages(self, channel: str) -> str:
        """Path of a channel's messages."""
        return f"{self.workspace}/channels/{channel}/messages"

    async def call(
        self, method: str, path: str, body: Any = None, params: list[tuple[str, str]] | None = None
    ) -> Answer:
        """One request; any status is an answer. Raises `NotSent` or `MaybeSent` (see `Http.request`)."""
        if body is None:
            return await self._http.request(method, self._base + path, headers=self._headers, params=params)
        data = codec.encode(body)
        return await self._http.request(method, self._base + path, headers=self._json_headers, params=params, data=data)

    def uploads(self, channel: str) -> str:
        """Path of the tickets for uploads to one channel: the one that the documented policy grants (page §1)."""
        return f"{self.workspace}/channels/{channel}/presigned-upload"

    async def hand_over(self, method: str, url: str, form: aiohttp.FormData, *, timeout: float) -> Answer:
        """One request to a host that Bird named, which is not shown the key. Raises as `call` does."""
        return await self._http.request(method, url, headers={}, data=form, timeout=timeout)

    async def read(
        self, path: str, decoder: msgspec.json.Decoder[_W], params: list[tuple[str, str]] | None = None
    ) -> _W:
        """The answer of a GET. Raises a `SendError`; `NotSent` says that asking again is all that is needed."""
        try:
            answer = await self.call("GET", path, params=params)
        except MaybeSent as error:
            raise NotSent(error.reason) from error
        if not 200 <= answer.status < 300:
            raise self.refusal(answer)
        try:
            return codec.decode(answer.body, decoder)
        except (ValueError, msgspec.MsgspecError):
            raise NotSent(
                "Bird answered a read with something that is not its JSON",
                http_status=answer.status,
                answer=self.shown(answer),
            ) from None

    def refusal(self, answer: Answer) -> SendError:
        """What a non-2xx answer to a read means. A channel or subscription that is not there is `Gone`."""
        reason, shown, status = self.problem(answer), self.shown(answer), answer.status
        if status in (401, 403):
            return AuthFailed(reason, http_status=status, answer=shown)
        if status == 429:
            return RateLimited(reason, retry_after=answer.retry_after, http_status=status, answer=shown)
        if status in (404, 410):
            return Gone(reason, http_status=status, answer=shown)
        if 400 <= status < 500 and status != 408:
            return Rejected(reason, http_status=status, answer=shown)
        return NotSent(reason, http_status=status, answer=shown)

    def problem(self, answer: Answer, *hidden: str) -> str:
        """An error in one line: `code: message`, or the status where the body names none. `hidden` is masked."""
        try:
            found = codec.decode(answer.body, _PROBLEM)
        except (ValueError, msgspec.MsgspecError):
            found = Problem()
        said = ": ".join(part for part in (text(found.code), text(found.message)) if part)
        return self._masked(f"HTTP {answer.status} {said}".strip(), hidden)[:300]

    def shown(self, answer: Answer, *hidden: str) -> str:
        """An answer for the record: Bird's request id, then the body with keys and `hidden` texts masked."""
        # Masked before it is cut, or a text that is cut in two would stay.
        body = self._masked(answer.body[:65536].decode("utf-8", "replace"), hidden)
        request = answer.headers.get("messagebird-request-id")
        return f"[{request[:60]}] {body}"[:1000] if request else body[:1000]

    def _masked(self, words: str, hidden: tuple[str, ...]) -> str:
        for secret in self._secrets:
            words = words.replace(secret, "***")
        for content in hidden:
            # A word of two letters would mask half of any answer, and tells nothing.
            if len(content) > 2:
                for spelling in (content, json.dumps(content)[1:-1], json.dumps(content, ensure_ascii=False)[1:-1]):
                    words = words.replace(spelling, "(text)")
        return words


class Pages:
    """A list read page by page, in whatever order the server has (page §5).

    After the last page `looped` says that the server gave a token twice, and `bounded` that a limit ended the reading:
    in both cases the list is not whole.
    """

    def __init__(
        self, api: Api, path: str, params: list[tuple[str, str]], *, most_pages: int, most_bytes: int = 32 << 20
    ) -> None:
        self._api = api
        self._path = path
        self._params = [*params, ("limit", str(PAGE))]
        self._most_pages = most_pages
        self._most_bytes = most_bytes
        self.count = 0
        self.looped = False
        self.bounded = False

    async def read(self) -> AsyncIterator[list[Any]]:
        """The rows, a page at a time. Raises a `SendError`."""
        seen: set[str] = set()
        token: str | None = None
        size = 0
        while True:
            params = self._params if token is None else [*self._params, ("pageToken", token)]
            listing = await self._page(params, first=token is None)
            self.count += 1
            rows = listing.results or []
            size += sum(len(codec.encode(row)) for row in rows)
            yield rows
            token = text(listing.next_page_token)
            if token is None:
                return
            if token in seen:
                self.looped = True
                return
            if self.count >= self._most_pages or size > self._most_bytes:
                self.bounded = True
                return
            seen.add(token)

    async def _page(self, params: list[tuple[str, str]], *, first: bool) -> Listing:
        try:
            return await self._api.read(self._path, _LISTING, params)
        except (Rejected, Gone) as error:
            if first:
                raise
            # The first page was given, so it is the token that is refused: begin again from the start (page §15.4).
            raise NotSent(
                f"the page token was refused: {error.reason}", http_status=error.http_status, answer=error.answer
            ) from error
