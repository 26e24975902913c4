"""Finds a contact in stored bytes, however its number is written there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import msgspec
import phonenumbers

from syncd.model.contact import FORGOTTEN, canonical
from syncd.model.facts import ContactForm

_FILLERS = rb"(?:\(0\)|[ ()./-]|\xc2\xa0|\\u00a0|%20)*"
_LONG = 7
"""Digits from which on a number is one with fillers between them, too; shorter ones may be anything."""
_SHORTEST = 4
"""Characters of an address that is looked for; a shorter one would be found everywhere."""


class Finder:
    """Looks for these spellings of one contact; `regions` say how its number is written at home."""

    def __init__(self, spellings: Iterable[str], regions: Iterable[str] = ()) -> None:
        spelled = set(spellings)
        numbers = {one.removeprefix("+") for one in spelled if one.startswith("+") and one[1:].isdecimal()}
        home = {digits for one in numbers for region in set(regions) for digits in _at_home(one, region)}
        long = {one for one in numbers | home if len(one) >= _LONG}
        self.plain = frozenset(one.encode() for one in long)
        """Its number in digits alone, as a file may be searched for it."""
        exact = {form for one in spelled if len(one) >= _SHORTEST for form in _written(one)}
        patterns = [rb"(?<![0-9])\+?(?:00)?" + _spaced(one) + rb"(?![0-9])" for one in sorted(long, key=len)]
        patterns += [
            rb"(?<![0-9A-Za-z])" + re.escape(one) + rb"(?![0-9A-Za-z])" for one in sorted(exact, key=len, reverse=True)
        ]
        self._pattern = re.compile(b"|".join(patterns or [rb"(?!)"]))

    def finds(self, data: bytes | str | None) -> bool:
        """Whether the contact stands in it."""
        return data is not None and self._pattern.search(_bytes(data)) is not None

    def hide(self, text: str, token: str) -> str:
        """The text with `token` in place of the contact."""
        return self._pattern.sub(token.encode(), _bytes(text)).decode("utf-8", "surrogatepass")


def words(body: bytes) -> set[str]:
    """The texts that stand in a JSON document, of a length that ids have; empty where it is none."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return set()
    found: set[str] = set()
    left = [document]
    while left:
        match left.pop():
            case str(text):
                if 4 <= len(text) <= 250:
                    found.add(text)
            case int(number):
                found.add(str(number))
            case list(items):
                left += items
            case dict(members):
                left += members.values()
    return found


def is_forgotten(contact: str) -> bool:
    """Whether this stands in place of a contact who was erased."""
    return contact.startswith(FORGOTTEN)


def _at_home(digits: str, region: str) -> Iterable[str]:
    """A number as it is dialled in a region, where it is one of that region."""
    try:
        number = phonenumbers.parse(f"+{digits}", None)
    except phonenumbers.NumberParseException:
        return
    national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    for one in {re.sub(r"\D", "", national), phonenumbers.national_significant_number(number)}:
        if canonical(one, ContactForm.PHONE, region) == f"+{digits}":
            yield one


def _spaced(digits: str) -> bytes:
    return _FILLERS.join(digit.encode() for digit in digits)


def _written(spelling: str) -> set[bytes]:
    """A text as it is, and as JSON has it."""
    escaped = json.dumps(spelling)[1:-1]
    plain = json.dumps(spelling, ensure_ascii=False)[1:-1]
    return {_bytes(one) for one in (spelling, escaped, plain, escaped.replace("/", "\\/"))}


def _bytes(data: bytes | str) -> bytes:
    return data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data)
