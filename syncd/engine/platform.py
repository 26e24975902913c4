"""The interface between the engine and a platform plug-in (design §10).

A platform knows HTTP and wire formats. It has no SQL, no retry of a send, no sleep, no queue, and never logs.
Plug-ins are found through the entry-point group `syncd.platforms`; each entry names a `Plugin`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pydantic import BaseModel

    from syncd.model.capabilities import Capabilities
    from syncd.model.facts import Fact
    from syncd.model.sending import Change, Opening, Outgoing, Receipt, Sent


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


@dataclass(frozen=True, slots=True)
class Credential:
    """A header for the hosts of files that may see it, and for nobody else."""

    header: str
    value: str = field(repr=False)
    hosts: tuple[str, ...]
    """`host` or `host:port`."""


class Platform(Protocol):
    """One account at one platform. What is not `async` is pure."""

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
        """Put one copy on the target, once. Raises a `SendError`."""
        ...

    async def edit(self, change: Change) -> Sent:
        """Change the text of a copy. Idempotent. Raises a `SendError`. Only with `capabilities.edits`."""
        ...

    async def delete(self, change: Change) -> Sent:
        """Take a copy back. Idempotent. Raises a `SendError`. Only with `capabilities.deletes`."""
        ...

    async def receipt(self, change: Change, receipt: Receipt) -> Sent:
        """Tell the author of a message what became of it. Idempotent. Raises a `SendError`.

        Only with `capabilities.receipts`.
        """
        ...

    def media_credential(self) -> Credential | None:
        """What the hosts of this account's files must be shown; None where they are open to who knows the address."""
        ...

    async def open_session(self, opening: Opening) -> str:
        """The `sessionid` of a new (or found) session. Raises a `SendError`. Only with `capabilities.sessions`."""
        ...

    async def users(self, end: str) -> Mapping[str, str]:
        """The users of a desk end's organization: userid -> extension. Reads only. Raises a `SendError`.

        Only with `capabilities.directory`.
        """
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

    def history(self, end: str, since: datetime, until: datetime) -> AsyncIterator[tuple[RawEvent, ...]]:
        """All that anybody said on the channel end in that span, in pages, in whatever order the platform has.

        The keys are those of webhooks and polls. Rows near the ends of the span may be given or left out. Reads only.
        Raises a `SendError`. Only with `capabilities.history`.
        """
        ...

    async def probe(self) -> tuple[Finding, ...]:
        """Call the account, read-only, and say what is right and wrong. Never raises for a platform's fault."""
        ...

    async def register_hooks(self, *, dry_run: bool) -> tuple[Finding, ...]:
        """Create or repair the webhook subscriptions; idempotent. Only with `capabilities.registers_hooks`."""
        ...


class Minimal:
    """What a platform may leave out; a base for those that can do less. What no capability names is never called."""

    async def edit(self, change: Change) -> Sent:
        """See `Platform`."""
        raise NotImplementedError

    async def delete(self, change: Change) -> Sent:
        """See `Platform`."""
        raise NotImplementedError

    async def receipt(self, change: Change, receipt: Receipt) -> Sent:
        """See `Platform`."""
        raise NotImplementedError

    def media_credential(self) -> Credential | None:
        """See `Platform`."""
        return None

    async def open_session(self, opening: Opening) -> str:
        """See `Platform`."""
        raise NotImplementedError

    async def users(self, end: str) -> Mapping[str, str]:
        """See `Platform`."""
        raise NotImplementedError

    async def find_sent(self, outgoing: Outgoing, since: datetime) -> Sent | None:
        """See `Platform`."""
        raise NotImplementedError

    async def poll(self, end: str, cursor: str | None, now: datetime) -> Page:
        """See `Platform`."""
        raise NotImplementedError

    def history(self, end: str, since: datetime, until: datetime) -> AsyncIterator[tuple[RawEvent, ...]]:
        """See `Platform`."""
        raise NotImplementedError

    async def register_hooks(self, *, dry_run: bool) -> tuple[Finding, ...]:
        """See `Platform`."""
        raise NotImplementedError


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
