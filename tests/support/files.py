"""Small files of many kinds, real and always the same, and large ones that are never in memory whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import BinaryIO

from syncd.model.files import File, FileKind

_CHUNK = 65_536


@dataclass(frozen=True)
class Sample:
    """A file and what is true of it."""

    kind: FileKind
    name: str
    content_type: str
    content: bytes = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def sha256(self) -> str:
        return sha256(self.content).hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """Its bytes."""
        yield self.content


@dataclass(frozen=True)
class Big:
    """A file of any size, made of its seed as it is read."""

    size: int
    seed: int = 0
    kind: FileKind = FileKind.FILE
    name: str = "big.pdf"
    content_type: str = "application/pdf"

    @cached_property
    def sha256(self) -> str:
        digest = sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """Its bytes, a piece at a time; the first say what it is."""
        start = b"%PDF-1.4\n"[: self.size]
        yield start
        random = Random(self.seed)
        for left in range(self.size - len(start), 0, -_CHUNK):
            yield random.randbytes(min(left, _CHUNK))


def big(size: int, seed: int = 0) -> Big:
    """A file of so many bytes; another seed gives another file."""
    return Big(size, seed)


def kept(sample: Sample | Big, folder: Path, *, name: str | None = None) -> File:
    """The file as syncd has it once it was fetched: on disk, in `folder`."""
    path = folder / sample.sha256
    with path.open("wb") as file:
        for chunk in sample.chunks():
            file.write(chunk)

    @asynccontextmanager
    async def lend() -> AsyncIterator[BinaryIO]:
        with path.open("rb") as file:
            yield file

    name = sample.name if name is None else name
    link = f"https://bridge.example.com/media/{sample.sha256[:16]}/{sample.name}"
    return File(sample.kind, name, sample.content_type, sample.size, link, lend)


def _png() -> bytes:
    """One red pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\0\0", 0)  # stored: packers differ
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _jpeg() -> bytes:
    """One grey pixel: baseline, one component, and tables of one code each."""

    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    one_code = bytes([1, *[0] * 15]) + b"\0"
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            segment(0xDB, b"\0" + bytes([1] * 64)),
            segment(0xC0, struct.pack(">BHHBBBB", 8, 1, 1, 1, 1, 0x11, 0)),
            segment(0xC4, b"\0" + one_code),
            segment(0xC4, b"\x10" + one_code),
            segment(0xDA, b"\x01\x01\0\0\x3f\0"),
            b"\x3f",  # DC difference 0, end of block, ones up to the byte's end
            b"\xff\xd9",
        )
    )


def _webp(width: int, height: int) -> bytes:
    """One colour, lossless: every prefix code has one symbol, so a pixel takes no bits."""
    bits: list[tuple[int, int]] = [(0x2F, 8), (width - 1, 14), (height - 1, 14), (1, 1), (0, 3)]
    bits += [(0, 1), (0, 1), (0, 1)]  # no transform, no colour cache, one group of codes
    for symbol in (0x80, 0x20, 0x40, 0xFF):  # green, red, blue, alpha
        bits += [(1, 1), (0, 1), (1, 1), (symbol, 8)]
    bits += [(1, 1), (0, 1), (0, 1), (0, 1)]  # distances
    value = shift = 0
    for part, width_in_bits in bits:
        value |= part << shift
        shift += width_in_bits
    data = value.to_bytes((shift + 7) // 8, "little")
    padded = data + b"\0" * (len(data) % 2)
    chunk = b"WEBPVP8L" + struct.pack("<I", len(data)) + padded
    return b"RIFF" + struct.pack("<I", len(chunk)) + chunk


def _ogg() -> bytes:
    """Opus, 20 ms of silence."""

    def crc(page: bytes) -> int:
        value = 0
        for byte in page:
            value ^= byte << 24
            for _ in range(8):
                value = ((value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
        return value

    def page(number: int, flags: int, granule: int, packet: bytes) -> bytes:
        head = struct.pack("<4sBBqII", b"OggS", 0, flags, granule, 1, number)
        tail = bytes([1, len(packet)]) + packet
        return head + struct.pack("<I", crc(head + b"\0\0\0\0" + tail)) + tail

    opus_head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, 48_000, 0, 0)
    opus_tags = b"OpusTags" + struct.pack("<I", 5) + b"syncd" + struct.pack("<I", 0)
    return page(0, 2, 0, opus_head) + page(1, 0, 0, opus_tags) + page(2, 4, 960, b"\xf8\xff\xfe")


def _mp4() -> bytes:
    """The head of one, and no film."""

    def box(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data) + 8) + name + data

    return box(b"ftyp", b"isom\0\0\x02\0isomiso2mp41") + box(b"free", b"") + box(b"mdat", b"\0" * 16)


def _pdf() -> bytes:
    """One empty page."""
    body, places = b"%PDF-1.4\n", []
    for number, value in enumerate(
        (
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 72 72] >>",
        ),
        1,
    ):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, value)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer\n<< /Size 4 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(body)
    return body + b"xref\n0 4\n0000000000 65535 f \n" + table + end


PNG = Sample(FileKind.IMAGE, "dot.png", "image/png", _png())
JPEG = Sample(FileKind.IMAGE, "photo.jpg", "image/jpeg", _jpeg())
STICKER = Sample(FileKind.STICKER, "sticker.webp", "image/webp", _webp(512, 512))
VOICE = Sample(FileKind.VOICE, "voice.ogg", "audio/ogg", _ogg())
VIDEO = Sample(FileKind.VIDEO, "film.mp4", "video/mp4", _mp4())
PDF = Sample(FileKind.FILE, "report.pdf", "application/pdf", _pdf())
SAMPLES = (PNG, JPEG, STICKER, VOICE, VIDEO, PDF)
