"""What an answer of Ringotel means, as one of the outcomes of a send (page §4.6, §7; design §14)."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

from syncd.model.sending import AuthFailed, MaybeSent, NotSent, RateLimited, Rejected
from syncd.platforms import codec
from syncd.platforms.http import Answer
from syncd.platforms.ringotel import wire

TRIES_OF_500 = 3
"""A 500 with an `error` says that nothing was done; so many in a row are a verdict."""
_RUN = 12
"""So many characters of a message in an answer are a quotation of it."""
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Veil:
    """Keeps the account's keys and the message's own text out of what is kept of an answer (G12)."""

    keys: tuple[str, ...]
    said: str = ""

    def over(self, text: str) -> str:
        """`text` without them, on one line."""
        text = " ".join(text.split())
        for key in self.keys:
            text = text.replace(key, "[key]")
        return "[withheld: repeats the message]" if self._quoted_in(text) else text[:_LONGEST_REASON]

    def _quoted_in(self, text: str) -> bool:
        said = " ".join(self.said.split())
        if len(said) <= _RUN:
            return bool(said) and re.search(rf"(?<!\w){re.escape(said)}(?!\w)", text) is not None
        return any(said[start : start + _RUN] in text for start in range(len(said) - _RUN + 1))


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids that a `result` names. Both look alike, so only the member's name tells which is which."""

    messageid: str | None
    sessionid: str | None

    @classmethod
    def of(cls, result: Any) -> Ids:
        """From a `result` of any shape."""
        if not isinstance(result, dict):
            return cls(None, None)
        return cls(wire.identifier(result.get("messageid")), wire.identifier(result.get("sessionid")))

    def __bool__(self) -> bool:
        return self.messageid is not None or self.sessionid is not None

    def __str__(self) -> str:
        named = (("messageid", self.messageid), ("sessionid", self.sessionid))
        return ", ".join(f"{name} {value}" for name, value in named if value is not None)


def result_of(answer: Answer, veil: Veil) -> Any:
    """The `result` of a call's answer. Raises the `SendError` that the answer amounts to.

    Read in the page's order: HTTP status, JSON, `error`, `result.error`, `result`.
    """
    status = answer.status
    reply = _reply(answer)
    error = None if reply is None else _error(reply)
    if 200 <= status < 300 and reply is not None and error is None:
        return reply.result
    kept = summary(answer, error, veil)
    why = veil.over(error) if error is not None else "no reason given"
    if 200 <= status < 300:
        if error is not None:
            raise Rejected(f"Ringotel refused it: {why}", http_status=status, answer=kept)
        raise MaybeSent(f"HTTP {status} without a JSON answer", http_status=status, answer=kept)
    if 300 <= status < 400:
        where = "it is redirected; set base_url to the address that answers itself"
        raise Rejected(f"HTTP {status}: {where}", http_status=status, answer=kept)
    if status in (401, 403):
        raise AuthFailed(f"HTTP {status}: Ringotel refuses the api_key", http_status=status, answer=kept)
    if status == 429:
        reason = "HTTP 429: too many requests"
        raise RateLimited(reason, retry_after=answer.retry_after, http_status=status, answer=kept)
    if 400 <= status < 500 or status == 501:
        raise Rejected(f"HTTP {status}: Ringotel refused the request: {why}", http_status=status, answer=kept)
    if status == 500 and error is not None:
        raise NotSent(f"HTTP 500: {why}", tries=TRIES_OF_500, http_status=status, answer=kept)
    raise MaybeSent(f"HTTP {status} leaves open what was done", http_status=status, answer=kept)


def look_at_indication(answer: Answer, veil: Veil) -> None:
    """Whether an indication or a change was taken: any 2xx that reports no error and is no web page (page §11.16).

    Raises the `SendError` that any other answer amounts to.
    """
    if 200 <= answer.status < 300 and _reply(answer) is None and not answer.body.lstrip().startswith(b"<"):
        return
    result_of(answer, veil)


def summary(answer: Answer, error: str | None, veil: Veil) -> str:
    """What `attempt` keeps of an answer that names no ids: never its body, which may quote the message."""
    if error is not None:
        return f"error: {veil.over(error)}"
    kind = veil.over(answer.headers.get("content-type", "no content type"))
    text = f"{kind}, {len(answer.body)} bytes"
    title = re.search(rb"<title[^>]*>(.{1,200}?)</title>", answer.body[:4096], re.IGNORECASE | re.DOTALL)
    return f"{text}: {veil.over(html.unescape(title[1].decode('utf-8', 'replace')))}" if title else text


def _reply(answer: Answer) -> wire.Reply | None:
    try:
        return codec.decode(answer.body, wire.REPLY)
    except ValueError:
        return None


def _error(reply: wire.Reply) -> str | None:
    """The error that an answer reports, as text; None where it reports none."""
    result = reply.result
    inner = result.get("error") if isinstance(result, dict) else None
    for error in (reply.error, inner):
        # `"error": 0` or `""` beside an id is how some servers say that there is none.
        if error is not None and error is not False and (error or not Ids.of(result)):
            return _words(error)
    return None


def _words(error: Any) -> str:
    if isinstance(error, dict):
        parts = [error.get("code"), error.get("message")]
        if all(part is None for part in parts):
            parts = list(error.values())
        return " ".join(str(part) for part in parts if isinstance(part, (str, int))) or "no reason given"
    return str(error) if isinstance(error, (str, int, float)) and error != "" else "no reason given"
