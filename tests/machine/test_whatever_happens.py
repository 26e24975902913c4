"""Whatever happens in whatever order, on either database, nothing is lost, doubled, reordered or looped.

`SYNCD_MACHINE_EXAMPLES=2000` looks longer, and elsewhere every time. A failure prints the steps, and a line that
repeats it (`@reproduce_failure`).
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.setting import Ground
from tests.machine.steps import Machine

LONG = "SYNCD_MACHINE_EXAMPLES"
USUAL = {1: 30, 2: 10}
"""Examples by the number of processes; all of them together take less than 45 seconds."""


def profile(processes: int) -> settings:
    """A few examples, always the same; or as many as asked for, others each time."""
    examples = os.environ.get(LONG)
    return settings(
        max_examples=int(examples or USUAL[processes]),
        stateful_step_count=30,
        derandomize=examples is None,
        database=None,
        deadline=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def test_whatever_happens_nothing_is_lost_doubled_reordered_or_looped(ground: Ground) -> None:
    """G1, G2, G3, G4, G5, G6, G7, G10, G14: any order of what people, platforms, networks and operators do."""
    machine = type("Machine", (Machine,), {"ground": ground})
    run_state_machine_as_test(machine, settings=profile(len(ground.look.processes)))
