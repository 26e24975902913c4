"""The state machine: what people, platforms, networks, clocks and operators may do, in any order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from syncd.model.facts import CopyStatus
from tests.machine.facade import OPENING, End
from tests.machine.mortal import Fate
from tests.machine.scenery import BIRD, CONTACTS, DESK, ISLASH, Policy
from tests.machine.setting import Ground, Setting
from tests.machine.truth import Hook

PICK = st.integers(0, 7)
LINKS = st.sampled_from(["sms", "whatsapp", "solo"])
CONTACT = st.sampled_from(CONTACTS)
USERS = st.sampled_from(["9003", "9004", "9005"])
ACCOUNTS = st.sampled_from([DESK, BIRD, ISLASH])
ENDS: st.SearchStrategy[End] = st.sampled_from(
    [
        "taken",
        "slow, done",
        "lost, done",
        "slow",
        "dies after",
        "lost, not done",
        "not sent",
        "taken without id",
        "rate limited",
        "rejected",
        "dies before",
    ]
)
TROUBLE = st.lists(st.tuples(st.sampled_from([DESK, DESK, BIRD, ISLASH, OPENING]), ENDS), max_size=3)
"""How the next calls end; most are sends to the desk."""


@dataclass(frozen=True)
class How:
    """What becomes of somebody's words."""

    now: int | None
    """Which process gets the webhook at once; None: it comes when it comes."""
    trouble: list[tuple[str, End]]
    """How the next calls end."""
    prompt: bool
    """What platforms tell of the copies that arrive is told at once, maybe before the call is answered."""


HOW = st.builds(How, now=st.one_of(PICK, st.none()), trouble=TROUBLE, prompt=st.booleans())
ANSWERS: st.SearchStrategy[End] = st.sampled_from(
    ["taken", "taken without id", "lost, not done", "not sent", "rate limited", "rejected", "dies before"]
)
FATES: st.SearchStrategy[Fate] = st.sampled_from(["dies before", "dies after", "answer lost", "stands still"])
STATUSES = st.sampled_from([CopyStatus.SENT, CopyStatus.DELIVERED, CopyStatus.READ])
Names = Literal["all", "id", "nothing"]


