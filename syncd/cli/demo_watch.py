"""What is shown while the demo keeps running: every new message, wherever it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from syncd.cli.demo_scene import spoken
from syncd.cli.demo_stage import Stage
from syncd.cli.demo_telling import Telling
from syncd.simulators.ringotel_desk import Shown

LOOK_SECONDS = 0.1


async def watch(stage: Stage, telling: Telling) -> None:
    """Tell of what arrives, until cancelled."""
    told = {key for key, _ in _arrived(stage)}
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if stage.syncd is not None and stage.syncd.returncode is not None:
            await stage.start_syncd()
            telling.plain(f"    syncd was gone, and is started again (process {stage.pid})", "yellow")
        for key, line in _arrived(stage):
            if key not in told:
                told.add(key)
                telling.plain(f"    {line}")


def _arrived(stage: Stage) -> Iterator[tuple[str, str]]:
    """All that stands in the chats and on the phones: a name for each, and its line."""
    for message in stage.ringotel.desk.messages.values():
        session = stage.ringotel.desk.sessions[message.sessionid]
        yield message.id, f"{session.extension}'s chat with {session.contact}  {spoken(Shown.of(message))}"
    for sent in stage.islash.messages.values():
        yield sent.sid, f"WhatsApp to {sent.identity}: “{sent.text}”"
    for channel in stage.bird.channels.values():
        for contact, records in channel.chats.items():
            for record, text in zip(records, stage.bird.texts(channel.id, contact), strict=True):
                yield str(record.data["id"]), f"SMS to {contact}: “{text}”"
