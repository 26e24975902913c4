"""The control socket: where the command line asks the daemon that runs (design §6)."""

from __future__ import annotations

import errno
import json
import os
import pwd
import socket
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from aiohttp import web

from syncd.engine.operations import Operations
from syncd.model.operation import Wish
from syncd.store.writer import StoreUnavailable

PATH = "/operations"
_PEER = struct.Struct("3i")
"""`struct ucred`: process, user, group (unix(7))."""


class Asking(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request: wishes, in order."""

    wishes: list[Wish]


class Control:
    """Answers the command line: `POST /operations` with wishes, what became of each comes back.

    `operations` gives those that are in force.
    """

    def __init__(self, operations: Callable[[], Operations]) -> None:
        self._operations = operations

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request on the control socket."""
        if request.path != PATH or request.method != "POST":
            return _json(404, {"error": "this syncd does not know that request: use the same version on both sides"})
        try:
            asking = msgspec.json.decode(await request.read(), type=Asking)
        except web.HTTPRequestEntityTooLarge:
            return _json(413, {"error": "that is too much at once"})
        except msgspec.DecodeError as error:
            return _json(400, {"error": f"not understood: {error}"})
        try:
            done = await self._operations().ask(asking.wishes, _asker(request))
        except StoreUnavailable as error:
            return _json(503, {"error": f"the database does not answer: {error}"})
        return _json(200, {"done": [{"id": one.id, "ok": one.ok, "result": one.result} for one in done]})


@asynccontextmanager
async def listening(
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], path: Path
) -> AsyncIterator[None]:
    """Listen at `path` (mode 0600). One that a dead daemon left, or another has here, is taken over.

    Raises `OSError`, with the path in it, where that is not possible.
    """
    listener, mine = _bound(path)
    runner = web.ServerRunner(web.Server(answer, access_log=None), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()
        _removed(path, mine)


def _removed(path: Path, mine: int) -> None:
    with suppress(FileNotFoundError):
        if path.stat().st_ino == mine:
            path.unlink()


def _bound(path: Path) -> tuple[socket.socket, int]:
    """The listening socket, and its file's number."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, "its folder is a file", str(path)) from None
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.stat().st_mode):
                raise FileExistsError(errno.EEXIST, "is there already and is no socket", str(path))
            path.unlink()
        # The mode is right from the beginning: nobody else can connect in between.
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror or "cannot be made", str(path)) from error
    return listener, path.stat().st_ino


def _asker(request: web.BaseRequest) -> str:
    """Who asks, as the kernel tells: nobody can pass for somebody else."""
    assert request.transport is not None
    peer = request.transport.get_extra_info("socket")
    _, user, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return user_name(user)


def user_name(user: int) -> str:
    """The name of a user of this machine, or its number."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")
