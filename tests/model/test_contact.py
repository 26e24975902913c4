"""One name for one contact, however a platform spells it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.model.contact import canonical
from syncd.model.facts import ContactForm

INTERNATIONAL, PHONE, OPAQUE = ContactForm.INTERNATIONAL, ContactForm.PHONE, ContactForm.OPAQUE
SPELLED = st.text(alphabet="+0123456789 ()-./abcé\u00a0", max_size=20)
FORMS = st.sampled_from(ContactForm)
REGIONS = st.sampled_from(["US", "GB", "HK", "DE"])


@pytest.mark.parametrize(
    ("spelling", "form", "region", "name"),
    [
        ("+447700900123", INTERNATIONAL, "US", "+447700900123"),
        ("447700900123", INTERNATIONAL, "US", "+447700900123"),
        ("00447700900123", INTERNATIONAL, "US", "+447700900123"),
        ("+44 7700 900123", PHONE, "US", "+447700900123"),
        ("+44 7700-900.123", PHONE, "US", "+447700900123"),
        ("447700900123", PHONE, "US", "+447700900123"),
        ("07700 900123", PHONE, "GB", "+447700900123"),
        ("07700\u00a0900123", PHONE, "GB", "+447700900123"),
        ("(202) 555-0147", PHONE, "US", "+12025550147"),
        ("12025550147", PHONE, "US", "+12025550147"),
        ("51234567", PHONE, "HK", "+85251234567"),
        ("85251234567", PHONE, "HK", "+85251234567"),
        ("0049 30 1234567", PHONE, "GB", "+49301234567"),
        ("030 1234567", PHONE, "DE", "+49301234567"),
    ],
)
def test_a_phone_number_is_named_in_e164(spelling: str, form: ContactForm, region: str, name: str) -> None:
    assert canonical(spelling, form, region) == name


@pytest.mark.parametrize("last", range(10))
def test_numbers_that_no_numbering_plan_has_are_taken_by_their_length(last: int) -> None:
    wanted = f"+44770090000{last}"
    spellings = {(wanted, INTERNATIONAL), (wanted[1:], INTERNATIONAL), (wanted, PHONE), (f"0{wanted[3:]}", PHONE)}
    assert {canonical(spelling, form, "GB") for spelling, form in spellings} == {wanted}


@pytest.mark.parametrize("spelling", ["447700900123", "07700 900123", " +44", "", "a@b.example", "Ünïcode"])
def test_an_opaque_address_is_never_rewritten(spelling: str) -> None:
    assert canonical(spelling, OPAQUE, "GB") == spelling


@pytest.mark.parametrize("spelling", ["BANK", "a.b@example.org", "", "+", "tel:", "٠٧٧٠٠", "12"])
def test_what_cannot_be_a_phone_number_stays_as_it_is_spelled(spelling: str) -> None:
    assert canonical(spelling, PHONE, "GB") == spelling


@pytest.mark.parametrize(("spelling", "region"), [("001447700900123", "HK"), ("0011447700900123", "AU")])
def test_a_regions_own_dialling_out_prefix_is_read(spelling: str, region: str) -> None:
    assert canonical(spelling, PHONE, region) == "+447700900123"


def test_a_trunk_zero_in_brackets_is_left_out() -> None:
    assert canonical("+44 (0)7700 900123", PHONE, "GB") == "+447700900123"


@given(SPELLED, FORMS, REGIONS)
def test_the_name_of_a_name_is_that_name(spelling: str, form: ContactForm, region: str) -> None:
    name = canonical(spelling, form, region)
    assert canonical(name, form, region) == name


@given(st.integers(10**10, 10**13), st.sampled_from(["", "+", "00"]), REGIONS)
def test_every_spelling_of_an_international_number_has_one_name(number: int, prefix: str, region: str) -> None:
    assert canonical(f"{prefix}{number}", INTERNATIONAL, region) == f"+{number}"
