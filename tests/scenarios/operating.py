"""What scenarios of operators share: their commands, and a look at all that is stored."""

from __future__ import annotations

import json
from typing import Any

from syncd.simulators.base import Call, Fault
from syncd.store.schema import metadata
from tests.cli.conftest import Shell
from tests.support import history
from tests.support.databases import Row
from tests.support.settings import SMS, WHATSAPP
from tests.support.world import World

LOST = 31
"""Seconds: a little longer than a lane waits for a doubt to be settled."""


async def listed(operator: Shell, state: str, *options: str) -> list[Row]:
    """The rows of `syncd dead list` or `syncd unknown list`."""
    ran = await operator(state, "list", *options, "--json")
    assert ran.code == 0, ran.err
    rows: list[Row] = ran.document["deliveries"]
    return rows


async def shown(operator: Shell, delivery: str) -> dict[str, Any]:
    """`syncd dead show`, which shows a delivery in any state."""
    ran = await operator("dead", "show", delivery, "--json")
    assert ran.code == 0, ran.err
    document: dict[str, Any] = ran.document
    return document


async def done(operator: Shell, *arguments: str) -> str:
    """Have one thing done; its result."""
    ran = await operator(*arguments, "--json")
    assert ran.code == 0, ran.out + ran.err
    (row,) = ran.document["operations"]
    assert (row["ok"], row["state"]) == (True, "done")
    return str(row["result"])


async def refused(operator: Shell, *arguments: str) -> str:
    """Ask for one thing that cannot be done; why."""
    ran = await operator(*arguments, "--json")
    assert ran.code == 1, ran.out + ran.err
    (row,) = ran.document["operations"]
    assert not row["ok"]
    return str(row["result"])


async def everything(world: World) -> dict[str, list[Row]]:
    """Every row of every table, but of the directory, which the daemon reads whatever anybody does."""
    tables = metadata.tables.keys() - {"desk_user"}
    return {name: await world.database.rows(f'SELECT * FROM "{name}"') for name in sorted(tables)}


async def let_time_pass(world: World, hours: int) -> None:
    """All messages were said, and all deliveries made, so many hours earlier. Only while no daemon runs."""
    for table, column in (("message", "said_at"), ("delivery", "created_at")):
        if world.database.kind == "sqlite":
            earlier = f"strftime('%Y-%m-%dT%H:%M:%f', {column}, '-{hours} hours') || '000Z'"
        else:
            earlier = f"{column} - interval '{hours} hours'"
        await world.database.change(f"UPDATE {table} SET {column} = {earlier}")


async def lose_the_time(world: World) -> None:
    """`kill -9`, and start when whatever was in doubt has been so for longer than its lane waits."""
    await world.bridge.kill()
    await world.database.age(LOST)
    await world.bridge.start()


def notices(world: World, extension: str, contact: str) -> list[str]:
    """What syncd itself said in a user's chat, as the contact."""
    said = [message for message in world.ring.chat(extension, contact) if message.content.startswith("[syncd]")]
    assert all(message.by_api and message.direction == "incoming" and message.notified for message in said), said
    return [message.content for message in said]


def excused(world: World) -> list[history.Fault]:
    """The notices, which no person said."""
    return [
        history.Fault("invented", copy.lane, copy.text) for copy in world.arrived() if copy.text.startswith("[syncd]")
    ]


def is_send(call: Call) -> bool:
    """Whether a call puts a message somewhere."""
    return call.name in ("send", "message")


def rejecting(link: str, *, carried_out: bool = False, times: int = 1) -> Fault:
    """The next message on this link's channel is refused for good; `carried_out`: and done all the same."""
    if link == WHATSAPP:
        body: dict[str, Any] = {"meta": {"code": "RESP_INVALID_PARAMETER", "message": "no such recipient"}, "data": {}}
    else:
        body = {"code": "InvalidPayload", "message": "no such recipient"}
    kind = "reply" if carried_out else "status"
    return Fault(kind, times=times, status=422, body=json.dumps(body).encode(), match=is_send)


def losing(link: str, *, carried_out: bool = True) -> Fault:
    """The answer to the next message on this link's channel is lost."""
    assert link in (SMS, WHATSAPP)
    return Fault("lost" if carried_out else "hangup", match=is_send)
