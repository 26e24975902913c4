"""People who write, at a steady rate, on all links: contacts, users, and agents on the channel itself."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable

from syncd.simulators.base import Hook
from tests.soak.fleet import Fleet
from tests.soak.texts import Texts
from tests.support.platforms import Bird, ISlash, Ringotel
from tests.support.settings import POLLED, SMS, WHATSAPP

TALKERS = 16
"""Conversations at a time."""
LONGEST = 24
"""Messages of a conversation; then somebody new begins one."""
DOUBLED, OVERTAKEN, AGAIN = 0.03, 0.04, 0.03
"""Shares of webhooks that come twice at once, that the next one overtakes, and that come again some time later."""
PATIENCE = 240.0
"""Seconds: for a webhook to be acknowledged at last, or a message to be polled, whatever has happened."""
REMEMBERED = 200


class Post:
    """Between a platform and its webhooks: remembers them, and keeps one back."""

    def __init__(self, simulator: Ringotel | Bird | ISlash) -> None:
        self._simulator = simulator
        self._emit = simulator.emit
        self._recent: deque[Hook] = deque(maxlen=REMEMBERED)
        self._held: asyncio.Event | None = None
        simulator.emit = self._emitted  # type: ignore[method-assign]

    def keep_back(self, say: Callable[[], object]) -> asyncio.Event:
        """Say something; its webhook is posted when the event is set."""
        self._held = asyncio.Event()
        try:
            say()
            return self._held
        finally:
            self._held = None

    async def post_again(self, dice: random.Random) -> None:
        """Post a webhook of earlier once more, whatever the answer is."""
        if self._recent:
            await self._simulator.post(dice.choice(self._recent))

    def _emitted(self, hook: Hook, *, delay: float = 0.0, copies: int = 1) -> asyncio.Task[None]:
        held = self._held

        async def later(held: asyncio.Event) -> None:
            await held.wait()
            await self._emit(hook, copies=copies)

        if held is None:
            posted = self._emit(hook, delay=delay, copies=copies)
        else:
            posted = self._simulator.posted = asyncio.get_running_loop().create_task(later(held))
        # What was not taken yet must not be taken out of its turn.
        posted.add_done_callback(lambda _: self._recent.append(hook))
        return posted


class People:
    """Talk until `hush()`; every conversation in its own order, many at once."""

    def __init__(self, fleet: Fleet, texts: Texts, dice: random.Random, *, rate: float) -> None:
        self._fleet = fleet
        self._texts = texts
        self._dice = dice
        self._pause = TALKERS / rate
        self._quiet = asyncio.Event()
        self._begun = 0
        self._ring, self._bird, self._islash = (Post(one) for one in (fleet.ring, fleet.bird, fleet.islash))
        self._talks: asyncio.Future[list[None]] | None = None
        self._again: set[asyncio.Task[None]] = set()
        self.odd: Counter[str] = Counter()
        """Webhooks that came otherwise than once and in order."""

    def start(self) -> None:
        """Begin to talk."""
        self._talks = asyncio.gather(*(self._talk(random.Random(self._dice.random())) for _ in range(TALKERS)))
        # Whoever waits for them hears of it; nobody may.
        self._talks.add_done_callback(lambda talks: talks.cancelled() or talks.exception())

    @property
    def failed(self) -> bool:
        """Somebody cannot go on."""
        return self._talks is not None and self._talks.done()

    async def hush(self) -> None:
        """Everybody stops, as soon as what they said is acknowledged."""
        self._quiet.set()
        assert self._talks is not None
        try:
            await asyncio.wait_for(self._talks, PATIENCE)
        finally:
            await asyncio.gather(*self._again, return_exceptions=True)

    def cancel(self) -> None:
        """Nobody says anything more."""
        if self._talks is not None:
            self._talks.cancel()

    async def _talk(self, dice: random.Random) -> None:
        while not self._quiet.is_set():
            self._begun += 1
            contact = f"+44{7_700_000_000 + self._begun}"
            link = dice.choice((SMS, SMS, WHATSAPP, WHATSAPP, POLLED))
            await self._converse(contact, link, dice)

    async def _converse(self, contact: str, link: str, dice: random.Random) -> None:
        # Whoever was never heard of is on the first link of the file.
        heard = link == SMS and dice.random() < 0.3
        for _ in range(dice.randint(2, LONGEST)):
            try:
                async with asyncio.timeout(dice.expovariate(1 / self._pause)):
                    await self._quiet.wait()
                return
            except TimeoutError:
                pass
            async with asyncio.timeout(PATIENCE):
                await self._say(contact, link, heard, dice)
            heard = True

    async def _say(self, contact: str, link: str, heard: bool, dice: random.Random) -> None:
        fleet = self._fleet
        copies = 2 if dice.random() < DOUBLED else 1
        self.odd["doubled at once"] += copies - 1
        speaker = dice.random() if heard else 0.0
        overtaken = dice.random() < OVERTAKEN
        if speaker < 0.55:
            if link == POLLED:
                messageid = await fleet.contact_says(self._texts.next(), contact=contact, link=link)
                await fleet.polled(messageid, seconds=PATIENCE)
            elif overtaken:
                await self._overtaken_contact(contact, link)
            else:
                await fleet.contact_says(self._texts.next(), contact=contact, link=link, copies=copies)
        elif speaker < 0.95 or link != SMS:
            user = dice.choice(fleet.settings.of(link))
            if overtaken:
                await self._overtaken_user(user, contact, link)
            else:
                await fleet.user_says(user, self._texts.next(), contact=contact, link=link, copies=copies)
        else:
            await fleet.agent_says(self._texts.next(), contact=contact)
        if dice.random() < AGAIN:
            self.odd["again later"] += 1
            again = asyncio.create_task(dice.choice((self._ring, self._bird, self._islash)).post_again(dice))
            self._again.add(again)
            again.add_done_callback(self._again.discard)

    async def _overtaken_contact(self, contact: str, link: str) -> None:
        """Two messages; the webhook of the second comes, and is acknowledged, before that of the first."""
        fleet, first, second = self._fleet, self._texts.next(), self._texts.next()
        post = self._islash if link == WHATSAPP else self._bird
        held = post.keep_back(lambda: fleet.contact_posts(first, contact=contact, link=link))
        late = fleet.poster(link).posted
        await fleet.contact_says(second, contact=contact, link=link)
        held.set()
        assert late is not None
        await late
        fleet.note_contact(first, contact=contact, link=link)
        self.odd["overtaken"] += 1

    async def _overtaken_user(self, user: str, contact: str, link: str) -> None:
        fleet, first, second = self._fleet, self._texts.next(), self._texts.next()
        held = self._ring.keep_back(lambda: fleet.ring.user_says(user, contact, first))
        late = fleet.ring.posted
        await fleet.user_says(user, second, contact=contact, link=link)
        held.set()
        assert late is not None
        await late
        fleet.note_user(user, first, contact=contact, link=link)
        self.odd["overtaken"] += 1
