"""The soak in short: what half an hour would find more of."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.soak import texts
from tests.soak.fleet import Doubt, Notice
from tests.soak.report import KINDS, Report
from tests.soak.run import Plan, notice_faults, soak
from tests.support.databases import Database
from tests.support.history import Arrived, Lane
from tests.support.world import ALICE

SEED = 20
SECONDS = 12.0


@pytest.mark.timeout(600)
async def test_a_short_soak(database: Database, tmp_path: Path) -> None:
    """G1 to G7, G14: whatever goes wrong for a while, nothing is lost or doubled but what is listed."""
    plan = Plan(SECONDS, SEED, 1 if database.kind == "sqlite" else 3, gap=0.8, corpus=texts.corpus(None))
    report = await soak(plan, tmp_path, database)
    assert report.passed, report.text()
    assert report.said > SECONDS
    assert report.arrived > report.said
    assert report.kills > 0
    assert sum(report.injected.values()) > 3


def test_a_report_tells_what_is_wrong_to_people_and_programs() -> None:
    report = Report("sqlite", 1, 7, 30.0)
    assert report.passed
    report.wrong.append("lost at sms for somebody")
    assert "FAILED" in report.text()
    assert "WRONG: lost at sms for somebody" in report.text()
    document = json.loads(json.dumps(report.document()))
    assert (document["passed"], document["seed"]) == (False, 7)
    assert set(document["faults"]) == set(KINDS)


def test_a_seed_makes_the_same_texts() -> None:
    first, second, other = (texts.Texts(None, random.Random(seed)) for seed in (1, 1, 2))
    said = [first.next() for _ in range(200)]
    assert said == [second.next() for _ in range(200)]
    assert said != [other.next() for _ in range(200)]
    assert all(said)


@pytest.mark.parametrize(
    ("told", "promised", "unsure", "right"),
    [(1, 1, 0, True), (0, 1, 1, True), (1, 1, 1, True), (0, 1, 0, False), (2, 1, 0, False), (0, 0, 0, False)],
)
def test_of_each_doubt_its_author_is_told_once(told: int, promised: int, unsure: int, right: bool) -> None:
    author, text = Lane("desk:9003", ALICE), "[syncd] It is not certain"
    doubts = [Doubt("d1", "m1", "whatsapp", Lane("whatsapp", ALICE), "hello", "held", "user", "9003", 1)]
    doubts += [Doubt("d2", "m2", "whatsapp", author, text, "held", "syncd", None, 1)] * unsure
    found = notice_faults([Arrived(author, text)] * told, [Notice("m1", author, text)] * promised, doubts)
    assert (found == []) is right
