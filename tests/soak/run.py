"""One soak: people write, the storm rages, everything is healed, and what came of it is judged."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.soak.fleet import Doubt, Fleet, Notice
from tests.soak.people import People
from tests.soak.replica import Replica
from tests.soak.report import Held, Memory, Report
from tests.soak.storm import GAP, Storm
from tests.soak.texts import Texts
from tests.support.databases import Database
from tests.support.history import Arrived
from tests.support.settings import Settings

RATE = 8.0
"""Messages a second."""
SETTLE_SECONDS = 300.0
"""Longer than any lease, opening, doubt and wait one after the other."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for."""

    seconds: float
    seed: int
    processes: int
    rate: float = RATE
    gap: float = GAP
    corpus: Path | None = None


async def soak(plan: Plan, folder: Path, database: Database) -> Report:
    """Do it. Whatever goes wrong stands in the report."""
    report = Report(database.kind, plan.processes, plan.seed, plan.seconds)
    fleet = Fleet(folder, database, size=plan.processes)
    try:
        async with fleet:
            await _soaked(plan, fleet, report)
    except Exception as error:
        report.wrong.append(f"{type(error).__name__}: {error}")
    return report


async def _soaked(plan: Plan, fleet: Fleet, report: Report) -> None:
    dice = random.Random(plan.seed)
    loop = asyncio.get_running_loop()
    for simulator in (fleet.ring, fleet.bird, fleet.islash):
        simulator.latency = 0.004
    fleet.islash.auto_statuses = ("sent", "delivered")
    await fleet.start(Settings(poll_interval="1s"))
    await fleet.first_poll()
    scale = Scale(fleet.replicas)
    people = People(
        fleet, Texts(plan.corpus, random.Random(dice.random())), random.Random(dice.random()), rate=plan.rate
    )
    storm = Storm(fleet, random.Random(dice.random()), gap=plan.gap)
    weighing = asyncio.create_task(scale.weigh())
    began = loop.time()
    people.start()
    storm.start()
    try:
        while loop.time() - began < plan.seconds and not people.failed and not storm.failed:
            await asyncio.sleep(0.2)
        await storm.end()
        ended = loop.time()
        await people.hush()
        with_trouble = await _quiet(fleet)
        report.settled_after = loop.time() - ended
    finally:
        for one in (weighing, people, storm):
            one.cancel()
    report.wrong += with_trouble
    report.memory = scale.read()
    tally = storm.tally
    report.kills, report.stops, report.restarts = tally.kills, tally.stops, tally.restarts
    report.mischief = dict(sorted(tally.mischief.items()))
    report.injected = tally.hits()
    report.odd_webhooks = dict(people.odd)
    report.wrong += tally.wrong
    if took := tally.ready_after:
        figures = {"least": min(took), "middle": statistics.median(took), "most": max(took)}
        report.ready_after = {name: round(seconds, 2) for name, seconds in figures.items()}
    await _judge(fleet, report)


async def _quiet(fleet: Fleet) -> list[str]:
    try:
        await fleet.quiet(seconds=SETTLE_SECONDS)
    except AssertionError as error:
        return [f"it does not settle: {error}"]
    return []


async def _judge(fleet: Fleet, report: Report) -> None:
    answers = Counter(answer for one in (fleet.ring, fleet.bird, fleet.islash) for answer in one.hook_answers)
    report.offered, report.answers = answers.total(), {str(status): count for status, count in sorted(answers.items())}
    report.said, report.arrived = len(fleet.said), len(fleet.arrived())
    doubts = await fleet.doubts()
    report.unknown = [Held(one.id, f"{one.lane.target} for {one.lane.contact}", one.reason) for one in doubts]
    listed = (await fleet.replicas[0].command("unknown", "list"))["deliveries"]
    if {row["id"] for row in listed} != {one.id for one in doubts}:
        report.wrong.append(f"`syncd unknown list` tells of {len(listed)} of {len(doubts)}")
    found = fleet.judge(doubts)
    for fault in found:
        report.faults[fault.kind] += 1
    report.wrong += map(str, found)
    if found:
        contacts = sorted({fault.lane.contact for fault in found})
        evidence = {contact: await fleet.evidence(contact) for contact in contacts}
        (fleet.bridge.config.parent / "evidence.json").write_text(json.dumps(evidence, indent=1, default=str))
    dead = await fleet.deliveries("d.state = 'dead'")
    report.wrong += [f"given up: {row['link']} {row['target']} {row['contact']}: {row['reason']}" for row in dead]
    report.wrong += await fleet.table_faults()
    report.notices = len(fleet.notices())
    report.wrong += notice_faults(fleet.notices(), await fleet.notices_due(), doubts)


def notice_faults(told: Sequence[Arrived], due: Sequence[Notice], doubts: Sequence[Doubt]) -> list[str]:
    """Users are told of each message of theirs of which nobody knows whether it arrived, once.

    Where news of it came after that, they were told all the same.
    """
    promised = {notice.message for notice in due}
    found = [
        f"its author is not told: {doubt.lane.target} for {doubt.lane.contact}"
        for doubt in doubts
        if doubt.author == "user" and not doubt.lane.target.startswith("desk:") and doubt.message not in promised
    ]
    arrived = Counter((notice.lane, notice.text) for notice in told)
    wanted = Counter((notice.lane, notice.text) for notice in due)
    unsure = Counter((doubt.lane, doubt.text) for doubt in doubts if doubt.author == "syncd")
    for lane, text in {*arrived, *wanted}:
        key = (lane, text)
        if not wanted[key] - unsure[key] <= arrived[key] <= wanted[key]:
            found.append(f"told {arrived[key]} times of {wanted[key]}: {lane.target} for {lane.contact}: {text}")
    return found


class Scale:
    """Weighs the daemons, every second."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas = replicas
        self._first = {replica: replica.memory() for replica in replicas}
        self._most = dict(self._first)

    async def weigh(self) -> None:
        """Until cancelled."""
        while True:
            for replica in self._replicas:
                self._most[replica] = max(self._most[replica], replica.memory())
            await asyncio.sleep(1.0)

    def read(self) -> list[Memory]:
        """What was weighed."""
        megabytes = 1024
        return [
            Memory(one.name, self._first[one] / megabytes, one.memory() / megabytes, self._most[one] / megabytes)
            for one in self._replicas
        ]
