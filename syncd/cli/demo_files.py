"""What people send in the demo: a small picture and a short voice note, real ones, and always the same."""

from __future__ import annotations

import struct
import zlib
from base64 import b64decode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final


@dataclass(frozen=True, slots=True)
class Sample:
    """A file, as a customer's phone has it."""

    content_type: str
    content: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """Of its bytes, in hex."""
        return sha256(self.content).hexdigest()


def _picture() -> bytes:
    """A sunset, 96 by 64 points, as PNG."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    width, height = 96, 64
    rows = []
    for y in range(height):
        sky = (255 - y, 90 + y, 60 + 2 * y)
        row = [(255, 230, 120) if (x - 48) ** 2 + (y - 36) ** 2 < 200 else sky for x in range(width)]
        rows.append(b"\0" + b"".join(bytes(point) for point in row))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


PICTURE: Final = Sample("image/png", _picture())
VOICE: Final = Sample(
    "audio/ogg; codecs=opus",
    b64decode(
        "T2dnUwACAAAAAAAAAAABAAAAAAAAAIRs2SQBE09wdXNIZWFkAQEAAIC7AAAAAABPZ2dTAAAAAAAAAAAAAAEAAAABAAAAx7x8"
        "bAEVT3B1c1RhZ3MFAAAAc3luY2QAAAAAT2dnUwAEwAMAAAAAAAABAAAAAgAAACmTsN0BA/j//g=="
    ),
)
"""Opus in Ogg: 20 ms of silence."""
