"""What a platform told us, in syncd's words: the result of a platform's `parse`.

A fact names things only as the platform does. Which link, conversation or message it belongs to is decided by the
translation (`syncd.model.decide`), never by a platform.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from syncd.model.files import Attachment


class ContactForm(StrEnum):
    """How a platform's spelling of a contact is to be read."""

    INTERNATIONAL = "international"
    """Digits with country code, with or without a leading `+`."""
    PHONE = "phone"
    """A phone number in no fixed format: national or international, read with the link's region."""
    OPAQUE = "opaque"
    """The platform's own address; never rewritten."""


class CopyStatus(StrEnum):
    """What is known of one copy of a message (column `mapping.status`)."""

    RECEIVED = "received"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class ContactSaid:
    """The contact wrote on a channel."""

    end: str
    """Key of the channel end (see `Plugin.end_key`)."""
    messageid: str | None
    contact: str
    form: ContactForm
    text: str
    said_at: datetime | None
    """When it was said, by the platform's clock, UTC; None where the platform does not say."""
    name: str | None = None
    """The contact's display name."""
    files: tuple[Attachment, ...] = ()
    """What was sent with it; the text may then be empty."""
    quotes: str | None = None
    """The platform's id of the message that it answers to, on this account."""


@dataclass(frozen=True, slots=True)
class UserSaid:
    """A desk user wrote to a contact, or the desk echoes something that we wrote into that user's chat."""

    organization: str
    extension: str | None
    userid: str | None
    contact: str
    form: ContactForm
    sessionid: str | None
    messageid: str | None
    text: str
    said_at: datetime | None
    files: tuple[Attachment, ...] = ()
    """What was sent with it; the text may then be empty."""


@dataclass(frozen=True, slots=True)
class UserEdited:
    """A desk user changed the text of a message."""

    messageid: str
    text: str


@dataclass(frozen=True, slots=True)
class UserDeleted:
    """A desk user took a message back."""

    messageid: str


@dataclass(frozen=True, slots=True)
class ChannelSaid:
    """Our side spoke on the channel: our own send as the platform reports it, or an agent's or flow's message."""

    end: str
    messageid: str
    reference: str | None
    """The reference that the send carried; None where it carried none."""
    contact: str
    form: ContactForm
    text: str
    said_at: datetime | None
    status: CopyStatus | None
    """Status reported with it; None where it is one that changes nothing."""
    reason: str | None = None
    """Why it failed, in the platform's words."""
    files: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class StatusSeen:
    """A platform says what became of one copy."""

    status: CopyStatus
    messageid: str | None = None
    """The copy; None where the platform names only the session (Ringotel's `read`), or a recipient and a time
    (Messenger's watermarks: all copies to `recipient` on `end` until `at`)."""
    sessionid: str | None = None
    reference: str | None = None
    end: str | None = None
    recipient: str | None = None
    """The contact, spelled as the platform does, where it names one."""
    at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Undelivered:
    """syncd itself says that a user's message did not reach the contact, or may not have: the user is to be told."""

    link: str
    contact: str
    """As the conversation names it."""
    extension: str
    """Whose chat is told."""
    text: str
    """What is told."""


@dataclass(frozen=True, slots=True)
class Uninteresting:
    """Something that syncd does not carry; stored, counted, and not acted on."""

    reason: str
    """A stable lower-case phrase, e.g. `typing`, `unknown method`; never message text."""


Fact = ContactSaid | UserSaid | UserEdited | UserDeleted | ChannelSaid | StatusSeen | Undelivered | Uninteresting
