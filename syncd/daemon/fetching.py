"""The fetcher of `syncd.platforms`, as the engine asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from syncd.engine import fetching
from syncd.engine.platform import Credential
from syncd.platforms import fetch

_SAME: Final[dict[type[fetch.FetchError], type[fetching.CannotFetch]]] = {
    fetch.NotAllowed: fetching.NotAllowed,
    fetch.TooLarge: fetching.TooLarge,
    fetch.NotThere: fetching.NotThere,
    fetch.NotNow: fetching.NotNow,
}


class Coming:
    """A file that has begun to come."""

    def __init__(self, download: fetch.Download) -> None:
        self._download = download
        said = download.content_type
        self.content_type = None if said == fetch.UNKNOWN_TYPE else said
        self.name = download.name

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._download)


class Fetching:
    """Downloads files for one account, with a `Fetcher` that is open."""

    def __init__(self, fetcher: fetch.Fetcher) -> None:
        self._fetcher = fetcher

    @asynccontextmanager
    async def download(self, url: str, *, credential: Credential | None, max_bytes: int) -> AsyncIterator[Coming]:
        """See `syncd.engine.fetching.Fetches`."""
        try:
            # What fails while the file is read comes back through here too.
            async with self._fetcher.download(url, credential=credential, max_bytes=max_bytes) as download:
                yield Coming(download)
        except fetch.FetchError as error:
            raise _SAME.get(type(error), fetching.NotNow)(error.reason) from None
