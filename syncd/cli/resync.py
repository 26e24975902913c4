"""`syncd resync`: asks for a resync, shows its plan and how far it is; with `--dry-run` only the plan."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import typer

from syncd.cli.asking import begin, carry_out
from syncd.cli.outcome import DONE, FAILED, Failure
from syncd.cli.output import Document, Output
from syncd.config import Config
from syncd.daemon.parts import client_session, platforms_of
from syncd.engine.comparing import Planner, shown
from syncd.engine.resync import CannotBe, Detail, scope_of
from syncd.model.clock import utc_now
from syncd.model.operation import Kind, Wish
from syncd.model.resync import Mode
from syncd.model.sending import SendError
from syncd.store import operations, reading
from syncd.store.database import Location

SINCE = timedelta(days=30)
"""How far back is looked where nobody says."""
LOOK_SECONDS = 0.25
LINE_SECONDS = 5.0
"""Between two lines on the progress, where there is no terminal."""
LEFT_SECONDS = 10.0
"""How long we wait whether another host's daemon begins what was put into the tables."""

_AGO = re.compile(r"(\d+)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str | None, name: str, now: datetime) -> datetime | None:
    """A time as people give it: RFC 3339, a date, or how long ago (`90m`, `7d`). Raises `typer.BadParameter`."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        at = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"--{name} is no time: 2026-03-01, 2026-03-01T09:30:00Z, or 7d for a week ago"
        ) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def wish_of(
    link: str, *, contact: str | None, user: str | None, since: str | None, until: str | None, mode: Mode
) -> Wish:
    """What is asked for. Raises `typer.BadParameter`."""
    now = utc_now()
    detail = Detail(
        since=moment(since, "since", now) or now - SINCE,
        until=moment(until, "until", now) or now,
        contact=contact,
        user=user,
        mode=mode,
    )
    return Wish(Kind.RESYNC, link, msgspec.json.encode(detail).decode())


def command(config: Config, out: Output, wish: Wish, *, dry_run: bool) -> int:
    """Do it, or say what would be done; the exit code."""
    try:
        scope_of(wish, config.topology)
    except CannotBe as error:
        raise Failure(FAILED, str(error)) from None
    if dry_run:
        plan = asyncio.run(_plan(config, wish))
        out.show({"link": wish.subject, "dry_run": True, "plan": plan}, lambda found: render_plan(found["plan"], out))
        return DONE
    return _done(config, out, wish)


async def _plan(config: Config, wish: Wish) -> Document:
    """Made of readers only: this process never opens the database to write, and asks platforms for lists alone."""
    link, scope = scope_of(wish, config.topology)
    read = partial(reading.read, Location.of(config.database.url.reveal()))
    async with client_session() as session:
        platform = platforms_of(config, session)[link.channel.account]
        try:
            planned = await Planner(read, link, platform, scope, utc_now()).plan()
        except SendError as error:
            raise Failure(FAILED, f"the history of {link.name} cannot be read: {error}") from None
    return shown(planned.plan) | {"history": planned.history}


def _done(config: Config, out: Output, wish: Wish) -> int:
    operation_id, answered = asyncio.run(begin(config, wish))
    with ExitStack() as stack:
        shower: Shower = stack.enter_context(Bar()) if sys.stderr.isatty() and not out.as_json else Lines(out)

        def planned(plan: Document) -> None:
            if not out.as_json:
                render_plan(plan, out)

        try:
            found = asyncio.run(_watch(config, operation_id, planned, shower, answered=answered))
        except KeyboardInterrupt:
            out.tell("it is being stopped; what was begun is finished, and a repetition goes on from there")
            stack.close()
            carry_out(config, out, [Wish(Kind.STOP, operation_id)])
            return FAILED
    document = {"operation": operation_id, "link": wish.subject, "dry_run": False} | found
    out.show(document, lambda one: out.line(one["result"]))
    return DONE if found["state"] in ("done", "waiting") else FAILED


async def _watch(
    config: Config,
    operation_id: str,
    planned: Callable[[Document], None],
    shower: Shower,
    *,
    answered: bool,
) -> Document:
    """Look at the record until the operation has ended. Reads only."""
    location = Location.of(config.database.url.reveal())
    loop = asyncio.get_running_loop()
    began, plan = loop.time(), None
    while True:
        row = (await reading.read(location, operations.results, [operation_id]))[operation_id]
        progress = json.loads(row.progress) if row.progress else {}
        if plan is None and progress.get("plan") is not None:
            plan = progress["plan"]
            planned(plan)
        if progress.get("plan") is not None:
            shower.show(progress["done"], progress["of"])
        if row.state not in ("waiting", "running"):
            return progress | {"state": row.state, "result": row.result}
        if row.state == "waiting" and not answered and loop.time() - began > LEFT_SECONDS:
            return {"state": "waiting", "result": "no daemon runs now: the next one does it"}
        await asyncio.sleep(LOOK_SECONDS)


class Bar:
    """Progress on a terminal, with the rate and the remaining time."""

    def __enter__(self) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (TextColumn("copies"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
        self._task = self._progress.add_task("copies", total=None, rate="")
        self._progress.start()
        self._began: tuple[float, int] | None = None
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.stop()

    def show(self, done: int, of: int) -> None:
        """So many copies are done."""
        now = asyncio.get_running_loop().time()
        began, before = self._began = self._began or (now, done)
        rate = f"{(done - before) / (now - began):.1f}/s" if now > began else ""
        self._progress.update(self._task, completed=done, total=of, rate=rate)


class Lines:
    """Progress where there is no terminal: a line now and then, on standard error."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._began: float | None = None
        self._told = 0.0

    def show(self, done: int, of: int) -> None:
        """So many copies are done."""
        now = asyncio.get_running_loop().time()
        if self._began is None:
            self._began = self._told = now
        elif now - self._told >= LINE_SECONDS:
            self._told = now
            rate = done / (now - self._began)
            left = f", {(of - done) / rate:.0f} s left" if rate else ""
            self._out.tell(f"{done} of {of} copies, {rate:.1f}/s{left}")


Shower = Bar | Lines


def render_plan(plan: Document, out: Output) -> None:
    """A plan for people."""
    missing = plan["missing"]
    out.line(f"missing    {missing['messages']} messages, in {missing['copies']} copies")
    for kind in ("differing", "ambiguous"):
        out.line(f"{kind}  {plan[kind]['messages']} messages{'; left alone' if plan[kind]['messages'] else ''}")
    if not plan["history"]:
        out.line("The channel has no history that could be read: what syncd has itself is compared.")
    for kind in ("missing", "differing", "ambiguous"):
        examples = plan[kind]["examples"]
        rows = [one | {"why": one.get("why", "")} for one in examples]
        columns = {"said_at": "said", "contact": "contact", "id": "id"} | ({} if kind == "missing" else {"why": "why"})
        if rows:
            out.table(f"{kind}, the first {len(rows)}", columns, rows, empty="")
    if plan["seen"]:
        out.line()
        out.line("nothing to do: " + ", ".join(f"{count} {reason}" for reason, count in plan["seen"].items()))
    if plan["capped"]:
        out.line("There is more than one plan may hold: run it again afterwards.")
