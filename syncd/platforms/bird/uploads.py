"""Handing a file to Bird before the message that carries it (page §6.1).

Whatever fails here, no message has been sent: nothing of it is a doubt. A ticket serves one try only.
"""

from __future__ import annotations

import re
from typing import Final

import aiohttp
import msgspec

from syncd.model.files import File
from syncd.model.sending import AuthFailed, MaybeSent, NotSent, RateLimited, Rejected, SendError
from syncd.platforms.bird.api import Api
from syncd.platforms.bird.wire import Ticket
from syncd.platforms.http import Answer
from syncd.platforms.urls import target_of

UPLOAD_SECONDS: Final = 120.0
"""For the largest file on a slow line."""
_TRIES = 5
"""What a new ticket does not cure by then is a verdict."""

_TICKET = msgspec.json.Decoder(Ticket)
_S3_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,60})</Code>")


async def uploaded(api: Api, channel: str, file: File) -> str:
    """The `mediaUrl` by which a message names the file. Raises a `SendError`, never `MaybeSent`."""
    ticket = await _ticket(api, channel, file)
    try:
        async with file.lend() as lent:
            form = aiohttp.FormData(default_to_multipart=True)
            for name, value in ticket.upload_form_data.items():
                form.add_field(name, value)
            # Last: the bucket ignores what comes after it.
            form.add_field("file", lent, filename=file.name, content_type=file.content_type)
            answer = await api.hand_over(ticket.upload_method, ticket.upload_url, form, timeout=UPLOAD_SECONDS)
    except MaybeSent as error:
        raise NotSent(f"the upload did not end: {error.reason}") from error
    except ValueError:
        raise _not_understood() from None
    except OSError as error:
        raise NotSent(f"the file cannot be read: {error.strerror or type(error).__name__}") from error
    if not 200 <= answer.status < 300:
        raise _refused(answer)
    return ticket.media_url


async def _ticket(api: Api, channel: str, file: File) -> Ticket:
    try:
        answer = await api.call("POST", api.uploads(channel), {"contentType": file.content_type})
    except MaybeSent as error:
        raise NotSent(f"no upload ticket: {error.reason}") from error
    if not 200 <= answer.status < 300:
        raise _no_ticket(api, answer)
    try:
        # The strict way: what is not Unicode cannot go into a form.
        ticket = _TICKET.decode(answer.body)
        scheme = target_of(ticket.upload_url).scheme
    except (ValueError, RecursionError, msgspec.MsgspecError):
        raise _not_understood() from None
    if ticket.upload_method not in ("POST", "PUT") or not ticket.media_url:
        raise _not_understood()
    if scheme != "https" and not api.plain:
        raise NotSent("the upload ticket leads to an address that is not https", tries=_TRIES)
    return ticket


def _no_ticket(api: Api, answer: Answer) -> SendError:
    reason, shown, status = f"upload refused: {api.problem(answer)}", api.shown(answer), answer.status
    if status in (401, 403):
        return AuthFailed(reason, http_status=status, answer=shown)
    if status == 429:
        return RateLimited(reason, retry_after=answer.retry_after, http_status=status, answer=shown)
    if status == 408 or status >= 500:
        return NotSent(reason, http_status=status, answer=shown)
    return Rejected(reason, http_status=status, answer=shown)


def _refused(answer: Answer) -> SendError:
    """What the bucket says. Its answers can repeat the ticket, so that no more than the error's name is kept."""
    code, status = _S3_CODE.search(answer.body[:65536]), answer.status
    said = f" {code[1].decode()}" if code else ""
    reason = f"upload refused: the bucket answers HTTP {status}{said}"
    if status == 403:
        return NotSent(f"{reason} (an expired ticket?)", tries=_TRIES, http_status=status)
    if status == 429:
        return RateLimited(reason, retry_after=answer.retry_after, http_status=status)
    if status == 408 or status >= 500:
        return NotSent(reason, http_status=status)
    return Rejected(reason, http_status=status)


def _not_understood() -> NotSent:
    return NotSent("Bird gave an upload ticket that is not understood", tries=_TRIES)
