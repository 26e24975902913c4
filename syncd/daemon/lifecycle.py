"""A daemon as a process: its event loop, its signals, and its end in time (G8)."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

import structlog

from syncd import failpoints
from syncd.config import Config
from syncd.daemon.notify import READY, STOPPING, notify, reloading
from syncd.daemon.running import Daemon
from syncd.store.database import DatabaseError

log = structlog.get_logger("syncd.daemon")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LAST_WORDS_SECONDS = 0.1


class NotListening(Exception):
    """An address cannot be listened on; the text names its key and says what to do."""


def run(config: Config, use: Callable[[Config], None] = lambda config: None) -> None:
    """Run a daemon until SIGTERM or SIGINT and drain it. Only in the main thread.

    SIGHUP makes it read its config again; `use` is called with the new one before anything is done by it.
    Ends the process with 0 where draining takes longer than `drain_seconds`, with 1 at a second signal.
    Raises `DatabaseError` where the database cannot be used, `NotListening` for an address.
    """
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        runner.run(_run(config, use))


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run(config: Config, use: Callable[[Config], None]) -> None:
    if failpoints.SWITCHED_ON:
        # Never to happen unseen: a process that ends by itself at a commit.
        log.warning("daemon.failpoints", points=os.environ[failpoints.VARIABLE], mistakes=failpoints.mistakes())
    daemon = Daemon(config, use=use, on_reload=lambda: notify(reloading()))
    stopping = threading.Event()
    loop = asyncio.get_running_loop()

    def begin_to_stop() -> None:
        notify(STOPPING)
        daemon.stop()

    # Not the loop's own handlers: a second signal must end the process also while the loop is kept from turning.
    def signalled(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()
        loop.call_soon_threadsafe(begin_to_stop)

    threading.Thread(
        target=_end_in_time, args=(stopping, config.server.drain_seconds), name="end-in-time", daemon=True
    ).start()
    for number in SIGNALS:
        signal.signal(number, signalled)
    signal.signal(signal.SIGHUP, lambda number, frame: loop.call_soon_threadsafe(daemon.reload))
    try:
        await daemon.run(lambda: notify(READY))
    except OSError as error:
        raise _explained(error, config, daemon) from error
    finally:
        # Whoever asks for a reload now comes too late, and must not end what has almost ended well.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _end_in_time(stopping: threading.Event, seconds: float) -> None:
    """Whatever hangs, the process ends in time: what is not recorded by then is settled at the next start (G7)."""
    stopping.wait()
    time.sleep(max(0.0, seconds - LAST_WORDS_SECONDS))
    # What hangs may be the log itself.
    last_words = threading.Thread(target=_say_incomplete, daemon=True)
    last_words.start()
    last_words.join(LAST_WORDS_SECONDS)
    os._exit(0)


def _say_incomplete() -> None:
    log.warning("daemon.drain_incomplete", advice="sends without an answer are settled at the next start")


def _explained(error: OSError, config: Config, daemon: Daemon) -> Exception:
    """A taken port has no file name and comes before both listeners listen; all else is not ours to explain."""
    if error.filename == str(config.server.control_socket):
        advice = f"{error.strerror}: choose a path in a folder that syncd may write to"
        return NotListening(f"server.control_socket: {error.filename}: {advice}")
    if error.filename is not None:
        return DatabaseError(f"{error.filename}: {error.strerror}: give syncd the right to it, or correct database.url")
    key = next((key for key in ("admin_listen", "listen") if key not in daemon.addresses), None)
    if key is None:
        return error
    address = getattr(config.server, key)
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        advice = "is no address of this machine: correct it"
    elif error.errno == errno.EADDRINUSE:
        advice = "is in use by another program: stop that, or choose another port"
    elif error.errno in (errno.EACCES, errno.EPERM):
        advice = "may not be listened on: choose a port above 1023"
    else:
        advice = f"cannot be listened on: {error.strerror or error}"
    return NotListening(f"server.{key}: {address} {advice}")
