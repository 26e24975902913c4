from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from syncd.model.topology import ChannelEnd, DeskEnd, Link, Topology


def _link(name: str, organization: str, *users: str, position: int = 0) -> Link:
    return Link(
        name=name,
        desk=DeskEnd("office", organization, users),
        channel=ChannelEnd("bird", f"channel-of-{name}"),
        region="US",
        on_unknown="hold",
        max_age=timedelta(hours=12),
        edits="note",
        failure_notice=True,
        position=position,
    )


A = _link("a", "1", "9003", "9004")
B = _link("b", "1", "9004", position=1)
C = _link("c", "2", "9004", position=2)
TOPOLOGY = Topology((A, B, C))


def test_by_name() -> None:
    assert TOPOLOGY.link("b") is B
    assert TOPOLOGY.link("z") is None


def test_by_channel() -> None:
    assert TOPOLOGY.by_channel("bird", "channel-of-c") is C
    assert TOPOLOGY.by_channel("office", "channel-of-c") is None


def test_by_desk_user_is_in_file_order_and_within_the_organization() -> None:
    assert TOPOLOGY.by_desk_user("office", "1", "9004") == (A, B)
    assert TOPOLOGY.by_desk_user("office", "1", "9003") == (A,)
    assert TOPOLOGY.by_desk_user("office", "2", "9004") == (C,)
    assert TOPOLOGY.by_desk_user("office", "2", "9003") == ()
    assert TOPOLOGY.by_desk_user("other", "1", "9004") == ()


def test_names_and_channel_ends_are_unique() -> None:
    with pytest.raises(ValueError, match="share"):
        Topology((A, replace(B, name="a")))
    with pytest.raises(ValueError, match="share"):
        Topology((A, replace(B, channel=A.channel)))


def test_equal_links_are_an_equal_topology() -> None:
    assert Topology((A, B)) == Topology((A, B))
    assert Topology((A, B)) != TOPOLOGY
