"""A PostgreSQL database that fails under a running daemon, with people who go on writing."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from syncd.store import migrations
from tests.support.clusters import Cluster, cluster, why_no_cluster
from tests.support.databases import Database, postgresql_database, why_no_postgresql
from tests.support.figures import Note
from tests.support.outages import Proxy, StormyWorld, proxied, stormy
from tests.support.waiting import until


@pytest.fixture
async def postgresql() -> AsyncIterator[Database]:
    """An empty database."""
    reason = await why_no_postgresql()
    if reason is not None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    async with postgresql_database() as made:
        yield made


@pytest.fixture
async def proxy(postgresql: Database) -> AsyncIterator[Proxy]:
    """A proxy before it."""
    async with proxied(postgresql) as made:
        yield made


@pytest.fixture
async def world(tmp_path: Path, proxy: Proxy) -> AsyncIterator[StormyWorld]:
    """A world whose daemon reaches its database through the proxy."""
    async with stormy(tmp_path, proxy.database) as made:
        yield made


def name_of(database: Database) -> str:
    return urlsplit(database.url).path[1:]


def beside(database: Database) -> Database:
    """Another database of the same server."""
    return Database(urlunsplit(urlsplit(database.url)._replace(path="/postgres")))


async def end_all(database: Database) -> None:
    """End every connection of the daemon."""
    await database.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'syncd'"
    )


async def test_gone_for_three_seconds(world: StormyWorld, proxy: Proxy, figures: Note) -> None:
    """G1, G7, G14: refused connections for a while; webhooks that came meanwhile are stored when it is back."""
    await world.start()
    await world.talk()
    await proxy.close()
    await world.is_away(f"Errno {errno.ECONNREFUSED}")
    await asyncio.sleep(2)
    await proxy.open()
    await world.is_back()
    found = await world.finish("gone for 3 s")
    figures(found)
    assert found.refused == 0
    assert world.outages() == ["away", "back"]


async def test_frozen(world: StormyWorld, proxy: Proxy, figures: Note) -> None:
    """G1, G7, G14: a server that takes bytes and answers nothing does not keep webhooks longer than ten seconds."""
    await world.start()
    await world.talk()
    with proxy.frozen():
        await world.is_away()
        await until(lambda: any(answer.status == 503 for answer in world.answers), "refused", seconds=12)
        await until(lambda: world.outages() == ["away"], "it is told", seconds=5)
    await world.is_back()
    found = await world.finish("frozen for 11 s")
    figures(found)
    assert found.refused > 0
    assert world.outages() == ["away", "back"]


async def test_connections_cut_again_and_again(world: StormyWorld, proxy: Proxy, figures: Note) -> None:
    """G1, G3, G7, G14: connections break in the middle of statements."""
    await world.start()
    await world.talk()
    cut = 0
    for number in range(20):
        await asyncio.sleep(0.03 + 0.011 * number)
        cut += await proxy.cut()
    assert cut >= 20
    await world.is_back()
    figures(await world.finish("connections cut 20 times"))


async def test_answers_to_commits_lost(world: StormyWorld, proxy: Proxy, figures: Note) -> None:
    """G1, G3, G7, G14: whether it was committed is found out: nothing lost, doubled, or held as in doubt."""
    await world.start()
    await world.talk()
    proxy.lose_every = 5
    await until(lambda: proxy.lost >= 20, "lost")
    proxy.lose_every = 0
    await world.is_back()
    figures(await world.finish("20 answers to COMMIT lost"))


Fault = Callable[[Database], Awaitable[None]]


async def _read_only(database: Database) -> None:
    await beside(database).rows(f'ALTER DATABASE "{name_of(database)}" SET default_transaction_read_only = on')
    await end_all(database)


async def _no_more_read_only(database: Database) -> None:
    await beside(database).rows(f'ALTER DATABASE "{name_of(database)}" RESET default_transaction_read_only')
    await end_all(database)


def _refusing(state: str) -> Fault:
    async def refuse(database: Database) -> None:
        await database.rows(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'as if' USING ERRCODE = '{state}'; END $$"
        )
        for table in ("event", "delivery", "alembic_version"):
            await database.rows(
                f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
            )

    return refuse


async def _no_more_refusing(database: Database) -> None:
    await database.rows("DROP FUNCTION refuse CASCADE")


FAULTS: dict[str, tuple[Fault, Fault, str]] = {
    "read-only": (_read_only, _no_more_read_only, "in a read-only transaction"),
    "full disk (53100)": (_refusing("53100"), _no_more_refusing, "as if"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_server_refuses(world: StormyWorld, proxy: Proxy, figures: Note, fault: str) -> None:
    """G1, G7, G10, G14: whatever the server's reason, no message is blamed for it."""
    begin, end, told = FAULTS[fault]
    await world.start()
    await world.talk()
    await begin(proxy.direct)
    await world.is_away(told)
    await asyncio.sleep(1)
    await end(proxy.direct)
    await world.is_back()
    figures(await world.finish(fault))
    assert world.outages() == ["away", "back"]


