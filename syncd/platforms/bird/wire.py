"""Bird's JSON as structs: only the fields that are used, nearly all of them optional (page §4, §9).

Bird writes an absent value as a missing key, as null or as `""` (page §15.19): `text` makes them equal.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

Scalar = str | int | None
"""A text of the API. Ids may come as JSON numbers longer than 64 bits."""


class Wire(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Base of all structs; unknown fields are ignored."""


class Contact(Wire, frozen=True):
    """An external person: `sender.contact`, or one of `receiver.contacts`."""

    id: Scalar = None
    identifier_key: Scalar = None
    identifier_value: Scalar = None
    annotations: Any = None


class Party(Wire, frozen=True):
    """`sender` or `receiver`; the side that is ours holds a `connector`, which is not needed."""

    contact: Contact | None = None
    contacts: list[Contact] | None = None

    @property
    def person(self) -> Contact | None:
        """The contact: singular as a sender, the first of several as a receiver."""
        return self.contact or (self.contacts[0] if self.contacts else None)


class Message(Wire, frozen=True):
    """A Message object (page §4)."""

    id: Scalar = None
    channel_id: Scalar = None
    sender: Party | None = None
    receiver: Party | None = None
    body: Any = None
    template: Any = None
    reference: Scalar = None
    status: Scalar = None
    reason: Any = None
    details: Any = None
    failure: Any = None
    direction: Scalar = None
    reply_to: Any = None
    created_at: Any = None
    last_status_at: Any = None

    @property
    def why(self) -> str | None:
        """Why it failed, in the platform's words (page §10)."""
        failure = self.failure if isinstance(self.failure, dict) else {}
        code = text(failure.get("code"))
        return (
            text(self.reason)
            or text(self.details)
            or text(failure.get("description"))
            or (f"failure code {code}" if code else None)
        )

    @property
    def answers(self) -> str | None:
        """The id of the message that it answers to; Bird's or the platform's own, that is not documented (page §4)."""
        return text(self.reply_to.get("id")) if isinstance(self.reply_to, dict) else None


class Interaction(Wire, frozen=True):
    """What a recipient did with one of our messages (page §9)."""

    id: Scalar = None
    message_id: Scalar = None
    channel_id: Scalar = None
    type: Scalar = None
    message_reference: Scalar = None
    receiver: Party | None = None
    created_at: Any = None
    metadata: Any = None


class Listing(Wire, frozen=True):
    """One page of any list. Rows stay plain values, so that one odd row cannot refuse the page."""

    start_at: Any = None
    """The `startAt` that the server went by, where it says."""
    results: list[Any] | None = None
    next_page_token: Scalar = None


class Ticket(Wire, frozen=True):
    """Leave to upload one file (page §6.1). All fields are there, or it is none."""

    media_url: str
    upload_url: str
    upload_method: str
    upload_form_data: dict[str, str]
    """Sent as it is, in this order: the names are the bucket's business."""


class Problem(Wire, frozen=True):
    """The body of an error (page §10)."""

    code: Scalar = None
    message: Any = None
    details: Any = None


class Channel(Wire, frozen=True):
    """A channel of the workspace (page §1.1)."""

    id: Scalar = None
    platform_id: Scalar = None
    name: Scalar = None
    identifier: Scalar = None
    status: Scalar = None


class Filter(Wire, frozen=True):
    """One of a subscription's `eventFilters`; all must match."""

    key: Scalar = None
    value: Scalar = None


class Subscription(Wire, frozen=True):
    """A webhook subscription (page §7.1)."""

    id: Scalar = None
    service: Scalar = None
    event: Scalar = None
    event_filters: list[Filter] | None = None
    url: Scalar = None
    signing_key: Scalar = None
    template: Scalar = None
    status: Scalar = None


def text(value: Any) -> str | None:
    """A text of the API, or None where it is absent in any spelling. Numbers become their digits."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def instant(value: Any) -> datetime | None:
    """An RFC 3339 time with 0 to 9 fraction digits as UTC; None where it is absent, malformed or the zero time."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.upper())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year > 1 else None


def stamp(moment: datetime) -> str:
    """A time as the API's queries take it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
