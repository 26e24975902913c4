"""The phases of a daemon's life, and the steps that each of them passes: where the matrix kills."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

import syncd
from syncd import failpoints
from tests.failpoints import plays
from tests.failpoints.plays import Play

SQLITE, POSTGRESQL = "sqlite", "postgresql"


@dataclass(frozen=True, slots=True)
class Phase:
    """Steps, and a play that makes the daemon pass each of them, at every position, whatever happens."""

    name: str
    steps: tuple[str, ...]
    play: Play
    before: Play = plays.configured
    """What is there before the daemon starts that is to be killed."""
    turns: tuple[int, ...] = (1,)
    """The daemon is killed when it comes to the point for the n-th time, for each of these n."""
    kills: int = 1
    """The daemons that start afterwards are killed at the same point too, until so many have died."""
    databases: tuple[str, ...] = (SQLITE, POSTGRESQL)
    tolerated: tuple[str, ...] = ()
    """Log events that belong to the phase."""


_STARTS = ("migrate", "prepare_database")
_STARTS_ALONE = ("disown_all", "disown_cursors", "disown_openings", "disown_media", "forget_states")
"""On PostgreSQL other processes may be alive: nobody's leases are taken away there, they run out."""

PHASES = (
    Phase("new", _STARTS, plays.talk, kills=2),
    Phase("start", _STARTS, plays.talk, before=plays.interrupted, kills=2),
    Phase("start", _STARTS_ALONE, plays.talk, before=plays.interrupted, kills=2, databases=(SQLITE,)),
    Phase("start", ("remove_texts", "remove_events", "media_remove"), plays.talk, before=plays.interrupted),
    Phase(
        "talk",
        ("translate", "open_session", "session_opened", "write_head", "write_body", "read_answer"),
        plays.talk,
    ),
    Phase("talk", ("receive", "send", "claim", "finish"), plays.talk),
    Phase(
        "refusal",
        ("session_not_opened", "postpone", "account_state", "hurry"),
        plays.first_contacts,
        before=plays.refusing,
    ),
    Phase("doubt", ("settle",), plays.doubt, before=plays.answerless, kills=2),
    Phase(
        "poison",
        ("keep_failed", "look_again", "fail_waiting"),
        plays.poison,
        before=plays.poisonable,
        tolerated=("event.failed",),
    ),
    Phase("poll", ("poll", "cursor_take", "cursor_move"), plays.polled, before=plays.polling),
    Phase("renewal", ("renew",), plays.long_send, databases=(POSTGRESQL,)),
    Phase("decision", ("operate", "ask"), plays.decided, before=plays.in_doubt, tolerated=("operation.refused",)),
    Phase("decision", ("operate_waiting",), plays.decided_elsewhere, databases=(POSTGRESQL,)),
    Phase("files", ("media_claim", "media_fetch", "media_part", "media_keep"), plays.files, before=plays.filing),
    Phase("files gone", ("media_miss",), plays.files, before=plays.filing_nothing),
    Phase("files later", ("media_postpone",), plays.files, before=plays.filing_later),
    Phase("too early", ("look_at_parked", "give_up_parked"), plays.too_early),
    Phase(
        "too early and poison",
        ("fail_parked",),
        plays.too_early_and_poison,
        before=plays.poisonable_edits,
        tolerated=("event.failed",),
    ),
    Phase("directory", ("learn_users",), plays.talk),
    Phase(
        "resync",
        ("begin_long", "resync_run", "resync_report", "resync", "resync_end"),
        plays.caught_up,
        before=plays.behind,
    ),
    Phase(
        "forget",
        (
            "begin_long",
            "forget_thin",
            "forget_begin",
            "forget_wait",
            "forget_messages",
            "forget_events",
            "forget_rest",
            "forget_end",
        ),
        plays.forgotten,
        before=plays.remembered,
    ),
    Phase("end", ("release_all", "cursor_leave"), plays.terminated, before=plays.polling),
    Phase("end", ("media_release",), plays.files_at_the_end, before=plays.filing),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One kill of the matrix. `phase` is None where no phase passes the point: someone forgot it."""

    point: str
    database: str
    turn: int
    phase: Phase | None

    def __str__(self) -> str:
        return f"{self.database}-{self.phase.name if self.phase else 'none'}-{self.point}@{self.turn}"


def import_everything() -> None:
    """Import all of syncd, so that the registry holds all steps that there are."""
    for module in pkgutil.walk_packages(syncd.__path__, "syncd."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def cases() -> list[Case]:
    """Every point of the registry, in every phase that passes it, on every database that has it."""
    import_everything()
    found = []
    for point in sorted(failpoints.points()):
        step = point.partition(":")[0]
        phases = [phase for phase in PHASES if step in phase.steps]
        found += [
            Case(point, database, turn, phase)
            for phase in phases
            for database in phase.databases
            for turn in phase.turns
        ]
        if not phases:
            found += [Case(point, database, 1, None) for database in (SQLITE, POSTGRESQL)]
    return found