async def test_a_table_that_is_locked(world: StormyWorld, proxy: Proxy, figures: Note) -> None:
    """G1, G7, G14: an administrator holds a lock, and the server lets nobody wait long for it."""
    await world.start()
    await world.talk()
    name = name_of(proxy.direct)
    await beside(proxy.direct).rows(f"ALTER DATABASE \"{name}\" SET lock_timeout = '1500ms'")
    await end_all(proxy.direct)
    # That is an outage of its own, or too short for one.
    await world.more(20)
    await world.is_back()
    before = len(world.outages())
    other = await asyncpg.connect(proxy.direct.url)
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE event, delivery, alembic_version IN EXCLUSIVE MODE")
            await world.is_away("due to lock timeout")
            await asyncio.sleep(1)
        await world.is_back()
    finally:
        await other.close()
    figures(await world.finish("locked (55P03)"))
    assert world.outages()[before:] == ["away", "back"]


async def test_all_connections_ended_by_the_server(world: StormyWorld, proxy: Proxy, figures: Note) -> None:
    """G1, G7, G14: an administrator ends every connection, ten times."""
    await world.start()
    await world.talk()
    for _ in range(10):
        await end_all(proxy.direct)
        await world.more(3)
    found = await world.finish("connections ended 10 times")
    figures(found)
    assert found.refused == 0
    told = {line["reason"].partition(":")[0] for line in world.bridge.events("database.away")}
    assert told <= {"the commit was not answered"}, "else the next connection works"


async def test_connections_that_died_idle_are_no_outage(world: StormyWorld, proxy: Proxy) -> None:
    """G7: a firewall or a restart in a quiet hour is noticed by nobody."""
    await world.start()
    await world.contact_says("before")
    await world.check()
    await end_all(proxy.direct)
    await world.contact_says("after")
    await world.check()
    assert world.outages() == []


async def test_a_right_taken_away(postgresql: Database, tmp_path: Path, figures: Note) -> None:
    """G1, G10, G14: what needs it waits, the rest goes on; too many connections are an outage."""
    role, password = f"syncd_{secrets.token_hex(4)}", secrets.token_hex(8)
    await postgresql.rows(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    try:
        await postgresql.rows(f'ALTER DATABASE "{name_of(postgresql)}" OWNER TO {role}')
        await postgresql.rows(f"ALTER SCHEMA public OWNER TO {role}")
        parts = urlsplit(postgresql.url)
        url = urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.hostname}:{parts.port or 5432}"))
        async with stormy(tmp_path, Database(url)) as world:
            await world.start()
            await world.talk()
            await postgresql.rows(f"REVOKE INSERT ON attempt FROM {role}")
            await until(lambda: world.outages() == ["refuses"], "it is told")
            await world.more(12)
            await postgresql.rows(f"GRANT INSERT ON attempt TO {role}")
            world.tolerated.add("database.refuses")
            await world.more(12)
            await postgresql.rows(f"ALTER ROLE {role} CONNECTION LIMIT 0")
            await end_all(postgresql)
            await world.is_away("too many connections")
            await asyncio.sleep(1)
            await postgresql.rows(f"ALTER ROLE {role} CONNECTION LIMIT -1")
            await world.is_back()
            figures(await world.finish("a right taken away, then out of connections"))
            assert world.outages() == ["refuses", "away", "back"]
    finally:
        await postgresql.rows(f'ALTER DATABASE "{name_of(postgresql)}" OWNER TO CURRENT_USER')
        await postgresql.rows(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        await postgresql.rows(f"DROP OWNED BY {role} CASCADE")
        await postgresql.rows(f"DROP ROLE {role}")


@pytest.fixture
async def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A PostgreSQL server of its own, with a password."""
    reason = why_no_cluster()
    if reason is not None:
        pytest.skip(reason)
    async with cluster() as made:
        yield made


async def test_a_whole_server_restarted(own_cluster: Cluster, tmp_path: Path, figures: Note) -> None:
    """G1, G3, G7, G14: it crashes and comes back, twice; then a start that must wait, or be refused."""
    async with stormy(tmp_path, own_cluster.database) as world:
        await world.start()
        await world.talk()
        for mode in ("immediate", "fast"):
            await own_cluster.stop(mode)
            await world.is_away()
            await own_cluster.start()
            await world.is_back()
            await world.more(6)
        figures(await world.finish("server restarted twice"))
        assert world.outages() == ["away", "back"] * 2
        # Away at the start: waited for.
        await world.bridge.stop()
        await own_cluster.stop("fast")
        await world.bridge.spawn()
        await until(lambda: world.outages()[4:] == ["away"], "it is told")
        await own_cluster.start()
        assert await world.bridge.ready_or_ended()
        assert world.outages()[4:] == ["away", "back"]
        await world.bridge.stop()
        # Wrong: refused.
        world.tolerated.add("daemon.failed")
        config = world.bridge.config.read_text()
        for right, wrong, told in (
            (own_cluster.password, "wrong", "correct user and password in database.url"),
            ("/syncd", "/nowhere", '"nowhere" does not exist: create it, or correct database.url'),
        ):
            world.bridge.config.write_text(config.replace(right, wrong))
            await world.bridge.refuses(told)
        world.bridge.config.write_text(config)
        await world.database.change("UPDATE alembic_version SET version_num = 'ffff'")
        await world.bridge.refuses("ffff", "newer syncd")
        await world.database.change("DELETE FROM alembic_version")
        world.bridge.config.write_text(config.replace("[database]\n", "[database]\nmigrate = false\n"))
        await world.bridge.refuses("schema none", migrations.newest(), "syncd migrate")
