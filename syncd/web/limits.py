"""What the callers of a listener may take, and room for their connections among a process's open files (G9)."""

from __future__ import annotations

import resource
from dataclasses import dataclass

import structlog

from syncd.config.sections import Server

log = structlog.get_logger("syncd.web")

BACKLOG = 1024
"""Connections that wait to be accepted. All of them may be accepted at once, before any is turned away."""
ADMIN_CONNECTIONS = 64
"""The admin listener has its own, so that it answers while the public one is full."""
FILES = 128
"""That a daemon has open besides its connections: database, log, sockets."""
FEWEST = 32


@dataclass(frozen=True, slots=True)
class Limits:
    """What the callers of one listener may take; named like the keys of `[server]`."""

    max_body_bytes: int
    max_head_bytes: int
    head_seconds: float
    body_seconds: float
    idle_seconds: float
    max_connections: int


def limits_of(listener: str, server: Server, *, outgoing: int) -> tuple[Limits, int]:
    """Limits and backlog of the `public` or the `admin` listener, beside so many outgoing connections.

    For the public one, raises the process's own limit of open files as far as it may. What does not fit even then is
    taken from the connections, and said: without a file left, a daemon could not even send.
    """
    connections, backlog = ADMIN_CONNECTIONS, ADMIN_CONNECTIONS
    if listener == "public":
        connections, backlog = _room(server.max_connections, FILES + ADMIN_CONNECTIONS + outgoing)
        if connections < server.max_connections:
            log.warning(
                "connections.lowered",
                configured=server.max_connections,
                limit=connections,
                advice="raise the limit of open files (LimitNOFILE= in the unit, ulimit -n), or lower max_connections",
            )
    limits = Limits(
        max_body_bytes=server.max_body_bytes,
        max_head_bytes=server.max_head_bytes,
        head_seconds=server.head_seconds,
        body_seconds=server.body_seconds,
        idle_seconds=server.idle_seconds,
        max_connections=connections,
    )
    return limits, backlog


def _room(connections: int, others: int) -> tuple[int, int]:
    wanted = connections + BACKLOG + others
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _below(soft, wanted):
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        except (OSError, ValueError):
            pass
        else:
            soft = raised
    if not _below(soft, wanted):
        return connections, BACKLOG
    left = max(soft - others, 2 * FEWEST)
    fitting = min(connections, left * 3 // 4)
    return fitting, min(BACKLOG, left - fitting)


def _below(limit: int, wanted: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < wanted
