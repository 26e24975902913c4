"""Whatever happens, no statement costs more because more was done before."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.setting import Ground
from tests.machine.steps import Machine
from tests.machine.test_whatever_happens import profile
from tests.store.databases import statements
from tests.store.plans import growing

ONCE = (
    "UPDATE lane SET owner=?, lease_until=?",
    "SELECT lane.id FROM lane WHERE lane.owner = ?",
    "DELETE FROM session WHERE session.sessionid IS NULL",
)
"""When a process starts or ends."""


# PostgreSQL's plans depend on what is in the tables; its indexes are the same ones.
@pytest.mark.parametrize("ground", ["sqlite"], indirect=True)
def test_no_statement_reads_what_is_done(ground: Ground, migrated_sqlite: Path) -> None:
    """Design §13: a message costs the same with a million before it."""
    machine = type("Machine", (Machine,), {"ground": ground})
    with statements() as sent:
        run_state_machine_as_test(machine, settings=settings(profile(1), max_examples=10))
    assert len(set(sent)) > 50
    found = growing(migrated_sqlite, sent)
    assert {one: plan for one, plan in found.items() if not one.startswith(ONCE)} == {}
