"""What the contract suite needs to know of a platform: each has a `SUBJECT` in `tests/platforms/NAME/contract.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Any, ClassVar

from syncd.engine.platform import AccountSetup, EndSetup, HookRequest, Platform, Plugin
from syncd.model.sending import Author, Outgoing
from syncd.simulators.base import Simulator

PUBLIC_URL = "https://bridge.example.com"
TEXT = "The parcel for Mr Smith is ready"


class Subject(ABC):
    """One configured account of a platform, its simulator, and webhooks to order."""

    account: ClassVar[dict[str, Any]]
    """Its config, without `base_url`; secrets as literals."""
    end: ClassVar[dict[str, Any]]
    """Config of one end on it."""
    secrets: ClassVar[tuple[str, ...]]
    """Every secret in the two."""
    carried: ClassVar[tuple[str, ...]]
    """Those that calls carry, and so an answer may repeat."""
    addressed: ClassVar[dict[str, Any]]
    """What a send to this platform has besides the common fields: `end`, `contact`, …"""

    @abstractmethod
    def simulator(self) -> Simulator:
        """A simulator that knows the account and its end; not started."""

    @abstractmethod
    def base_url(self, simulator: Any) -> str:
        """What the config calls `base_url`, once the simulator is started."""

    @abstractmethod
    def taken(self, simulator: Any) -> int:
        """How many sends the simulator has carried out."""

    @abstractmethod
    def request(self, body: bytes) -> HookRequest:
        """A webhook of these very bytes, authentic as far as anything beside the body makes it so."""

    @abstractmethod
    def webhook(self, value: Any) -> HookRequest:
        """An authentic webhook that says any JSON value."""

    @abstractmethod
    def said(self, messageid: str, text: str) -> HookRequest:
        """An authentic webhook: somebody said something."""

    def setup(self, plugin: Plugin, base_url: str) -> AccountSetup:
        """The account as the config would give it."""
        settings = plugin.account_model.model_validate(self.account | {"base_url": base_url})
        end = plugin.end_model.model_validate(self.end)
        return AccountSetup(
            "account-1", settings, (EndSetup("link-1", plugin.end_key("link-1", end), end),), PUBLIC_URL
        )

    def platform(self, plugin: Plugin, http: Any = None, base_url: str = "https://platform.example") -> Platform:
        """The platform; without `http` for what needs no network."""
        return plugin.build(self.setup(plugin, base_url), http)

    def outgoing(self, text: str = TEXT) -> Outgoing:
        """A send to the end."""
        common: dict[str, Any] = {
            "reference": "0190c1d2-reference-1",
            "spelling": None,
            "text": text,
            "said_at": datetime(2026, 2, 3, 11, 41, 27, tzinfo=UTC),
        }
        return Outgoing(**common | {"author": Author.USER} | self.addressed)
