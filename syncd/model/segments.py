"""How many SMS a text is: what a carrier bills (3GPP TS 23.038, TS 23.040)."""

from __future__ import annotations

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""GSM 03.38's default alphabet: one septet each."""
_EXTENSION = frozenset("\f^{}\\[~]|€")
"""Its extension: an escape and a septet each."""
_SEPTETS = (160, 153)
"""That fit into a lone SMS, and into one of several, which carries a header."""
_UNITS = (70, 67)
"""The same in UTF-16 code units, where one character is not in GSM 03.38."""


def sms_segments(text: str) -> int:
    """The SMS that a text takes; 0 for an empty one. No segment ends within a character."""
    if all(char in _BASIC or char in _EXTENSION for char in text):
        return _segments([1 if char in _BASIC else 2 for char in text], *_SEPTETS)
    return _segments([1 if char <= "\uffff" else 2 for char in text], *_UNITS)


def _segments(sizes: list[int], alone: int, among: int) -> int:
    if sum(sizes) <= alone:
        return 1 if sizes else 0
    segments, filled = 1, 0
    for size in sizes:
        if filled + size > among:
            segments, filled = segments + 1, 0
        filled += size
    return segments
