"""What is said in a run, and the HTTP requests that say it: all made and signed before the clock starts."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from syncd.simulators.base import Hook
from syncd.simulators.bird import BirdSimulator

ORGANIZATION = "17076444409917912922"
CHANNEL = "cb4b1ebc-34e6-5a7a-a375-f6f2f131d88f"
PUBLIC_URL = "https://bridge.example.com"
HOOK_PATH = "/hooks/bird"
MOST_CONVERSATIONS = 70_000

_WORDS = "I would like to know when my parcel arrives, and whether I can still change the address 👋"


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a contact. Its text is unique in the run."""

    conversation: int
    text: str


@dataclass(frozen=True, slots=True)
class Post:
    """One HTTP request, ready to be written."""

    request: bytes
    conversation: int
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Who says what, in which order."""

    contacts: tuple[str, ...]
    """By conversation."""
    opening: tuple[Said, ...]
    """One message a conversation, said before the clock starts."""
    said: tuple[Said, ...]

    @classmethod
    def of(cls, messages: int, conversations: int, seed: int | None = None) -> Plan:
        """Conversations take turns; with a `seed` they are drawn."""
        drawn = random.Random(seed) if seed is not None else None
        order = [drawn.randrange(conversations) if drawn else n % conversations for n in range(messages)]
        counts = [0] * conversations
        said = []
        for conversation in order:
            counts[conversation] += 1
            said.append(Said(conversation, _text(conversation, counts[conversation])))
        return cls(
            tuple(_contact(number) for number in range(conversations)),
            tuple(Said(number, _text(number, 0)) for number in range(conversations)),
            tuple(said),
        )


def webhooks(plan: Plan, said: Sequence[Said], base_url: str) -> list[Post]:
    """Signed webhooks of Bird, one a message."""
    bird = BirdSimulator(hook_url=base_url + HOOK_PATH, public_hook_url=PUBLIC_URL + HOOK_PATH)
    channel = bird.add_channel(CHANNEL)
    posts = []
    for one in said:
        made = bird.contact_says(channel, plan.contacts[one.conversation], one.text, webhook=False)
        hook = bird.hook("sms.inbound", bird.channels[channel].messages[made].data)
        posts.append(_post(hook, one))
    return posts


def openings(plan: Plan, base_url: str, users: Sequence[str]) -> list[Post]:
    """For the floor: the calls that open every session."""
    return [
        _call(base_url, {"from": plan.contacts[one.conversation], "to": user}, one)
        for one in plan.opening
        for user in users
    ]


def calls(plan: Plan, base_url: str, users: Sequence[str], sessions: dict[tuple[str, str], str]) -> list[Post]:
    """For the floor: the very calls that the bridge makes of the webhooks. `sessions`: by user and contact."""
    posts = []
    for one in plan.said:
        contact = plan.contacts[one.conversation]
        for user in users:
            params = {"from": contact, "to": user, "content": one.text, "sessionid": sessions[user, contact]}
            posts.append(_call(base_url, params, one))
    return posts


def _call(base_url: str, params: dict[str, str], said: Said) -> Post:
    value = {"method": "message", "params": {"orgid": ORGANIZATION, **params}}
    body = json.dumps(value, ensure_ascii=False).encode()
    return _post(Hook(base_url + "/", body, {"Content-Type": "application/json"}), said)


def _post(hook: Hook, said: Said) -> Post:
    parts = urlsplit(hook.url)
    headers = {"Host": parts.netloc, "Content-Length": str(len(hook.body)), **hook.headers}
    lines = [f"POST {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return Post("\r\n".join(lines).encode("ascii") + hook.body, said.conversation, said.text)


def _contact(number: int) -> str:
    """Numbers that belong to nobody: 555-0100 to 555-0199 of every area code."""
    return f"+1{201 + number // 100}55501{number % 100:02}"


def _text(conversation: int, number: int) -> str:
    return f"{conversation}.{number} {_WORDS}"
