"""How a Bird contact is spelled as one text, and back (page §4, §15.23).

A phone number is spelled as it is. Any other identifier is `KEY:VALUE` (`emailaddress:a@example.com`,
`whatsappbsuid:…`), and a contact without an identifier `contact:ID`: such spellings are never rewritten.
"""

from __future__ import annotations

import re

from syncd.model.facts import ContactForm
from syncd.platforms.bird.wire import Contact, text

_INTERNATIONAL = re.compile(r"\+[0-9]{3,}|[0-9]{8,}")
_NUMBER = re.compile(r"\+?[0-9]+")
_SEPARATORS = str.maketrans("", "", " ().-")


def spelled(contact: Contact | None) -> tuple[str, ContactForm] | None:
    """The spelling of a contact and how to read it; None where nothing names it.

    A short code or an alphanumeric sender is no international number although its key is `phonenumber`.
    """
    if contact is None:
        return None
    key = text(contact.identifier_key) or ""
    value = text(contact.identifier_value)
    if value is None:
        identity = text(contact.id)
        return (f"contact:{identity}", ContactForm.OPAQUE) if identity else None
    if key in ("", "phonenumber"):
        number = value.translate(_SEPARATORS)
        if _INTERNATIONAL.fullmatch(number):
            return number, ContactForm.INTERNATIONAL
    return f"{key}:{value}", ContactForm.OPAQUE


def receiver(address: str) -> dict[str, str]:
    """An address as one of the `receiver.contacts` of a send."""
    key, colon, value = address.partition(":")
    if _NUMBER.fullmatch(address):
        return {"identifierKey": "phonenumber", "identifierValue": address}
    if not colon:
        return {"identifierValue": address}
    if key == "contact":
        return {"id": value}
    return {"identifierKey": key, "identifierValue": value} if key else {"identifierValue": value}


def identifier(address: str) -> str | None:
    """The identifier that lists are filtered by (`to=`); None for a contact known by its id only."""
    return receiver(address).get("identifierValue")
