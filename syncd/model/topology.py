"""What is joined to what: the links of the config, and how to find the link of a fact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from syncd.model.capabilities import Capabilities


@dataclass(frozen=True, slots=True)
class DeskEnd:
    """The desk's half of a link: the users who share its conversations."""

    account: str
    key: str
    """The organization (`Plugin.end_key`)."""
    users: tuple[str, ...]
    """Extensions (or shared numbers), the first one first in the file; never empty."""
    able: Capabilities = field(default=Capabilities("desk", 2.0, 4000, sessions=True), compare=False)


@dataclass(frozen=True, slots=True)
class ChannelEnd:
    """The channel's half of a link."""

    account: str
    key: str
    """What facts and sends call this end by (`Plugin.end_key`); never a secret."""
    able: Capabilities = field(default=Capabilities("channel", 10.0, 4000), compare=False)


@dataclass(frozen=True, slots=True)
class Link:
    """A channel end joined to a desk end (`[[links]]`)."""

    name: str
    desk: DeskEnd
    channel: ChannelEnd
    region: str
    """CLDR region, upper case: how national numbers are read."""
    on_unknown: Literal["hold", "resend"]
    """What becomes of a delivery in doubt that nothing settles (G3)."""
    max_age: timedelta
    """A message said longer ago than this is not sent any more."""
    edits: Literal["note", "ignore"]
    """What becomes of a user's edit on a channel that has none."""
    failure_notice: bool
    """Whether a user is told in the chat when a message could not be delivered."""
    position: int
    """Place in the file, from 0; also the last word between links that share a user."""


@dataclass(frozen=True, slots=True)
class Topology:
    """All links in file order, with look-ups built once.

    Raises `ValueError` where two links share a name or a channel end.
    """

    links: tuple[Link, ...]
    _names: Mapping[str, Link] = field(init=False, repr=False, compare=False)
    _channels: Mapping[tuple[str, str], Link] = field(init=False, repr=False, compare=False)
    _users: Mapping[tuple[str, str, str], tuple[Link, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = {link.name: link for link in self.links}
        channels = {(link.channel.account, link.channel.key): link for link in self.links}
        if len(names) != len(self.links) or len(channels) != len(self.links):
            raise ValueError("two links share a name or a channel end")
        users: dict[tuple[str, str, str], tuple[Link, ...]] = {}
        for link in self.links:
            desk = (link.desk.account, link.desk.key)
            for extension in dict.fromkeys(link.desk.users):
                users[(*desk, extension)] = (*users.get((*desk, extension), ()), link)
        for name, value in (("_names", names), ("_channels", channels), ("_users", users)):
            object.__setattr__(self, name, value)

    def link(self, name: str) -> Link | None:
        """The link of that name; None where the config has none (any more)."""
        return self._names.get(name)

    def by_channel(self, account: str, key: str) -> Link | None:
        """The link whose channel end it is; a channel end belongs to one link at most."""
        return self._channels.get((account, key))

    def by_desk_user(self, account: str, organization: str, extension: str) -> tuple[Link, ...]:
        """The links that list this user, in file order."""
        return self._users.get((account, organization, extension), ())
