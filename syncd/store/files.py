"""The files of an open SQLite database: what is committed into a file that was taken away is lost (G1)."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from syncd.store.units import StoreUnavailable

_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""The first bytes of every write-ahead log."""
_HEADER, _FRAME_HEADER = 32, 24


class FilesChanged(StoreUnavailable):
    """A file was removed, replaced or cut off under the open database; the text says which."""


class Files:
    """Looks whether the files still are those that were opened, by a few system calls that cost some microseconds.

    The database itself is never opened here: closing it would take away SQLite's own locks on it.
    """

    def __init__(self, path: Path) -> None:
        # As SQLite does: the log lies beside the file that a link leads to.
        self._path = path.resolve()
        self._log = self._path.with_name(self._path.name + "-wal")
        self._database: tuple[int, int] | None = None
        self._opened: tuple[int, int] | None = None
        self._size = 0

    def opened(self) -> None:
        """The writer's connection was opened, by the same file as ever. Raises `FilesChanged`."""
        found = self._found(self._path)
        if self._database is None:
            self._database = found[0]
        self._opened, self._size = None, 0
        self._check_database(found[0])

    def check(self, connection: sqlite3.Connection, *, after: bool) -> None:
        """Before and `after` a transaction, outside of it. Raises `FilesChanged`."""
        self._check_database(self._found(self._path)[0])
        try:
            identity, size = self._found(self._log)
        except FilesChanged:
            if self._opened is None and not after:
                return  # It is made by the first transaction.
            raise
        if identity != (self._opened or identity):
            raise FilesChanged(f"{self._log} was replaced while syncd had it open")
        if size < self._size:
            self._check_cut(connection, size)
        if after and size and not self._has_head():
            raise FilesChanged(f"{self._log} was cut off while syncd had it open")
        self._opened, self._size = identity, size

    def _check_database(self, identity: tuple[int, int]) -> None:
        if identity != self._database:
            raise FilesChanged(f"{self._path} was replaced while syncd had it open")

    def _check_cut(self, connection: sqlite3.Connection, size: int) -> None:
        """Another program may have moved the log into the database, and emptied it: then SQLite knows of that."""
        frames = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
        page = connection.execute("PRAGMA page_size").fetchone()[0]
        if frames > 0 and size < _HEADER + frames * (_FRAME_HEADER + page):
            raise FilesChanged(f"{self._log} was cut off while syncd had it open")

    def _has_head(self) -> bool:
        with self._log.open("rb", buffering=0) as file:
            return file.read(4) in _MAGIC

    @staticmethod
    def _found(path: Path) -> tuple[tuple[int, int], int]:
        try:
            there = os.stat(path)  # noqa: PTH116 — a third of the time of `path.stat()`
        except FileNotFoundError:
            raise FilesChanged(f"{path} was removed while syncd had it open") from None
        return (there.st_dev, there.st_ino), there.st_size
