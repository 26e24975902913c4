"""One name for one contact: E.164 where it is a phone number, else the platform's own address."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import phonenumbers

from syncd.model.facts import ContactForm

FORGOTTEN = "forgotten-"
"""How the token begins that stands in place of a contact who was erased (`syncd forget`)."""

_DIGITS = re.compile(r"\+?[0-9]+\Z")
_FILLERS = str.maketrans("", "", " ()-./\u00a0")


@lru_cache(maxsize=65536)
def canonical(spelling: str, form: ContactForm, region: str) -> str:
    """The contact's name in syncd. `region` (a CLDR region) says how national numbers are read.

    A number is taken by its length, not looked up: numbers not (yet) in the numbering plans work too. What cannot be
    a phone number stays as it is spelled.
    """
    if form is ContactForm.OPAQUE:
        return spelling
    # A trunk zero in brackets is for callers at home only, and stands only beside a country code.
    digits = spelling.replace("(0)", "").translate(_FILLERS)
    if not _DIGITS.match(digits):
        return spelling
    if digits.startswith("+"):
        return digits
    if form is ContactForm.INTERNATIONAL:
        return "+" + digits.removeprefix("00")
    return _e164(digits, region) or _e164("+" + digits.removeprefix("00"), None) or spelling


def spellings(given: str, regions: Iterable[str]) -> set[str]:
    """How a contact may be called in syncd whom somebody calls so; `regions` are those of the links."""
    return {given, canonical(given, ContactForm.INTERNATIONAL, "")} | {
        canonical(given, ContactForm.PHONE, region) for region in set(regions)
    }


def _e164(digits: str, region: str | None) -> str | None:
    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
