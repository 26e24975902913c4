"""`kill -9` at every failpoint, on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.failpoints.killing import figures_of, killed_at, settled
from tests.failpoints.phases import Case, cases
from tests.support.figures import Figures
from tests.support.world import World


@pytest.mark.parametrize(
    ("database", "case"),
    [pytest.param(case.database, case, id=str(case)) for case in cases()],
    indirect=["database"],
)
@pytest.mark.timeout(150)
async def test_killed_at_every_point(world: World, case: Case, summed: Callable[[Figures], None]) -> None:
    """G1 to G7: what was acknowledged before or after is there once, in order; what is in doubt is on a list."""
    phase = case.phase
    assert phase is not None, f"no phase passes {case.point}: add one to tests/failpoints/phases.py"
    world.tolerated |= set(phase.tolerated)
    await phase.before(world)
    in_flight = await killed_at(world, case.point, phase.play, turn=case.turn, kills=phase.kills)
    await settled(world, in_flight)
    doubts = await world.deliveries("d.state = 'unknown'")
    summed(figures_of(world, "kill -9 at a failpoint", len(doubts)))
