"""Duties: deliveries with all that is needed to carry them out."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import ARRAY, Connection, Text, bindparam, func, select

from syncd.model.sending import Author
from syncd.model.text import from_bytes
from syncd.model.work import Duty, Op
from syncd.store import media
from syncd.store.dialect import is_postgresql, pack, run
from syncd.store.rows import kinds_from
from syncd.store.schema import conversation, delivery, message

_DUTY = (
    delivery.c.id.label("delivery_id"),
    delivery.c.lane_id,
    delivery.c.target,
    delivery.c.reference,
    delivery.c.seq,
    delivery.c.created_at,
    delivery.c.op,
    delivery.c.part,
    delivery.c.revision,
    delivery.c.history,
    message.c.id.label("message"),
    message.c.author,
    message.c.extension,
    message.c.body,
    message.c.said_at,
    message.c.files,
    message.c.quote,
    conversation.c.id.label("conversation_id"),
    conversation.c.link,
    conversation.c.contact,
    conversation.c.spelling,
    conversation.c.name,
)


def load(conn: Connection, delivery_ids: Iterable[str]) -> dict[str, Duty]:
    """All that is needed to carry out these deliveries."""
    found = {}
    rows = list(run(conn, _select_duties(is_postgresql(conn)), pack(conn, set(delivery_ids))))
    files = media.of_messages(conn, {row.message for row in rows if row.files})
    for row in rows:
        found[row.delivery_id] = Duty(
            delivery_id=row.delivery_id,
            lane_id=row.lane_id,
            target=row.target,
            reference=row.reference,
            link=row.link,
            conversation_id=row.conversation_id,
            contact=row.contact,
            spelling=row.spelling,
            name=row.name,
            message=row.message,
            seq=row.seq,
            author=Author(row.author),
            author_extension=row.extension,
            text=from_bytes(row.body),
            said_at=row.said_at,
            created_at=row.created_at,
            op=Op(row.op),
            part=row.part,
            revision=row.revision,
            quote=from_bytes(row.quote),
            kinds=kinds_from(row.files),
            history=row.history,
            files=files.get(row.message, ()),
        )
    return found


@cache
def _select_duties(postgresql: bool) -> Any:
    keys = (
        func.unnest(bindparam("keys_0", type_=ARRAY(Text))).table_valued("value", name="k").render_derived()
        if postgresql
        else func.json_each(bindparam("keys", type_=Text)).table_valued("value", name="k")
    )
    return (
        select(*_DUTY)
        .select_from(delivery)
        .join(message, message.c.id == delivery.c.message)
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .where(delivery.c.id.in_(select(keys.c.value)))
    )
