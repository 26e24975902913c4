"""How fast the bridge is: signed webhooks of simulated Bird in, simulated Ringotel out, beside a floor without memory.

    python benchmarks/relay.py                          64 at once, 500 conversations, SQLite
    python benchmarks/relay.py --database both --burst

Exit codes: 0 done; 1 something was lost, doubled, out of order or refused (no figure of such a run counts), or with
`--hold` a target is missed; 2 usage. benchmarks/README.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from statistics import median

from database import Database
from fastest import LOOP, run
from figures import Figures, table
from rounds import Shape, bridge_round, floor_round
from traffic import MOST_CONVERSATIONS, Plan
from wrong import Wrong

RATIOS = {"sqlite": 0.35, "postgresql": 0.25}
"""Least share of the floor's rate, at 64 concurrent and 500 conversations."""
BURST = {"messages": 500, "conversations": 500, "delay": 0.05}
BURST_MS = 1500.0
"""Most time from the last acknowledgement to the last arrival of a burst."""
OFFERED_MS = {"p50": 1.0, "p99": 3.0}
"""Most time to acknowledge at 1,000 a second offered."""
QUIET = 0.2
"""Processors that may be busy with anything else before rates and ratios are worth little."""
SMOKE = {"messages": 300, "conversations": 30, "rounds": 1}


@dataclass(frozen=True, slots=True)
class Target:
    """Something promised, and whether it was so."""

    what: str
    measured: float
    bound: float
    met: bool

    def __str__(self) -> str:
        return f"{self.what}: {self.measured:.2f}, target {self.bound:g}: {'met' if self.met else 'MISSED'}"


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    say = parser.add_argument
    say("--messages", type=_count, default=10_000, help="timed messages a round (%(default)s)")
    say("--concurrent", type=_count, default=64, help="keep-alive connections that post (%(default)s)")
    say("--conversations", type=_count, default=500, help="contacts (%(default)s)")
    say("--users", type=_count, default=1, help="users of the link: copies of each message (%(default)s)")
    say("--delay", type=float, default=0.0, help="seconds that the target takes to answer (%(default)s)")
    say("--database", default="sqlite", help="sqlite, postgresql, both, sqlite:///FOLDER, postgresql://… (%(default)s)")
    say("--rounds", type=_count, default=3, help="floor and bridge in turn, so often; medians count (%(default)s)")
    say("--seed", type=int, help="draw the conversations instead of taking turns")
    say(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"], help="of the bridge (%(default)s)"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--burst", action="store_true", help="500 messages of 500 conversations, a target of 50 ms")
    mode.add_argument("--offered", type=float, metavar="N", help="open loop: N messages a second, answered or not")
    mode.add_argument("--smoke", action="store_true", help="small and quick: is everything right and nothing absurd?")
    mode.add_argument("--profile", action="store_true", help="where the bridge's time goes (rates mean nothing then)")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="one document on standard output")
    shown.add_argument("--markdown", action="store_true", help="the table for the docs")
    say("--hold", action="store_true", help="exit 1 when a target is missed")
    given = parser.parse_args()
    preset = BURST if given.burst else SMOKE if given.smoke else {"rounds": 1} if given.profile else {}
    for name, value in preset.items():
        setattr(given, name, value)
    if given.conversations > MOST_CONVERSATIONS:
        parser.error(f"at most {MOST_CONVERSATIONS} conversations")
    if given.profile and sys.version_info >= (3, 12):
        parser.error("--profile needs Python 3.11: newer ones cannot profile two threads apart")
    try:
        given.databases = Database.named("both" if given.smoke else given.database)
    except ValueError as error:
        parser.error(f"--database: {error}")
    return given


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


