"""SMS segments of a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.model.segments import sms_segments

GSM = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("", 0),
        ("a", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 159 + "€", 2),
        ("a" * 152 + "€" + "a" * 151, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("ж" * 134, 2),
        ("ж" * 135, 3),
        ("a" * 70 + "ж", 2),
        ("ç" * 71, 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 66, 2),
        ("😀" * 67, 3),
        ("\ud800" * 70, 1),
    ],
)
def test_segments(text: str, segments: int) -> None:
    assert sms_segments(text) == segments


def test_the_alphabet_is_whole() -> None:
    assert len(set(GSM)) == 127, "128 septets, one of which is the escape"
    assert all(sms_segments(char * 160) == 1 and sms_segments(char * 161) == 2 for char in GSM)
    assert all(sms_segments(char * 80) == 1 and sms_segments(char * 81) == 2 for char in "\f^{}\\[~]|€")


@given(st.text(max_size=500))
def test_more_text_never_takes_less(text: str) -> None:
    assert sms_segments(text) <= sms_segments(text + "a") <= sms_segments(text + "ж" * 200)
