"""What a fault cost, for the figures: counted by what people see."""

from __future__ import annotations

from collections import Counter

from tests.support.figures import Figures, Note
from tests.support.world import World

_DOUBLED = ("doubled", "looped", "invented", "leaked")


async def note(world: World, figures: Note, fault: str, *, offered: int, accepted: int) -> None:
    """Note one fault. To be called when the world is quiet; fails where anything was lost or doubled."""
    found: Counter[str] = Counter(one.kind for one in world.faults())
    unknown = await world.database.value("SELECT count(*) FROM delivery WHERE state = 'unknown'")
    outcome = Figures(
        fault=fault,
        database=world.database.kind,
        offered=offered,
        accepted=accepted,
        refused=offered - accepted,
        lost=found["lost"],
        doubled=sum(found[kind] for kind in _DOUBLED),
        unknown=unknown,
    )
    figures(outcome)
    assert not found, f"{fault}: " + ", ".join(map(str, world.faults()[:10]))


async def every_count(world: World) -> dict[str, int]:
    """Rows of every table there is, but of the directory, which the daemon reads whatever anybody does."""
    names = (
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        if world.database.kind == "sqlite"
        else "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
    )
    tables = {row["name"] for row in await world.database.rows(names)} - {"desk_user"}
    return {table: await world.database.value(f'SELECT count(*) FROM "{table}"') for table in sorted(tables)}
