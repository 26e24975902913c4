"""A whole world for one scenario: three simulated platforms, a daemon between them, and people who write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.support.bridge import Bridge
from tests.support.canaries import leaks, leaks_in_tables
from tests.support.databases import Database, Row
from tests.support.history import Arrived, Fault, Lane, Said, faults
from tests.support.platforms import Bird, ISlash, Ringotel
from tests.support.settings import (
    ACCESS_KEY,
    API_KEY,
    BIRD_CHANNEL,
    DESK_HOOK_SECRET,
    ISLASH_HOOK_SECRET,
    ISLASH_SESSION,
    ORGANIZATION,
    POLLED,
    POLLED_CHANNEL,
    PUBLIC_URL,
    SECRETS,
    SIGNING_KEY,
    SMS,
    USER_TOKEN,
    WHATSAPP,
    Settings,
    toml,
)
from tests.support.waiting import PATIENCE, until

ALICE = "+447700900001"
BOB = "+447700900002"

CHANNELS = {SMS: BIRD_CHANNEL, POLLED: POLLED_CHANNEL}
_ACCOUNTS = {SMS: "bird", POLLED: "birdpoll", WHATSAPP: "islash"}


class World:
    """Platforms are up from the beginning; `start()` starts the daemon.

    What is said through `contact_says`, `user_says` and `agent_says` is noted, so that `check()` knows what must have
    arrived; each of them returns when its webhook is acknowledged.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self.database = database
        self.bridge = Bridge(folder)
        self.ring = Ringotel(API_KEY)
        self.bird = Bird(access_key=ACCESS_KEY, signing_key=SIGNING_KEY)
        self.islash = ISlash(token=USER_TOKEN, sessions={ISLASH_SESSION: "whatsapp"}, retries_hooks=True)
        self.settings = Settings()
        self.said: list[Said] = []
        self.tolerated: set[str] = set()
        """Log events that this scenario brings about, which would else be a defect."""
        self.compared: set[str] = set()
        """Tables of which the scenario knows every byte, and that are too large to be searched for secrets."""

    async def __aenter__(self) -> Self:
        for simulator in (self.ring, self.bird, self.islash):
            await simulator.start()
        self.ring.add_organization((), orgid=ORGANIZATION)
        for extension in ("9003", "9004", "9005", "9006", "9100"):
            self.ring.add_user(extension)
        for channel in CHANNELS.values():
            self.bird.add_channel(channel)
        self.ring.hook_url = f"{self.bridge.url}/hooks/office/{DESK_HOOK_SECRET}"
        self.bird.hook_url = f"{self.bridge.url}/hooks/bird"
        self.bird.public_hook_url = f"{PUBLIC_URL}/hooks/bird"
        self.islash.hook_urls[ISLASH_SESSION] = f"{self.bridge.url}/hooks/islash/{ISLASH_HOOK_SECRET}"
        self.client = aiohttp.ClientSession()
        return self

    async def __aexit__(self, kind: object, *rest: object) -> None:
        found = []
        try:
            if self.bridge.running:
                found += await self._leaks_of_admin()
                status = await self.bridge.stop()
                assert kind is not None or status == 0, f"exit status {status}\n{self.bridge.tail()}"
        finally:
            await self.client.close()
            for simulator in (self.ring, self.bird, self.islash):
                await simulator.stop()
        found += await self.leaks()
        assert found == [], f"{len(found)} secrets where none may be:\n" + "\n".join(found[:20])
        if kind is None and self.bridge.log.exists():
            told = self.bridge.faults(expected=self.tolerated)
            assert told == [], "the log tells of defects:\n" + "\n".join(told[:5])

    async def leaks(self) -> list[str]:
        """Secrets in what daemons have logged and stored (G12)."""
        logs = sorted(self.bridge.log.parent.glob("*.log"))
        found = [f"{log.name}: {leak}" for log in logs for leak in leaks(log.read_bytes(), SECRETS)]
        return found + await leaks_in_tables(self.database, SECRETS, but=self.compared)

    async def _leaks_of_admin(self) -> list[str]:
        found = []
        patience = aiohttp.ClientTimeout(total=5)
        for page in ("metrics", "readyz"):
            try:
                async with self.client.get(f"{self.bridge.admin_url}/{page}", timeout=patience) as response:
                    found += [f"/{page}: {leak}" for leak in leaks(await response.read(), SECRETS)]
            except (aiohttp.ClientError, TimeoutError):
                break  # it is about to end, or hangs, which stopping it will show
        return found

    async def start(self, settings: Settings | None = None) -> None:
        """Write the config and start the daemon."""
        self.configure(settings)
        await self.bridge.start()

    def configure(self, settings: Settings | None = None) -> None:
        """Write the config."""
        self.settings = settings or self.settings
        self.bridge.config.write_text(
            toml(
                self.settings,
                database=self.database.url,
                listen=f"127.0.0.1:{self.bridge.port}",
                admin=f"127.0.0.1:{self.bridge.admin_port}",
                urls={"ringotel": self.ring.api_url, "bird": self.bird.url, "islash": self.islash.base_url},
            )
        )

    # --- people ---

    async def contact_says(
        self, text: str, *, contact: str = ALICE, link: str = SMS, acknowledged: bool = True, **how: Any
    ) -> str:
        """A contact writes; the platform's id. On `POLLED` no webhook tells of it."""
        messageid = self.contact_posts(text, contact=contact, link=link, **how)
        posted = self.poster(link).posted
        if acknowledged and link != POLLED and posted is not None:
            await posted
        self.note_contact(text, contact=contact, link=link)
        return messageid

    def contact_posts(self, text: str, *, contact: str = ALICE, link: str = SMS, copies: int = 1, **how: Any) -> str:
        """The same without waiting and without noting it."""
        if link == WHATSAPP:
            return self.islash.contact_says(ISLASH_SESSION, contact.removeprefix("+"), text, copies=copies, **how)
        self.bird.hook_copies, before = copies, self.bird.hook_copies
        try:
            return self.bird.contact_says(CHANNELS[link], contact, text, webhook=link != POLLED, **how)
        finally:
            self.bird.hook_copies = before

    def note_contact(self, text: str, *, contact: str = ALICE, link: str = SMS) -> None:
        """Note that the contact's message is acknowledged."""
        targets = tuple(Lane(f"desk:{user}", contact) for user in self.settings.of(link))
        self.said.append(Said(text, Lane(link, contact), targets))

    async def user_says(
        self, extension: str, text: str, *, contact: str = ALICE, link: str = SMS, acknowledged: bool = True, **how: Any
    ) -> str:
        """A user writes; the platform's id. `link` is where it is expected to go out."""
        messageid = self.ring.user_says(extension, contact, text, **how)
        if acknowledged and self.ring.posted is not None:
            await self.ring.posted
        self.note_user(extension, text, contact=contact, link=link)
        return messageid

    def note_user(self, extension: str, text: str, *, contact: str = ALICE, link: str = SMS) -> None:
        """Note that the user's message is acknowledged."""
        others = (Lane(f"desk:{user}", contact) for user in self.settings.of(link) if user != extension)
        self.said.append(Said(text, Lane(f"desk:{extension}", contact), (Lane(link, contact), *others)))

    async def agent_says(self, text: str, *, contact: str = ALICE) -> str:
        """Somebody answers on the Bird channel itself; Bird's id."""
        messageid = self.bird.agent_says(CHANNELS[SMS], contact, text)
        if self.bird.posted is not None:
            await self.bird.posted
        targets = tuple(Lane(f"desk:{user}", contact) for user in self.settings.of(SMS))
        self.said.append(Said(text, Lane(SMS, contact), targets))
        return messageid

    def poster(self, link: str) -> Bird | ISlash:
        """The platform that posts a link's webhooks."""
        return self.islash if link == WHATSAPP else self.bird

    # --- what there is to see ---

    def desk(self, extension: str, contact: str = ALICE) -> list[str]:
        """What the daemon wrote into a user's chat, in the order of arrival."""
        return [message.content for message in self.ring.chat(extension, contact) if message.by_api]

    def channel(self, link: str = SMS, contact: str = ALICE) -> list[str]:
        """What the daemon sent to a contact, in the order of arrival."""
        if link == WHATSAPP:
            return [message.text for message in self.islash.sent(ISLASH_SESSION, contact.removeprefix("+"))]
        sent = self.bird.sent(CHANNELS[link], contact)
        return [message["body"]["text"]["text"] for message in sent if message["reference"]]

    def arrived(self) -> list[Arrived]:
        """Every copy that the daemon put anywhere, lane by lane in the order of arrival."""
        copies = []
        for (organization, extension, contact), messages in self.ring.desk.chats.items():
            target = f"desk:{extension}" if organization == ORGANIZATION else f"desk:{organization}/{extension}"
            lane = Lane(target, "+" + contact if contact.isdigit() else contact)
            copies += [Arrived(lane, message.content) for message in messages if message.by_api]
        for link, channel in CHANNELS.items():
            for contact in self.bird.channels[channel].chats:
                copies += [Arrived(Lane(link, contact), text) for text in self.channel(link, contact)]
        for sent in self.islash.messages.values():
            copies.append(Arrived(Lane(WHATSAPP, "+" + sent.identity), sent.text))
        return copies

    def missing(self) -> int:
        """How many copies have not arrived yet, by number only."""
        return sum(len(message.targets) for message in self.said) - len(self.arrived())

    def faults(self) -> list[Fault]:
        """What the history checker finds now."""
        return faults(self.said, self.arrived())

    # --- waiting and checking ---

    async def arrive(self, texts: Callable[[], list[str]], wanted: list[str], *, seconds: float = PATIENCE) -> None:
        """Wait until a chat or channel shows as many texts as `wanted`, and compare them."""
        await until(
            lambda: len(texts()) >= len(wanted),
            lambda: f"{wanted} (there: {texts()})\n{self.bridge.tail()}",
            seconds=seconds,
        )
        assert texts() == wanted

    async def quiet(self, *, seconds: float = PATIENCE) -> None:
        """Wait until the daemon has nothing left to do: no webhook under way, no event waiting, no lane busy."""

        async def still() -> bool:
            for simulator in (self.ring, self.bird, self.islash):
                await asyncio.wait_for(simulator.hooks_taken(), seconds)
            waiting = await self.database.value("SELECT count(*) FROM event WHERE state = 'waiting'")
            return not waiting and not await self.open_deliveries()

        # Twice: what is done may post webhooks which mean more to do.
        for _ in range(2):
            try:
                await until(still, "quiet", seconds=seconds, gap=0.03)
            except (AssertionError, TimeoutError) as error:
                raise AssertionError(f"{error or 'webhooks are not taken'}\n{await self.state()}") from None
            await asyncio.sleep(0.06)

    async def check(self, *, seconds: float = PATIENCE, excused: Iterable[Fault] = ()) -> None:
        """Wait until it is quiet; then nothing is lost, doubled, reordered, looped, leaked or altered."""
        await self.quiet(seconds=seconds)
        found = [fault for fault in self.faults() if fault not in set(excused)]
        assert not found, f"{len(found)} faults:\n" + "\n".join(str(fault) for fault in found[:20])

    async def state(self) -> str:
        """What the daemon still has to do, for a failing test to tell."""
        waiting = await self.database.rows(
            "SELECT account, key, state, reason, conversation_id FROM event WHERE state NOT IN ('done', 'ignored')"
        )
        lanes = await self.database.rows("SELECT id, busy, due_at, why, owner, lease_until FROM lane WHERE busy")
        told = [
            *(f"event {row}" for row in waiting[:10]),
            *(f"lane {row}" for row in lanes[:10]),
            *(f"delivery {row}" for row in (await self.deliveries("d.open"))[:10]),
        ]
        return "\n".join([*told, self.bridge.tail()])

    async def open_deliveries(self) -> int:
        """How many deliveries their lanes may not go past."""
        opened: int = await self.database.value("SELECT count(*) FROM delivery WHERE open")
        return opened

    async def deliveries(self, where: str = "1 = 1") -> list[Row]:
        """Deliveries in the order made, with their account's link and contact."""
        return await self.database.rows(
            "SELECT d.*, c.link, c.contact FROM delivery d JOIN lane l ON l.id = d.lane_id "
            f"JOIN conversation c ON c.id = l.conversation_id WHERE {where} ORDER BY d.created_at, d.id"
        )

    async def mapping(self) -> list[Row]:
        """All rows of `mapping`."""
        return await self.database.rows("SELECT * FROM mapping ORDER BY created_at, message, part")

    async def counts(self) -> dict[str, int]:
        """Rows of every table that a message leaves traces in."""
        tables = ("event", "message", "mapping", "delivery", "lane", "conversation", "session")
        return {table: await self.database.value(f'SELECT count(*) FROM "{table}"') for table in tables}

    async def metrics(self) -> str:
        """The text of `/metrics`."""
        async with self.client.get(f"{self.bridge.admin_url}/metrics") as response:
            return await response.text()

    def account_of(self, link: str) -> str:
        """Name of a link's channel account."""
        return _ACCOUNTS[link]
