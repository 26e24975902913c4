"""Files that people send: as a platform tells of them, and as syncd keeps them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO


class FileKind(StrEnum):
    """What a file is to people; the word that stands in a placeholder for it."""

    IMAGE = "image"
    AUDIO = "audio"
    VOICE = "voice"
    VIDEO = "video"
    STICKER = "sticker"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file as a platform tells of it, before syncd has its bytes."""

    kind: FileKind
    url: str | None
    """Where it can be fetched; None where the platform tells no address."""
    content_type: str | None = None
    """As the platform says, without parameters, lower case; None where it does not say."""
    name: str | None = None
    size: int | None = None
    sha256: str | None = None
    """Of its bytes, 64 lower-case hex digits, where the platform tells it."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that syncd has, to be sent."""

    kind: FileKind
    name: str
    """Never empty; fit for a header and for a path."""
    content_type: str
    size: int
    """Bytes."""
    link: str = field(repr=False)
    """Public address (`/media/TOKEN/NAME`) from which anybody who knows it can fetch the file, for a time."""
    lend: Callable[[], AbstractAsyncContextManager[BinaryIO]] = field(repr=False, compare=False)
    """Its bytes as an open file on disk, at the start; closed at the end of the context. May be asked for again."""
