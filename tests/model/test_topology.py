"""Look-ups over the links."""

from __future__ import annotations

import pytest

from syncd.model.topology import Topology
from syncd.model.work import CHANNEL, desk_target, extension_of
from tests.model.samples import ORGANIZATION, TOPOLOGY, link


def test_links_are_found_by_name_channel_and_user_in_file_order() -> None:
    sms, whatsapp, solo = TOPOLOGY.links
    assert TOPOLOGY.link("whatsapp") is whatsapp
    assert TOPOLOGY.by_channel("islash", "whatsapp-channel") is whatsapp
    assert TOPOLOGY.by_desk_user("office", ORGANIZATION, "9004") == (sms, whatsapp)
    assert TOPOLOGY.by_desk_user("office", ORGANIZATION, "9005") == (solo,)


def test_what_no_link_has_is_not_found() -> None:
    assert TOPOLOGY.link("gone") is None
    assert TOPOLOGY.by_channel("office", "sms-channel") is None
    assert TOPOLOGY.by_desk_user("office", "another organization", "9003") == ()


def test_a_user_listed_twice_is_one() -> None:
    once = Topology((link("sms", "bird", "9003", "9003"),))
    assert len(once.by_desk_user("office", ORGANIZATION, "9003")) == 1


def test_two_links_share_neither_name_nor_channel() -> None:
    with pytest.raises(ValueError):
        Topology((link("sms", "bird", "9003"), link("sms", "islash", "9003")))


def test_a_target_tells_its_user() -> None:
    assert extension_of(desk_target("9003")) == "9003"
    assert extension_of(desk_target("")) == ""
    assert extension_of(CHANNEL) is None
