"""The bytes of a file as an open file on disk, for as long as a send needs it."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO, cast

from syncd.model.sending import NotSent, Rejected
from syncd.store import blobs
from syncd.store.writer import Store, StoreUnavailable


@asynccontextmanager
async def lend(store: Store, hash_: str) -> AsyncIterator[BinaryIO]:
    """The bytes of a blob, from their start, in a file that nobody else knows and that is gone afterwards.

    One part at a time is in memory. A platform asks for it before it sends, so what goes wrong says that nothing was
    sent: raises `NotSent` where database or disk are to blame, `Rejected` where the bytes were removed.
    """
    try:
        found = await store.read(blobs.find, hash_)
        file = await asyncio.to_thread(_new)
    except (StoreUnavailable, OSError) as error:
        raise NotSent(f"the file cannot be read here: {error}") from error
    try:
        for number in range(found.parts if found is not None else 0):
            await _add(store, hash_, number, file)
        if found is None or file.tell() != found.size:
            raise Rejected("the file is not kept any more")
        file.flush()
        # Whoever sends it may close what it is given, and later, in a thread of its own: so the file itself stays ours.
        lent = io.BufferedReader(io.FileIO(file.fileno(), "rb", closefd=False))
        lent.seek(0)
        yield lent
    finally:
        file.close()


def _new() -> BinaryIO:
    return cast("BinaryIO", tempfile.TemporaryFile(prefix="syncd-"))


async def _add(store: Store, hash_: str, number: int, file: BinaryIO) -> None:
    try:
        data = await store.read(blobs.part, hash_, number)
        if data is not None:
            # Flushed there too: closing and rewinding, on the event loop, then have nothing to write.
            await asyncio.to_thread(_write, file, data)
    except (StoreUnavailable, OSError) as error:
        raise NotSent(f"the file cannot be read here: {error}") from error


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
