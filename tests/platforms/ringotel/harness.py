"""A Ringotel account under test, before a simulated Ringotel, over real sockets."""

from __future__ import annotations

import io
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, BinaryIO

from syncd.engine.platform import AccountSetup, EndSetup, Platform
from syncd.model.files import File, FileKind
from syncd.model.sending import Author, Opening, Outgoing
from syncd.platforms.http import Http, client_session
from syncd.platforms.ringotel import plugin
from syncd.simulators.base import Fault
from syncd.simulators.ringotel import RingotelSimulator
from syncd.simulators.ringotel_files import StoredFile

ORGID = "18446744073709551617"
KEY = "rt-key-1"
TEXT = "The parcel for Mr Smith is ready"
CONTACT = "+15551230001"
JPEG = b"\xff\xd8\xff\r\n--\0" + bytes(range(256)) * 40


class Lent:
    """A `File` on disk, and how it was read."""

    def __init__(self, data: bytes, name: str, content_type: str, link: str) -> None:
        self.reads: list[int] = []
        self.opened: list[Watched] = []
        self.data = data
        self.file = File(FileKind.IMAGE, name, content_type, len(data), link, self._lend)

    @asynccontextmanager
    async def _lend(self) -> AsyncIterator[BinaryIO]:
        with tempfile.NamedTemporaryFile() as place:
            place.write(self.data)
            place.flush()
            with Watched(io.FileIO(place.name), self.reads) as opened:
                self.opened.append(opened)
                yield opened


class Watched(io.BufferedReader):
    """An open file that notes how much is asked of it at once."""

    def __init__(self, raw: io.FileIO, reads: list[int]) -> None:
        super().__init__(raw)
        self._reads = reads

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads.append(-1 if size is None else size)
        return super().read(size)


@dataclass(frozen=True, slots=True)
class Bench:
    """The two sides of a test."""

    desk: RingotelSimulator
    platform: Platform

    def reply(self, body: bytes, status: int = 200) -> None:
        """Carry the next call out, but answer it so."""
        self.desk.faults.append(Fault("reply", status=status, body=body))

    def outgoing(self, **changes: Any) -> Outgoing:
        """A contact's message to 9003."""
        whole = Outgoing(
            reference="ref-1",
            end=ORGID,
            contact=CONTACT,
            spelling=None,
            text=TEXT,
            said_at=datetime(2026, 2, 3, 11, 41, 27, 507_999, tzinfo=UTC),
            author=Author.CONTACT,
            extension="9003",
        )
        return replace(whole, **changes)

    def file(self, data: bytes = JPEG, name: str = "Foto für Max.jpg", content_type: str = "image/jpeg") -> Lent:
        """A file as syncd has it; its link is served by the simulator, which fetches from itself as from anywhere."""
        stored = self.desk.desk.keep_file(StoredFile(name, content_type, data))
        return Lent(data, name, content_type, self.desk.url + stored.path)

    async def opened(self, contact: str = CONTACT, extension: str = "9003", name: str | None = None) -> str:
        """A session, opened through the platform."""
        return await self.platform.open_session(Opening(ORGID, contact, None, extension, name))


def build(http: Http, ends: tuple[dict[str, Any], ...], **settings: Any) -> Platform:
    """The platform of an account with these settings and ends."""
    account = plugin.account_model.model_validate({"api_key": KEY, **settings})
    setups = tuple(
        EndSetup(f"link{index}", end["organization"], plugin.end_model.model_validate(end))
        for index, end in enumerate(ends)
    )
    return plugin.build(AccountSetup("office", account, setups, "https://bridge.example.com"), http)


@asynccontextmanager
async def bench(
    *, users: tuple[str, ...] = ("9003", "9004"), timeout: float = 5.0, **settings: Any
) -> AsyncIterator[Bench]:
    """A simulator with one organization and the platform that calls it."""
    async with (
        RingotelSimulator(KEY) as desk,
        client_session() as session,
    ):
        desk.add_organization(["9003", "9004"], orgid=ORGID)
        http = Http(session, timeout=timeout)
        settings = {"base_url": desk.api_url, **settings}
        yield Bench(desk, build(http, ({"organization": ORGID, "users": list(users)},), **settings))
