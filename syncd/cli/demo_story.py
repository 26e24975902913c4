"""The story of the demo: what people do, and what must then be seen. Nothing is told that was not seen."""

from __future__ import annotations

import asyncio
from typing import Any

from syncd.cli.demo_files import PICTURE, VOICE
from syncd.cli.demo_scene import ANNA, CHUN, Line, Scene, pretty, spoken
from syncd.cli.demo_stage import ISLASH_SESSION, USERS, Failed, Stage
from syncd.cli.demo_telling import Telling, short
from syncd.model.changes import NOTE
from syncd.model.notice import MARK
from syncd.simulators.base import Fault
from syncd.simulators.bird_records import SimFile

CLOSING = "We are here until 18:00."
"""What 9004 writes, the customer reads, and 9004 corrects."""


class Story(Scene):
    """Plays the steps in order. Each raises `Failed` where the effect does not come."""

    def __init__(self, stage: Stage, telling: Telling) -> None:
        super().__init__(stage, telling)
        self.told: list[dict[str, Any]] = []
        """The rows of `mapping` at the end, with the texts."""

    async def play(self) -> None:
        """All of it."""
        for step in (
            self._start,
            self._sms,
            self._answer,
            self._picture,
            self._whatsapp,
            self._other_user_answers,
            self._read,
            self._voice,
            self._edited,
            self._duplicates,
            self._reopened,
            self._on_the_channel,
            self._lost_answer,
            self._not_delivered,
            self._crash,
            self._sum,
        ):
            await step()
            await self._telling.pause()

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
            tell.stands("SMS", f"{pretty(ANNA)} got “{sent[-1]}”")
            self._tell_chats(ANNA)
            await stage.see("the echoes are taken", lambda: self._events("ignored", "echo"), lambda n: n > 0)

    async def _picture(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("picture", "The customer sends a picture, with words"):
            caption = "Is it the one with the sun?"
            tell.says(pretty(ANNA), caption, file="a picture")
            # Ringotel's messages are words or a file, so it becomes two.
            self._expect(ANNA, Line("contact", caption), Line("contact", file=PICTURE.sha256))
            file = SimFile(PICTURE.content, PICTURE.content_type)
            stage.bird.contact_says(stage.sms_channel, ANNA, caption, files=[file])
            await self._everybody_has(ANNA)
            tell.did("fetched it, and showed Bird's key to Bird only")
            tell.did("gave Ringotel the words, then its own link to the picture")
            self._tell_chats(ANNA, last=2)

    async def _whatsapp(self) -> None:
        tell = self._telling
        with tell.step("whatsapp", "Another customer writes by WhatsApp"):
            self._contact_writes_whatsapp("請問今天幾點關門?")
            await self._everybody_has(CHUN)
            tell.did("took the webhook at its secret address, opened 2 more chats")
            self._tell_chats(CHUN)

    async def _other_user_answers(self) -> None:
        tell = self._telling
        with tell.step("colleague", "This time the colleague answers"):
            self._user_writes("9004", CHUN, CLOSING)
            await self._everybody_has(CHUN)
            sent = await self._phone(CHUN, 1)
            tell.did("sent it where this contact writes: WhatsApp, through iSlash")
            tell.stands("WhatsApp", f"{pretty(CHUN)} got “{sent[-1]}”")
            self._tell_chats(CHUN)

    async def _read(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("read", "The customer's phone gets that answer, and the customer reads it"):
            sent = stage.islash.sent(ISLASH_SESSION, CHUN)[-1]
            await self._author_sees("delivered")  # the simulated WhatsApp tells of that by itself
            tell.happens("WhatsApp reports that it was read")
            stage.islash.status(sent.sid, "read")
            await self._author_sees("read")
            if self._chat("9003", CHUN)[-1].tick != "sent":
                raise Failed("9003's copy is ticked, although 9004 wrote it")
            tell.did("told the author only; in 9003's chat it is a copy")

    async def _author_sees(self, tick: str) -> None:
        await self._stage.see(
            f"9004 sees that it was {tick}", lambda: self._chat("9004", CHUN)[-1].tick, lambda seen: seen == tick
        )
        self._telling.stands("9004's chat", f"“{CLOSING}” is ticked as {tick}")

    async def _voice(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("voice", "That customer sends a voice note"):
            tell.says(pretty(CHUN), file="a voice note")
            self._expect(CHUN, Line("contact", file=VOICE.sha256))
            stage.islash.contact_sends(
                ISLASH_SESSION, CHUN, VOICE.content, kind="voice", content_type=VOICE.content_type
            )
            await self._everybody_has(CHUN)
            tell.did("fetched it from iSlash; both users have it, byte by byte")
            self._tell_chats(CHUN)

    async def _edited(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("edit", "9004 corrects the answer in the Ringotel app"):
            text = "We are here until 19:00."
            tell.happens(f"18:00 becomes 19:00 in “{CLOSING}”")
            said = next(one for one in stage.ringotel.shown("9004", CHUN) if one.text == CLOSING)
            self._expect_instead(CHUN, Line("user", CLOSING), Line("user", text))
            stage.ringotel.user_edits(said.messageid, text)
            await self._everybody_has(CHUN)
            sent = await self._phone(CHUN, 2)
            if sent[-1] != NOTE + text:
                raise Failed(f"the customer has {sent}")
            copy = next(one for one in self._chat("9003", CHUN) if one.text == text)
            if not copy.edited:
                raise Failed("9003 has the new text, but not as an edit")
            tell.did("changed the colleague's copy where it stands")
            tell.did("cannot change a WhatsApp message, so it sent a note")
            tell.stands("9003's chat", spoken(copy))
            tell.stands("WhatsApp", f"{pretty(CHUN)} got “{sent[-1]}”")

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
            new = stage.ringotel.chat("9003", ANNA)[-1].sessionid
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
            self._expect(ANNA, Line("user", text))
            stage.bird.agent_says(stage.sms_channel, ANNA, text)
            await self._everybody_has(ANNA)
            adopted = stage.ringotel.sessions_of("9003", ANNA)[-1].id
            last = stage.ringotel.chat("9003", ANNA)[-1].sessionid
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
            tell.stands("SMS", f"{pretty(ANNA)} got “{text}” once")

    async def _not_delivered(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("failed", "Bird takes a message, and later cannot deliver it"):
            usual, stage.bird.statuses = stage.bird.statuses, ("accepted", "sent")
            text = "Bring the receipt, please."
            self._user_writes("9003", ANNA, text)
            await self._everybody_has(ANNA)
            await self._phone(ANNA, 4)
            await stage.bird.hooks_taken()
            tell.did("sent it, and Bird accepted it")
            tell.happens("Bird reports: delivery_failed")
            sent = stage.bird.sent(stage.sms_channel, ANNA)[-1]
            stage.bird.set_status(sent["id"], "delivery_failed", reason="the handset cannot be reached")
            notice = await stage.see(
                "9003 is told", lambda: self._chat("9003", ANNA)[-1].text, lambda last: last.startswith(MARK)
            )
            if "Not delivered" not in notice or text not in notice:
                raise Failed(f"9003 is told: {notice}")
            self._expect_notice("9003", ANNA, notice)
            await self._everybody_has(ANNA)
            stage.bird.statuses = usual
            tell.did("tells its author, in that chat, and nobody else")
            self._tell_chats(ANNA)

    async def _crash(self) -> None:
        stage, tell = self._stage, self._telling
        with tell.step("crash", "Ringotel is down, a customer writes, and syncd is killed (kill -9)"):
            port = int(stage.ringotel.url.rpartition(":")[2])
            await stage.ringotel.stop()
            text = "One more question: is there parking?"
            self._contact_writes_whatsapp(text)
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
            open_events = "SELECT count(*) FROM event WHERE state IN ('waiting', 'parked', 'failed')"
            await stage.see("all is delivered", lambda: self._number(open_deliveries), lambda count: count == 0)
            await stage.see("all events are done", lambda: self._number(open_events), lambda count: count == 0)
            untold = "SELECT count(*) FROM mapping WHERE extension IS NULL AND NOT origin AND status = 'sent'"
            # One SMS has no status: nothing told of it, by the story.
            await stage.see("sends are confirmed", lambda: self._number(untold), lambda n: n <= 1)
            said = self._number("SELECT count(DISTINCT message) FROM mapping WHERE origin")
            if said != self.things_said:
                raise Failed(f"people said {self.things_said} things, syncd knows {said}")
            added = self._number("SELECT count(*) FROM message") - said
            if added != self.things_added:
                raise Failed(f"syncd added {added} texts of its own, not {self.things_added}")
            copies = self._number("SELECT sum(copies) FROM event")
            echoes = self._events("ignored", "echo")
            tell.did(f"took {copies} webhooks; {echoes} were echoes of what it had written")
            self.told = self._mapping()
            tell.did(f"knows {said} messages; people said {self.things_said} things")
            tell.did(f"added {added} texts of its own: the note of the edit, and the notice")
            tell.did(f"knows where all {len(self.told)} copies are")