async def bench(given: argparse.Namespace) -> int:
    """Run it and tell. The exit code."""
    users = tuple(str(9001 + number) for number in range(given.users))
    shape = Shape(given.concurrent, users, given.delay, given.offered, given.log_level)
    plan = Plan.of(given.messages, given.conversations, given.seed)
    places = await _places(given)
    floors: list[Figures] = []
    bridges: dict[str, list[Figures]] = {database.kind: [] for database in places}
    for number in range(given.rounds):
        if not given.profile:
            _say(f"round {number + 1} of {given.rounds}: floor")
            floors.append(await floor_round(plan, shape))
        for database in places:
            _say(f"round {number + 1} of {given.rounds}: {database.kind}")
            bridges[database.kind].append(await bridge_round(plan, shape, database, profile=given.profile))
    if given.profile:
        return 0
    ratios = {
        kind: median(mine.rate / floor.rate for mine, floor in zip(figures, floors, strict=True))
        for kind, figures in bridges.items()
    }
    columns = {"floor": Figures.median(floors)} | {kind: Figures.median(each) for kind, each in bridges.items()}
    if given.smoke:
        _sane(columns, ratios)
    targets = _targets(given, columns, ratios)
    _tell(given, list(places.values()), columns, ratios, targets)
    return int(given.hold and not all(target.met for target in targets))


async def _places(given: argparse.Namespace) -> dict[Database, str]:
    """The databases and what they lie on. The smoke run does without a PostgreSQL that nobody named."""
    places = {}
    for database in given.databases:
        try:
            places[database] = await database.place()
        except Wrong as wrong:
            if not given.smoke or "SYNCD_TEST_POSTGRES" in os.environ:
                raise
            _say(f"left out: {wrong}")
    return places


def _sane(columns: dict[str, Figures], ratios: dict[str, float]) -> None:
    """Counts and ratios that no machine changes."""
    for kind, ratio in ratios.items():
        figures = columns[kind]
        if not 0.01 < ratio < 1.0:
            raise Wrong(f"{kind}: {ratio:.3f} of the floor cannot be")
        if not 0 < figures.commits < 2:
            raise Wrong(f"{kind}: {figures.commits:.2f} commits a message: they are not grouped")


def _targets(given: argparse.Namespace, columns: dict[str, Figures], ratios: dict[str, float]) -> list[Target]:
    """Those that this run can speak of."""
    found = []
    standard = (given.concurrent, given.conversations, given.delay, given.users) == (64, 500, 0.0, 1)
    for kind, ratio in ratios.items():
        figures = columns[kind]
        if given.burst:
            what = f"{kind}: ms from the last acknowledgement to the last of {given.messages} arrivals"
            found.append(Target(what, figures.tail, BURST_MS, figures.tail <= BURST_MS))
        elif given.offered == 1000:
            for name, bound in OFFERED_MS.items():
                value = getattr(figures, f"ack_{name}")
                found.append(Target(f"{kind}: ms to acknowledge, {name}", value, bound, value <= bound))
        elif standard and given.offered is None:
            found.append(Target(f"{kind}: ratio to the floor", ratio, RATIOS[kind], ratio >= RATIOS[kind]))
    return found


def _tell(
    given: argparse.Namespace,
    places: list[str],
    columns: dict[str, Figures],
    ratios: dict[str, float],
    targets: list[Target],
) -> None:
    names = ("messages", "concurrent", "conversations", "users", "delay", "rounds", "seed", "offered", "log_level")
    asked = {name: getattr(given, name) for name in names}
    machine = {"processors": os.cpu_count(), "python": platform.python_version(), "loop": LOOP, "databases": places}
    if given.json:
        document = {
            "options": asked,
            "machine": machine,
            "ratios": ratios,
            "figures": {name: asdict(figures) for name, figures in columns.items()},
            "targets": [asdict(target) for target in targets],
        }
        print(json.dumps(document, indent=2))
        return
    said = [f"{given.messages} messages", f"{given.conversations} conversations", f"{given.concurrent} concurrent"]
    if given.users > 1:
        said.append(f"{given.users} users")
    if given.offered is not None:
        said.append(f"{given.offered:g} a second offered")
    if given.delay:
        said.append(f"a target that takes {given.delay * 1000:g} ms")
    said.append(f"medians of {given.rounds} rounds" if given.rounds > 1 else "one round")
    print(f"{', '.join(said)}; {os.cpu_count()} processors, Python {machine['python']}, {LOOP}, {', '.join(places)}\n")
    print(table(columns, ratios, markdown=given.markdown))
    if columns["floor"].others > QUIET:
        print("\nOther work kept this machine busy during the floor: do not quote these rates and ratios.")
    for target in targets:
        print(f"\n{target}" if target is targets[0] else str(target))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run the benchmark. The exit code."""
    given = options()
    try:
        return run(bench(given))
    except Wrong as wrong:
        _say(f"FAILED: {wrong}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
