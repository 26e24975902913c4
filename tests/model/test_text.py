"""Texts keep every code point; names become what every database takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.model.text import from_bytes, storable, to_bytes

ANYTHING = st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=40)


@pytest.mark.parametrize("text", ["", "plain", "a\x00b", "\ud83d alone", "\ud83d\ude00", "😀", "línea\n", "\uffff"])
def test_a_text_comes_back_as_it_was(text: str) -> None:
    assert from_bytes(to_bytes(text)) == text


@given(ANYTHING)
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert from_bytes(to_bytes(text)) == text


def test_a_removed_text_is_empty() -> None:
    assert from_bytes(None) == ""


@pytest.mark.parametrize(
    ("name", "stored"), [("id-1", "id-1"), ("a\x00b", "a\ufffdb"), ("\ud800x", "\ufffdx"), ("é😀", "é😀")]
)
def test_a_name_loses_only_what_no_database_takes(name: str, stored: str) -> None:
    assert storable(name) == stored


@given(ANYTHING)
def test_every_stored_name_is_utf_8_without_nul_and_stays(name: str) -> None:
    stored = storable(name)
    assert b"\x00" not in stored.encode("utf-8")
    assert storable(stored) == stored
    assert len(stored) == len(name)
