"""One round: the same plan through the floor, or through the bridge on a database."""

from __future__ import annotations

import gc
import os
import pstats
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import traffic
from database import Database
from figures import Figures, Latencies
from load import Load, Times
from process import Bridge, Floor, Level, Relay, Setup, Usage, machine_cpu
from sink import Sink
from traffic import Plan, Post
from wrong import Wrong

PROFILED = 40
"""Functions of each thread that a profile shows."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a round is run."""

    concurrent: int
    users: tuple[str, ...]
    delay: float = 0.0
    """Seconds that the target takes to answer."""
    offered: float | None = None
    """Messages a second of an open loop; None: closed loop."""
    level: Level = "info"


async def floor_round(plan: Plan, shape: Shape) -> Figures:
    """Through the floor. Raises `Wrong`."""
    async with Sink(shape.users, delay=shape.delay) as sink:
        floor = await Floor.start(sink)
        try:
            load = await Load.to(floor.port, shape.concurrent)
            began = perf_counter()
            await load.run(traffic.openings(plan, floor.url, shape.users))
            opened = perf_counter() - began
            posts = traffic.calls(plan, floor.url, shape.users, sink.sessions())
            run = await _run(plan, posts, shape, load, sink, floor)
            load.close()
            await floor.stop()
        finally:
            await floor.kill()
        sink.check(plan, plan.said)
        return run.figures(opened)


async def bridge_round(plan: Plan, shape: Shape, database: Database, *, profile: bool = False) -> Figures:
    """Through the bridge, on a fresh database. Raises `Wrong`."""
    async with database.fresh() as (url, folder), Sink(shape.users, delay=shape.delay) as sink:
        bridge = await Bridge.start(Setup(folder, url, shape.concurrent, shape.level, profile), sink)
        try:
            load = await Load.to(bridge.port, shape.concurrent)
            opened = await _open_sessions(plan, shape, load, sink, bridge)
            posts = traffic.webhooks(plan, plan.said, bridge.url)
            before = await bridge.settled_metrics()
            run = await _run(plan, posts, shape, load, sink, bridge)
            after = await bridge.settled_metrics()
            load.close()
            await bridge.stop()
        finally:
            await bridge.kill()
        # Only now is it certain that nothing comes twice.
        sink.check(plan, (*plan.opening, *plan.said))
        sent = after["syncd_attempts_total"] - before["syncd_attempts_total"]
        if sent != run.deliveries:
            raise Wrong(f"{sent:.0f} attempts for {run.deliveries} deliveries")
        if profile:
            _print_profiles(folder / "profile")
        commits = after["syncd_commit_seconds_count"] - before["syncd_commit_seconds_count"]
        units = after["syncd_commit_units_total"] - before["syncd_commit_units_total"]
        return run.figures(opened, commits=commits, units=units)


@dataclass(frozen=True, slots=True)
class _Run:
    """What happened between the first post and the last arrival."""

    messages: int
    deliveries: int
    latencies: Latencies
    before: Usage
    after: Usage
    load_cpu: float
    others_cpu: float

    def figures(self, opened: float, *, commits: float = 0.0, units: float = 0.0) -> Figures:
        thousands = self.messages / 1000
        return Figures(
            rate=self.messages / self.latencies.seconds,
            ack_p50=self.latencies.ack_p50,
            ack_p99=self.latencies.ack_p99,
            deliver_p50=self.latencies.deliver_p50,
            deliver_p99=self.latencies.deliver_p99,
            tail=self.latencies.tail,
            cpu=(self.after.cpu - self.before.cpu) / thousands,
            loop_cpu=(self.after.main_cpu - self.before.main_cpu) / thousands,
            rss=self.after.rss / 2**20,
            grown=(self.after.rss - self.before.rss) / 1024 / thousands,
            load_cpu=self.load_cpu / thousands,
            others=self.others_cpu / self.latencies.seconds,
            opened=opened,
            commits=commits / self.messages,
            units=units / commits if commits else 0.0,
        )


async def _open_sessions(plan: Plan, shape: Shape, load: Load, sink: Sink, bridge: Bridge) -> float:
    posts = traffic.webhooks(plan, plan.opening, bridge.url)
    sink.expect(len(posts) * len(shape.users))
    began = perf_counter()
    await _posted(load.run(posts))
    await sink.all_here()
    return perf_counter() - began


async def _run(plan: Plan, posts: Sequence[Post], shape: Shape, load: Load, sink: Sink, relay: Relay) -> _Run:
    deliveries = len(plan.said) * len(shape.users)
    sink.expect(deliveries)
    # The load's own collections must not pass for the bridge's delays.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        machine, own, before = machine_cpu(), Usage.of(os.getpid()), relay.usage()
        work = load.run(posts) if shape.offered is None else load.offer(posts, shape.offered)
        times = await _posted(work)
        await sink.all_here()
        after, load_cpu = relay.usage(), Usage.of(os.getpid()).cpu - own.cpu
        others = machine_cpu() - machine - load_cpu - (after.cpu - before.cpu)
    finally:
        gc.enable()
        gc.unfreeze()
    latencies = Latencies.of(times, [post.text for post in posts], sink.arrivals)
    return _Run(len(plan.said), deliveries, latencies, before, after, load_cpu, max(0.0, others))


async def _posted(work: Awaitable[Times]) -> Times:
    """The first thing that went wrong with a post, alone."""
    try:
        return await work
    except* Wrong as group:
        wrong: BaseException = group
        while isinstance(wrong, BaseExceptionGroup):
            wrong = wrong.exceptions[0]
        raise Wrong(str(wrong)) from None


def _print_profiles(stem: Path) -> None:
    for thread in ("loop", "writer"):
        file = stem.with_name(f"{stem.name}.{thread}")
        if file.exists():
            print(f"\n{thread}: by own time")
            pstats.Stats(str(file)).sort_stats("tottime").print_stats(PROFILED)
