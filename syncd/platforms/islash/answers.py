"""What an answer of iSlash's API means for the send (§2, §8), as tables to which real codes can be added."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from syncd.model.sending import AuthFailed, EndRefused, MaybeSent, RateLimited, Rejected, SendError, Sent
from syncd.platforms import codec
from syncd.platforms.http import Answer
from syncd.platforms.islash import wire

OKAY = "RESP_OKAY"


def _refused(what: str) -> str:
    return (
        rf"(invalid|unknown|wrong|missing|incorrect) (user )?{what}\b(?! message)"
        rf"|{what}( key)?( is| was| has)?( not)? (invalid|valid|found|expired|missing|wrong|incorrect|required|exist)"
    )


STATUSES: dict[int, type[SendError]] = {
    401: AuthFailed,
    403: AuthFailed,
    408: MaybeSent,
    429: RateLimited,
}
"""HTTP statuses that mean one thing. Every other 3xx and 4xx is `Rejected`, unless its `meta` says better."""

CODES: tuple[tuple[re.Pattern[str], type[SendError]], ...] = (
    # The 24 hour window is called a session too: it must not pass for a refused session key, which pauses the link.
    (re.compile(r"WINDOW|24_?H|TEMPLATE"), Rejected),
    (re.compile(r"RATE|THROTTL|TOO_MANY"), RateLimited),
    (re.compile(r"SESSION"), EndRefused),
    (re.compile(r"TOKEN|AUTH|FORBIDDEN"), AuthFailed),
)
"""What `meta.code` (upper case) says where it is not `RESP_OKAY`; the first that fits."""

MESSAGES: tuple[tuple[re.Pattern[str], type[SendError]], ...] = (
    (re.compile(r"window|24.?h|template"), Rejected),
    (re.compile(r"rate limit|too many|throttl"), RateLimited),
    (re.compile(_refused("session")), EndRefused),
    (re.compile(r"unauthori|not authori|authenticat|" + _refused("token")), AuthFailed),
)
"""What `meta.message` (lower case) says, asked only where the code says nothing. Narrow on purpose: it is prose."""

_MAX_ANSWER = 1000
_MAX_WORDS = 300
_MAX_READ = 4000
"""Characters of the platform's words that are searched for quotations; far fewer are kept."""
_QUOTATION = 12
"""So many characters in a row that are the message's too are a quotation of it."""


class Redaction:
    """Takes what must not be stored out of the platform's words (G12): credentials, and quotations of the message."""

    def __init__(self, secrets: Sequence[str], said: str = "") -> None:
        self._secrets = secrets
        self._said = said

    def __call__(self, text: str) -> str:
        """`text` without credentials."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def words(self, text: str) -> str:
        """Prose without credentials; nothing of it where it quotes the message."""
        return "[withheld: it quotes the message]" if self._quotes(text[:_MAX_READ]) else self(text)[:_MAX_WORDS]

    def _quotes(self, text: str) -> bool:
        if len(self._said) <= _QUOTATION:
            return bool(self._said) and re.search(rf"(?<!\w){re.escape(self._said)}(?!\w)", text) is not None
        return any(text[start : start + _QUOTATION] in self._said for start in range(len(text) - _QUOTATION + 1))


def outcome(answer: Answer, redact: Redaction) -> Sent:
    """`Sent`, or raises the `SendError` that the answer to a send means."""
    envelope = _envelope(answer)
    meta = wire.members(envelope.get("meta"))
    message = wire.members(wire.members(envelope.get("data")).get("message"))
    told = _told(answer, meta, message, redact)
    if 200 <= answer.status < 300 and meta.get("code") == OKAY:
        return Sent(wire.identifier(message.get("sid")), http_status=answer.status, answer=told)
    raise _failure(answer, meta, told, redact)


def _failure(answer: Answer, meta: dict[str, Any], told: str, redact: Redaction) -> SendError:
    code, words = (wire.text(meta.get(key)) or "" for key in ("code", "message"))
    says = f"{redact(code)} {redact.words(words)}".strip()[:_MAX_WORDS]
    kind = _kind(answer.status, meta)
    status, heard = answer.status, f": {says}" if says else ""
    if kind is RateLimited:
        return RateLimited(f"too many requests{heard}", retry_after=answer.retry_after, http_status=status, answer=told)
    if kind is AuthFailed:
        reason = f"iSlash refuses the token{heard}; check user_token, and the link's session"
        return AuthFailed(reason, http_status=status, answer=told)
    if kind is EndRefused:
        reason = f"iSlash refuses the session key{heard}; check the link's session"
        return EndRefused(reason, http_status=status, answer=told)
    if kind is MaybeSent:
        what = (
            f"HTTP {status} after the request was written" if status >= 300 else "an answer without iSlash's envelope"
        )
        return MaybeSent(f"{what}{heard}", http_status=status, answer=told)
    advice = "; check base_url" if status in (404, 405) or 300 <= status < 400 else ""
    return Rejected(f"HTTP {status}{heard}{advice}", http_status=status, answer=told)


def _kind(status: int, meta: dict[str, Any]) -> type[SendError]:
    if status in STATUSES:
        # A refusal that names the session speaks of one link, not of the account.
        refused = STATUSES[status] is AuthFailed and _says(meta) is EndRefused
        return EndRefused if refused else STATUSES[status]
    if status >= 500 or (status < 300 and not isinstance(meta.get("code"), str)):
        return MaybeSent
    return _says(meta) or Rejected


def _says(meta: dict[str, Any]) -> type[SendError] | None:
    code, message = wire.text(meta.get("code")) or "", wire.text(meta.get("message")) or ""
    for table, words in ((CODES, code.upper()), (MESSAGES, message.lower())):
        for pattern, kind in table:
            if pattern.search(words):
                return kind
    return None


def _envelope(answer: Answer) -> dict[str, Any]:
    try:
        return wire.members(wire.read(answer.body))
    except ValueError:
        return {}


def _told(answer: Answer, meta: dict[str, Any], message: dict[str, Any], redact: Redaction) -> str:
    """What is kept of an answer: `meta` and the ids. Never `body`, which repeats the text, and no page of a proxy."""
    if not meta:
        kind = answer.headers.get("content-type", "no type").partition(";")[0][:100]
        return redact(f"{len(answer.body)} bytes of {kind}")
    kept = {"meta": _pick(meta, ("code", "message", "trace_id"), redact)}
    if message:
        kept["message"] = _pick(message, ("id", "conversation_id", "status", "sid"), redact)
    return codec.encode(kept).decode()[:_MAX_ANSWER]


def _pick(fields: dict[str, Any], keys: tuple[str, ...], redact: Redaction) -> dict[str, Any]:
    # Redacted before it is encoded: afterwards a text with a quote or line break would not be found any more.
    told: dict[str, Any] = {}
    for key in keys:
        value = fields.get(key)
        if isinstance(value, str):
            told[key] = redact.words(value) if key == "message" else redact(value)[:_MAX_WORDS]
        elif isinstance(value, int):
            told[key] = value
    return told
