"""A process that forks itself for whoever asks: what it has imported need not be imported again."""

from __future__ import annotations

import gc
import json
import os
import socket
import threading
from collections.abc import Callable


def serve(channel: socket.socket, fds: int, work: Callable[..., None]) -> None:
    """For each request (JSON, with so many open files) run `work(asked, *files)` in a process of its own, until EOF.

    That process stands between: it may wait for what it starts, so that this one need not.
    """
    assert threading.active_count() == 1, "a process with threads must not be forked"
    gc.freeze()
    while True:
        asked, files, _, _ = socket.recv_fds(channel, 1 << 20, fds)
        if not asked:
            return
        if os.fork() == 0:
            work(json.loads(asked), *files)
            return
        for file in files:
            os.close(file)
        while _reaped():
            pass


def _reaped() -> bool:
    """Take leave of one of those between that have ended, if there is one."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False
