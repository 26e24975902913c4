"""The interface between the engine and a platform plug-in (design §10).

A platform knows HTTP and wire formats. It has no SQL, no retry of a send, no sleep, no queue, and never logs.
Plug-ins are found through the entry-point group `syncd.platforms`; each entry names a `Plugin`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pydantic import BaseModel

    from syncd.model.capabilities import Capabilities
    from syncd.model.facts import Fact
    from syncd.model.sending import Opening, Outgoing, Sent


class Refused(Exception):
    """A webhook that is not taken. `status` is the HTTP answer: 400 not JSON, 401 wrong signature or key."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Door:
    """One webhook address of an account: `/hooks/ACCOUNT` or `/hooks/ACCOUNT/SECRET`."""

    end: str
    """Key of the end that the address stands for; empty where the body tells."""
    secret: str | None = field(repr=False)
    label: str = ""
    """What to call it in `syncd hooks`: a link's name, or empty for the account's one address."""


@dataclass(frozen=True, slots=True)
class HookRequest:
    """A webhook as it came over the wire. `headers` must match names in any case, or have them in lower case."""

    url: str
    """`public_url` + path + query, exactly: what signatures are made over."""
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    end: str = ""
    """The end of the door that it came through."""


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One thing a platform told us, before it is understood.

    `key` is unique for the thing within its account, whichever way it comes: a webhook and a poll of the same message
    give the same key. `body` is stored, so it holds no credential. Where a platform names nothing unique, `key` is a
    hash of the content and `window` says how long an equal one counts as the same.
    """

    key: str
    body: bytes = field(repr=False)
    end: str = ""
    window: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """All that one poll found, oldest first, and the cursor to store with it in the same transaction."""

    events: tuple[RawEvent, ...]
    cursor: str
    """Opaque to the engine; what `poll` gets next time."""
    complete: bool = True
    """False where the poll was bounded and more is waiting: poll again at once."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check --live`."""

    ok: bool
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class EndSetup:
    """A link's end on an account."""

    link: str
    key: str
    settings: Any
    """An instance of the plug-in's `end_model`."""


@dataclass(frozen=True, slots=True)
class AccountSetup:
    """All that a platform is given to work for one account."""

    name: str
    settings: Any
    """An instance of the plug-in's `account_model`."""
    ends: tuple[EndSetup, ...]
    public_url: str


class Platform(Protocol):
    """One account at one platform. Everything but `send`, `open_session`, `find_sent`, `poll`, `probe` is pure."""

    def doors(self) -> tuple[Door, ...]:
        """The webhook addresses of this account."""
        ...

    def verify(self, request: HookRequest) -> tuple[RawEvent, ...]:
        """Authenticate the raw bytes, then split them into events, in the order said.

        Raises `Refused`. An empty result is a webhook of no interest.
        """
        ...

    def parse(self, event: RawEvent) -> tuple[Fact, ...]:
        """What the event says. Pure; never raises for odd content: what is not understood is `Uninteresting`."""
        ...

    async def send(self, outgoing: Outgoing) -> Sent:
        """Put one copy on the target, with one request. Raises a `SendError`."""
        ...

    async def open_session(self, opening: Opening) -> str:
        """The `sessionid` of a new (or found) session. Raises a `SendError`. Only with `capabilities.sessions`."""
        ...

    async def find_sent(self, outgoing: Outgoing, since: datetime) -> Sent | None:
        """Look for our own send by its reference. None: certainly not there now. Raises a `SendError` if unknowable.

        Only with `capabilities.finds_sent`.
        """
        ...

    async def poll(self, end: str, cursor: str | None, now: datetime) -> Page:
        """What the channel end says since the cursor. A None cursor imports nothing: it only sets the first one.

        Raises a `SendError`. Only with `capabilities.polls`.
        """
        ...

    async def probe(self) -> tuple[Finding, ...]:
        """Call the account, read-only, and say what is right and wrong. Never raises for a platform's fault."""
        ...

    async def register_hooks(self, *, dry_run: bool) -> tuple[Finding, ...]:
        """Create or repair the webhook subscriptions; idempotent. Only with `capabilities.registers_hooks`."""
        ...


@dataclass(frozen=True, slots=True)
class Plugin:
    """What the entry point of a platform names."""

    name: str
    capabilities: Capabilities
    account_model: type[BaseModel]
    """Config keys of `[accounts.NAME]` besides the common ones (`platform`, `rate`)."""
    end_model: type[BaseModel]
    """Config keys of a link's `desk` or `channel` besides `account`."""
    end_key: Callable[[str, Any], str]
    """(link name, end settings) -> the key that facts and sends call this end by. Never a secret."""
    build: Callable[[AccountSetup, Any], Platform]
    """(setup, `syncd.platforms.http.Http`) -> the platform for that account."""