class Machine(RuleBasedStateMachine):
    """Each step is carried out to its end before the next; what is slow, held or lost is so because a step says so."""

    ground: ClassVar[Ground]
    setting: Setting

    def __init__(self) -> None:
        super().__init__()
        self.texts = 0
        self.broken = False
        self.begun = False

    @initialize(policy=st.sampled_from(["hold", "resend"]), echoes=st.sampled_from([True, True, False]))
    def begin(self, policy: Policy, echoes: bool) -> None:
        self.setting = Setting(self.ground, policy, echoes=echoes)
        self.begun = True
        self.do(self.setting.begin)

    # What people do.

    @rule(link=LINKS, contact=CONTACT, common=st.booleans(), how=HOW)
    def contact_writes(self, link: str, contact: str, common: bool, how: How) -> None:
        """Contacts say the same thing again and again."""
        text = f"{link} ok" if common else self.text(link)
        self.told(self.setting.truth.contact_writes(self.link(link), contact, text), how)

    @rule(link=st.sampled_from(["sms", "solo"]), contact=CONTACT, how=HOW)
    def agent_writes(self, link: str, contact: str, how: How) -> None:
        """Somebody answers on the channel itself, where the platform tells of that."""
        self.told(self.setting.truth.agent_writes(self.link(link), contact, self.text(link)), how)

    @rule(user=USERS, contact=CONTACT, names=st.sampled_from(["all", "id", "nothing"]), how=HOW)
    def user_writes(self, user: str, contact: str, names: Names, how: How) -> None:
        """A user writes to a contact, whom the user may never have met."""
        self.told(self.setting.truth.user_writes(user, contact, self.text(user), names), how)

    @rule(user=USERS, contact=CONTACT)
    def session_is_closed(self, user: str, contact: str) -> None:
        self.setting.truth.close(user, contact)

    # What platforms tell.

    @precondition(lambda self: self.setting.truth.outbox)
    @rule(pick=PICK, who=PICK, mode=st.sampled_from(["once", "twice", "and again later", "to both"]), trouble=TROUBLE)
    def deliver(self, pick: int, who: int, mode: str, trouble: list[tuple[str, End]]) -> None:
        """One webhook, of the newest or the oldest, to one process; or to two at once."""

        async def step() -> None:
            self.expect(trouble)
            setting = self.setting
            outbox = setting.truth.outbox
            hook = outbox[(pick // 2 if pick % 2 else -1 - pick // 2) % len(outbox)]
            if not await setting.tellable(hook):
                outbox.remove(hook)
                return
            first, second = await setting.able(who), await setting.able(who + 1)
            if mode == "to both":
                await setting.deliver_at_once([(first, hook), (second, hook)])
            else:
                await setting.deliver(first, hook, times=2 if mode == "twice" else 1)
            if mode == "and again later" and hook not in outbox:
                outbox.append(hook)

        self.do(step)

    @precondition(lambda self: len(self.setting.truth.outbox) > 1)
    @rule(count=st.integers(2, 5), who=PICK, trouble=TROUBLE)
    def deliver_several_at_once(self, count: int, who: int, trouble: list[tuple[str, End]]) -> None:
        async def step() -> None:
            self.expect(trouble)
            process = await self.setting.able(who)
            hooks = [one for one in self.setting.truth.outbox[:count] if await self.setting.tellable(one)]
            await self.setting.deliver_at_once([(process, one) for one in hooks])

        self.do(step)

    @precondition(lambda self: any(self.setting.truth.rows.values()))
    @rule(pick=PICK)
    def lose_webhook(self, pick: int) -> None:
        """A webhook that a poll makes good."""
        truth = self.setting.truth
        rows = [hook for end in truth.rows.values() for hook in end if hook in truth.outbox]
        if rows:
            truth.outbox.remove(rows[pick % len(rows)])

    @precondition(lambda self: self.setting.truth.arrivals)
    @rule(pick=PICK, status=STATUSES)
    def status_is_told(self, pick: int, status: CopyStatus) -> None:
        arrivals = self.setting.truth.arrivals
        self.setting.truth.status_of(arrivals[-1 - pick % len(arrivals)], status)

    # How platforms behave.

    @precondition(lambda self: self.setting.temper.under_way())
    @rule(pick=PICK, end=ANSWERS)
    def slow_call_ends(self, pick: int, end: End) -> None:
        async def step() -> None:
            slow = self.setting.temper.under_way()
            slow[pick % len(slow)].end.set_result(end)

        self.do(step)

    # What happens to processes, databases and clocks.

    @rule(who=PICK)
    def kill(self, who: int) -> None:
        async def step() -> None:
            await self.setting.kill(await self.setting.able(who))

        self.do(step)

    @rule(who=PICK, units=st.integers(1, 4), fate=FATES)
    def doom(self, who: int, units: int, fate: Fate) -> None:
        async def step() -> None:
            if fate != "stands still" or len(self.setting.processes) > 1:
                (await self.setting.able(who)).store.doom(units, fate)

        self.do(step)

    @rule(who=PICK)
    def start_again(self, who: int) -> None:
        """Start what is dead; stop well and start what is not."""

        async def step() -> None:
            names = self.setting.look.processes
            name = names[who % len(names)]
            process = self.setting.processes[name]
            if process.store.frozen:
                process.store.thaw()
                await self.setting.loop.quiet()
            if process.alive:
                await process.drain()
            await self.setting.bury(process)
            await self.setting.start(name)

        self.do(step)

    @rule(seconds=st.sampled_from([0.5, 3.0, 11.0, 31.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.do(lambda: self.setting.loop.pass_time(seconds))

    @rule(
        who=PICK, what=st.sampled_from(["database", "key", "clock ahead", "clock behind", "freeze"]), account=ACCOUNTS
    )
    def mishap(self, who: int, what: str, account: str) -> None:
        """A process's database goes or comes back; a key is renewed, and refused until a process is started with the
        new one; a clock is set, maybe backwards; a process stands still, maybe for longer than its leases last.
        """

        async def step() -> None:
            setting = self.setting
            names = setting.look.processes
            process = setting.processes[names[who % len(names)]]
            if what == "key":
                setting.temper.keys[account] += 1
            elif what.startswith("clock"):
                setting.routes_are_sure = False
                process.skew = 2.0 if what == "clock ahead" else -2.0
            elif not process.alive:
                return
            elif what == "database":
                (process.store.come_back if process.store.away else process.store.go_away)()
            elif process.store.frozen:
                process.store.thaw()
            elif len(names) > 1:
                process.store.freeze()

        self.do(step)

    def teardown(self) -> None:
        if not self.begun:
            return
        try:
            if not self.broken:
                self.do(self.setting.settle)
                self.do(self.setting.judge)
        finally:
            self.setting.end()

    def told(self, hook: Hook, how: How) -> None:
        """A webhook is delivered at once, or waits to be."""

        async def step() -> None:
            setting = self.setting
            self.expect(how.trouble)
            before = list(setting.truth.outbox)
            if how.now is not None:
                await setting.deliver(await setting.able(how.now), hook)
            if how.prompt:
                await setting.settle_deaths()
                for news in [one for one in setting.truth.outbox if one not in before]:
                    if await setting.tellable(news):
                        await setting.deliver(await setting.able(how.now or 0), news)

        self.do(step)

    def expect(self, trouble: list[tuple[str, End]]) -> None:
        """This becomes of the next calls."""
        for account, end in trouble:
            self.setting.temper.plans[account].append(end)

    def do(self, step: Callable[[], Any]) -> None:
        """Carry out a step; once something is wrong the example ends there."""
        try:
            self.setting.do(step())
        except BaseException:
            self.broken = True
            raise

    def text(self, who: str) -> str:
        """Something never said before."""
        self.texts += 1
        return f"{who} says {self.texts}"

    def link(self, name: str) -> Any:
        """A link by name."""
        found = self.setting.truth.topology.link(name)
        assert found is not None
        return found
