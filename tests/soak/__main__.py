"""`python -m tests.soak`: see `--help`. The exit code is 1 where anything is wrong."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tests.soak import texts
from tests.soak.report import Report
from tests.soak.run import RATE, Plan, soak
from tests.support.databases import postgresql_database, sqlite_database, why_no_postgresql


def main() -> int:
    """Soak as the arguments say, and print the reports."""
    arguments = _arguments()
    corpus = texts.corpus(arguments.corpus)
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    kinds = ("sqlite", "postgresql") if arguments.database == "both" else (arguments.database,)
    reports = []
    for kind in kinds:
        processes = 1 if kind == "sqlite" else arguments.processes
        plan = Plan(arguments.seconds, seed, processes, rate=arguments.rate, corpus=corpus)
        print(f"{kind}: seed {seed}, {plan.seconds:g} s", file=sys.stderr, flush=True)
        reports.append(asyncio.run(_ended_by_signals(_soak(kind, plan))))
        if not arguments.json:
            print(reports[-1].text(), flush=True)
    if arguments.json:
        print(json.dumps({"soaks": [report.document() for report in reports]}, indent=2))
    return 0 if all(report.passed for report in reports) else 1


async def _ended_by_signals(soaking: Coroutine[Any, Any, Report]) -> Report:
    """A signal ends the daemons too, and drops the database."""
    task = asyncio.create_task(soaking)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        sys.exit("ended before its time")


async def _soak(kind: str, plan: Plan) -> Report:
    folder = Path(tempfile.mkdtemp(prefix="syncd-soak-"))
    if kind == "sqlite":
        report = await soak(plan, folder, sqlite_database(folder))
    else:
        reason = await why_no_postgresql()
        if reason is not None:
            sys.exit(reason)
        async with postgresql_database() as database:
            report = await soak(plan, folder, database)
    if report.passed:
        shutil.rmtree(folder)
    else:
        print(f"logs and evidence are in {folder}", file=sys.stderr)
    return report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Real daemons between simulated platforms, people who write, and all that can go wrong.",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it rages on each database (60)")
    parser.add_argument("--seed", type=int, help="of all choices; the timing is not repeated (default: a new one)")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--processes", type=int, choices=(1, 2, 3), default=3, help="on PostgreSQL (3)")
    parser.add_argument("--rate", type=float, default=RATE, help=f"messages a second ({RATE:g})")
    parser.add_argument("--corpus", help=f"JSON lines with `text` (default: {texts.VARIABLE}, or made-up texts)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
