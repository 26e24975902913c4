"""Files as they are fetched: what the keeper asks of whoever knows HTTP, and the ways in which it can fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from syncd.engine.platform import Credential


class CannotFetch(Exception):
    """A file that cannot be had. `reason` is safe to show and to log: it holds nothing of a URL but its host."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotAllowed(CannotFetch):
    """The URL, or where it leads, may not be fetched."""


class TooLarge(CannotFetch):
    """The file has more bytes than it may have."""


class NotThere(CannotFetch):
    """There is no such file for us. Trying again is of no use."""


class NotNow(CannotFetch):
    """It did not work this time; it may later."""


class Coming(Protocol):
    """A file that has begun to come. Iterate over it, once, for its bytes, in pieces of any size."""

    @property
    def content_type(self) -> str | None:
        """As the server says, without parameters; None where it does not."""
        ...

    @property
    def name(self) -> str | None:
        """The file's name as the server says; None where it does not."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises a `CannotFetch` where the rest cannot be had."""
        ...


class Fetches(Protocol):
    """Downloads files for one account."""

    def download(
        self, url: str, *, credential: Credential | None, max_bytes: int
    ) -> AbstractAsyncContextManager[Coming]:
        """Ask for the file. Raises a `CannotFetch`, here or while it is read; all of it takes a limited time."""
        ...
