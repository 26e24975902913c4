"""The story of the demo: what people do, and what must then be seen. Nothing is told that was not seen."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from syncd.cli.demo_stage import ISLASH_SESSION, USERS, Failed, Stage
from syncd.cli.demo_telling import Telling, short
from syncd.simulators.base import Fault
from syncd.simulators.ringotel_desk import Message

ANNA: Final = "+12025550143"
"""Writes by SMS, through Bird."""
CHUN: Final = "85251234567"
"""Writes by WhatsApp, through iSlash, which knows contacts without a `+`."""

MAPPING: Final = """
    SELECT mapping.message, link, account, contact, mapping.extension, sessionid, messageid, part,
           direction, origin, status, mapping.created_at, mapping.updated_at, message.body AS text
    FROM mapping JOIN message ON message.id = mapping.message
    ORDER BY message.id, mapping.origin DESC, mapping.extension IS NOT NULL, mapping.extension, part
"""

Line = tuple[str, str]
"""`incoming` (the contact spoke) or `outgoing` (our side did), and the text."""


class Story:
    """Plays the steps in order. Each raises `Failed` where the effect does not come."""

    def __init__(self, stage: Stage, telling: Telling) -> None:
        self._stage = stage
        self._telling = telling
        self._said: dict[str, list[Line]] = {ANNA: [], CHUN: []}
        """By contact: all that must stand in each user's chat, in this order, and nothing else."""
        self.told: list[dict[str, Any]] = []
        """The rows of `mapping` at the end, with the texts."""

    async def play(self) -> None:
        """All of it."""
        for step in (
            self._start,
            self._sms,
            self._answer,
            self._whatsapp,
            self._other_user_answers,
            self._duplicates,
            self._reopened,
            self._on_the_channel,
            self._lost_answer,
            self._crash,
            self._sum,
        ):
            await step()
            await self._telling.pause()

    def _mapping(self) -> list[dict[str, Any]]:
        rows = self._stage.rows(MAPPING)
        for row in rows:
            row["text"] = (row["text"] or b"").decode("utf-8", "surrogatepass")
            row["origin"] = bool(row["origin"])
        return rows

    async def _start(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("start", "Three platforms and syncd start"):
            await stage.start_syncd()
            tell.did(f"is ready on {stage.public_url} (process {stage.pid})")
            tell.did(f"writes its log to {stage.log}")
            tell.stands("Bird", f"SMS, simulated on {stage.bird.url}")
            tell.stands("iSlash", f"WhatsApp, simulated on {stage.islash.url}")
            tell.stands("Ringotel", f"users {' and '.join(USERS)}, simulated on {stage.ringotel.url}")

    async def _sms(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("sms", "A customer writes by SMS"):
            await self._contact_writes_sms("Hi, is my order ready? 👋")
            await self._everybody_has(ANNA)
            opened = [f"{one.extension} (session {short(one.sessionid)})" for one in stage.ringotel.open_calls]
            tell.did(f"checked the signature, stored the webhook, then answered {stage.bird.hook_answers[0]}")
            tell.did(f"opened chats: {', '.join(opened)}")
            self._tell_chats(ANNA)

    async def _answer(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("answer", "9003 answers in the Ringotel app"):
            self._user_writes("9003", ANNA, "Yes! You can pick it up until six.")
            await self._everybody_has(ANNA)
            sent = await self._phone(ANNA, 1)
            tell.did("sent the SMS through Bird, and shows it to the colleague")
            tell.stands("SMS", f"{_pretty(ANNA)} got “{sent[-1]}”")
            self._tell_chats(ANNA)
            await stage.see("the echoes are taken", lambda: self._events("ignored", "echo"), lambda n: n > 0)

    async def _whatsapp(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("whatsapp", "Another customer writes by WhatsApp"):
            text = "請問今天幾點關門?"
            tell.says(_pretty(CHUN), text)
            self._said[CHUN].append(("incoming", text))
            stage.islash.contact_says(ISLASH_SESSION, CHUN, text)
            await self._everybody_has(CHUN)
            tell.did("took the webhook at its secret address, opened 2 more chats")
            self._tell_chats(CHUN)

    async def _other_user_answers(self) -> None:
        tell = self._telling
        with tell.step("colleague", "This time the colleague answers"):
            self._user_writes("9004", CHUN, "We are here until 18:00.")
            await self._everybody_has(CHUN)
            sent = await self._phone(CHUN, 1)
            tell.did("sent it where this contact writes: WhatsApp, through iSlash")
            tell.stands("WhatsApp", f"{_pretty(CHUN)} got “{sent[-1]}”")
            self._tell_chats(CHUN)

    async def _duplicates(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("duplicate", "Bird sends the same webhook three times more"):
            await stage.bird.hooks_taken()
            first = next(iter(stage.bird.messages))
            before = len(stage.bird.hook_answers)
            posts = [post for post in (stage.bird.tell_again(first) for _ in range(3)) if post is not None]
            await asyncio.gather(*posts)
            answers = stage.bird.hook_answers[before:]
            if answers != [200, 200, 200]:
                raise Failed(f"the copies were answered {answers}, not 200 each")
            copies = self._number("SELECT copies FROM event WHERE key LIKE ?", f"%{first}%")
            if copies < 4:
                raise Failed(f"4 webhooks of one message are counted as {copies}")
            await self._everybody_has(ANNA)
            tell.did(f"answered each with 200, and knew it: {copies} copies, 1 message")
            self._tell_chats(ANNA)

    async def _reopened(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("reopened", "Ringotel closes 9003's session, and tells nobody"):
            old = stage.ringotel.sessions_of("9003", ANNA)[-1].id
            opened = len(stage.ringotel.open_calls)
            stage.ringotel.close_session(old)
            tell.happens(f"session {short(old)} is closed")
            await self._contact_writes_sms("Great, can I pay by card?")
            await self._everybody_has(ANNA)
            new = self._chat("9003", ANNA)[-1].sessionid
            query = "SELECT sessionid FROM session WHERE current AND extension = '9003' AND contact = ?"
            current = await stage.see(
                "the new session is adopted",
                lambda: stage.rows(query, ANNA)[0]["sessionid"],
                lambda seen: seen == new,
            )
            if new == old or len(stage.ringotel.open_calls) != opened:
                raise Failed(f"session {old} was closed, and {new} is in use")
            tell.did(f"is answered with another session, {short(current)}, and adopts it")
            self._tell_chats(ANNA)

    async def _on_the_channel(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("channel", "Somebody answers in Bird itself"):
            text = "Card is fine. (Sent from Bird's inbox)"
            tell.says("Bird's inbox", text)
            self._said[ANNA].append(("outgoing", text))
            stage.bird.agent_says(stage.sms_channel, ANNA, text)
            await self._everybody_has(ANNA)
            adopted = stage.ringotel.sessions_of("9003", ANNA)[-1].id
            last = self._chat("9003", ANNA)[-1].sessionid
            if last != adopted:
                raise Failed(f"the copy went into session {last}, not into {adopted}")
            tell.did("shows it to both users, as said by our side")
            self._tell_chats(ANNA)

    async def _lost_answer(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("lost", "Bird takes a message, and the connection dies before it answers"):
            fault = Fault("lost", match=lambda call: call.name == "send")
            stage.bird.faults.append(fault)
            stage.bird.outbound_hooks = "none"  # nor does a webhook tell
            text = "See you at five then."
            self._user_writes("9004", ANNA, text)
            row = await stage.see(
                "the doubt is settled",
                lambda: self._delivery(text, "channel"),
                lambda row: row.get("state") == "sent",
            )
            stage.bird.outbound_hooks = "after"
            sent = await self._phone(ANNA, 3)
            if not fault.hits or sent.count(text) != 1:
                raise Failed(f"the customer has {sent}")
            await self._everybody_has(ANNA)
            tell.did(f"does not just send again, it asks: {row['reason']}")
            tell.stands("SMS", f"{_pretty(ANNA)} got “{text}” once")

    async def _crash(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("crash", "Ringotel is down, a customer writes, and syncd is killed (kill -9)"):
            port = int(stage.ringotel.url.rpartition(":")[2])
            await stage.ringotel.stop()
            text = "One more question: is there parking?"
            tell.says(_pretty(CHUN), text)
            self._said[CHUN].append(("incoming", text))
            stage.islash.contact_says(ISLASH_SESSION, CHUN, text)
            await stage.see("both copies wait for Ringotel", lambda: self._waiting(text), lambda n: n == len(USERS))
            await stage.kill_syncd()
            tell.did("had stored the message; now it is dead, and owes two copies")
            await self._telling.pause()
            await stage.ringotel.start(port)
            await stage.start_syncd()
            tell.happens(f"Ringotel is back, and syncd is started again (process {stage.pid})")
            await self._everybody_has(CHUN)
            tell.did("finds in its database what it owes, and delivers it, once")
            self._tell_chats(CHUN)

    async def _sum(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("sum", "What there is now"):
            open_deliveries = "SELECT count(*) FROM delivery WHERE state != 'sent'"
            open_events = "SELECT count(*) FROM event WHERE state IN ('waiting', 'failed')"
            await stage.see("all is delivered", lambda: self._number(open_deliveries), lambda count: count == 0)
            await stage.see("all events are done", lambda: self._number(open_events), lambda count: count == 0)
            sent_by_us = "SELECT count(*) FROM mapping WHERE extension IS NULL AND NOT origin AND status != 'delivered'"
            # One SMS has no status: nothing told of it, by the story.
            await stage.see("sends are confirmed", lambda: self._number(sent_by_us), lambda n: n <= 1)
            messages = self._number("SELECT count(*) FROM message")
            said = sum(len(lines) for lines in self._said.values())
            if messages != said:
                raise Failed(f"people said {said} things, syncd knows {messages}")
            copies = self._number("SELECT sum(copies) FROM event")
            echoes = self._events("ignored", "echo")
            tell.did(f"took {copies} webhooks; {echoes} were echoes of what it had written")
            self.told = self._mapping()
            tell.did(f"knows {messages} messages in {len(self.told)} copies; people said {said} things")

    async def _contact_writes_sms(self, text: str) -> None:
        stage = self._stage
        self._telling.says(_pretty(ANNA), text)
        self._said[ANNA].append(("incoming", text))
        stage.bird.contact_says(stage.sms_channel, ANNA, text)
        await stage.bird.hooks_taken()

    def _user_writes(self, user: str, contact: str, text: str) -> None:
        self._telling.says(user, text)
        self._said[contact].append(("outgoing", text))
        self._stage.ringotel.user_says(user, contact, text)

    def _chat(self, user: str, contact: str) -> list[Message]:
        return self._stage.ringotel.chat(user, contact)

    async def _everybody_has(self, contact: str) -> None:
        """Each user's chat holds what was said: all of it, once, in order."""

        def chats() -> dict[str, list[Line]]:
            return {user: [(one.direction, one.content) for one in self._chat(user, contact)] for user in USERS}

        wanted = dict.fromkeys(USERS, self._said[contact])
        await self._stage.see(
            f"the chats with {contact} hold {self._said[contact]}", chats, lambda seen: seen == wanted
        )

    async def _phone(self, contact: str, count: int) -> list[str]:
        """The texts that a contact got; so many, not one more."""
        stage = self._stage

        def texts() -> list[str]:
            if contact == ANNA:
                return stage.bird.texts(stage.sms_channel, ANNA)
            return [one.text for one in stage.islash.sent(ISLASH_SESSION, CHUN)]

        return await stage.see(f"{contact} has {count} messages", texts, lambda seen: len(seen) == count)

    def _tell_chats(self, contact: str) -> None:
        for user in USERS:
            chat = self._chat(user, contact)
            last = chat[-1]
            who = "customer" if last.direction == "incoming" else last.sender
            self._telling.stands(f"{user}'s chat", f"{who}: “{last.content}”", count=len(chat))

    def _number(self, query: str, *parameters: object) -> int:
        rows = self._stage.rows(query, *parameters)
        return int(next(iter(rows[0].values())) or 0) if rows else 0

    def _events(self, state: str, reason: str) -> int:
        return self._number("SELECT count(*) FROM event WHERE state = ? AND reason LIKE ?", state, f"{reason}%")

    def _delivery(self, text: str, target: str) -> dict[str, Any]:
        query = "SELECT delivery.* FROM delivery JOIN message ON message.id = message WHERE body = ? AND target = ?"
        rows = self._stage.rows(query, text.encode(), target)
        return rows[0] if rows else {}

    def _waiting(self, text: str) -> int:
        """Copies of a message that were tried, and whose next try is not this very moment."""
        soon = (datetime.now(UTC) + timedelta(milliseconds=40)).isoformat(timespec="microseconds")
        return self._number(
            "SELECT count(*) FROM delivery JOIN message ON message.id = message JOIN lane ON lane.id = lane_id"
            " WHERE body = ? AND state = 'ready' AND attempts > 0 AND due_at > ?",
            text.encode(),
            soon.replace("+00:00", "Z"),
        )


def _pretty(contact: str) -> str:
    digits = contact.removeprefix("+")
    if digits.startswith("1"):
        return f"+1 {digits[1:4]} {digits[4:7]} {digits[7:]}"
    return f"+{digits[:3]} {digits[3:7]} {digits[7:]}"
