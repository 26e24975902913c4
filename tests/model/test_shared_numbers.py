"""A shared number (DID) in a user's place: its chats are group chats, in which any user of it may write."""

from __future__ import annotations

from typing import Any

from syncd.model.decide import decide
from syncd.model.facts import Undelivered
from syncd.model.outcome import Outcome
from syncd.model.picture import Picture
from syncd.model.topology import Topology
from syncd.model.work import CHANNEL, desk_target
from tests.model.samples import CONTACT, ORGANIZATION, contact_said, incoming, link, open_session, picture, user_said

NUMBER = "+442079460000"
TOPOLOGY = Topology((link("sms", "bird", NUMBER, "9003"),))


def test_what_a_user_of_the_number_writes_goes_out() -> None:
    there = picture()
    open_session(there, "g1", extension=NUMBER)
    outcome = decide(there, TOPOLOGY, incoming(user_said(extension="9555", sessionid="g1"), account="office"))
    assert outcome.state == "done"
    assert {duty.target for duty in there.duties} == {CHANNEL, desk_target("9003")}
    assert {duty.author_extension for duty in there.duties} == {"9555"}
    (copy,) = there.new_copies
    assert (copy.extension, copy.sessionid) == (NUMBER, "g1")


def test_who_is_on_no_link_and_in_no_group_chat_is_ignored() -> None:
    there = picture()
    outcome = decide(there, TOPOLOGY, incoming(user_said(extension="9555"), account="office"))
    assert outcome.reason == "no link lists this user"


def test_the_group_chat_gets_what_the_contact_writes_and_the_notices_for_its_users() -> None:
    there = picture()
    decide(there, TOPOLOGY, incoming(contact_said(), account="bird"))
    assert {duty.target for duty in there.duties} == {desk_target(NUMBER), desk_target("9003")}
    there.duties.clear()
    told = Undelivered("sms", CONTACT, "9555", "[syncd] Not delivered")
    decide(there, TOPOLOGY, incoming(told, account="@syncd", event_id="e2"))
    assert [duty.target for duty in there.duties] == [desk_target(NUMBER)]


def in_the_group_chat(there: Picture, **changes: Any) -> Outcome:
    """What becomes of a message that names the number, and its author by `userid`."""
    fact = user_said(**{"extension": NUMBER, "userid": "u9555", "sessionid": "g1"} | changes)
    return decide(there, TOPOLOGY, incoming(fact, account="office"))


def test_where_the_number_stands_for_the_author_the_directory_tells_who_it_was() -> None:
    for named in (NUMBER, None):
        there = picture()
        open_session(there, "g1", extension=NUMBER)
        there.users["office", ORGANIZATION, "u9555"] = "9555"
        assert in_the_group_chat(there, extension=named).state == "done"
        assert {duty.target for duty in there.duties} == {CHANNEL, desk_target("9003")}
        assert {duty.author_extension for duty in there.duties} == {"9555"}
        assert [(copy.extension, copy.sessionid) for copy in there.new_copies] == [(NUMBER, "g1")]


def test_of_whom_the_directory_does_not_have_the_number_stays_the_author() -> None:
    for named, userid in ((NUMBER, "u9555"), (NUMBER, None), (None, "u9555")):
        there = picture()
        open_session(there, "g1", extension=NUMBER)
        there.users["office", "another organization", "u9555"] = "9555"
        assert in_the_group_chat(there, extension=named, userid=userid).state == "done"
        assert {duty.author_extension for duty in there.duties} == {NUMBER}


def test_a_new_group_chat_is_the_numbers() -> None:
    there = picture()
    there.users["office", ORGANIZATION, "u9555"] = "9555"
    in_the_group_chat(there, sessionid="new")
    assert [(copy.extension, copy.sessionid) for copy in there.new_copies] == [(NUMBER, "new")]
    assert {duty.author_extension for duty in there.duties} == {"9555"}


def test_an_author_with_links_of_his_own_writes_on_the_links_of_the_group_chat() -> None:
    topology = Topology((link("solo", "bird", "9555"), link("sms", "bird", NUMBER, "9003", position=1)))
    for named in (NUMBER, "9555"):
        there = picture()
        open_session(there, "g1", extension=NUMBER)
        there.users["office", ORGANIZATION, "u9555"] = "9555"
        fact = user_said(extension=named, userid="u9555", sessionid="g1")
        decide(there, topology, incoming(fact, account="office"))
        assert {duty.link for duty in there.duties} == {"sms"}
        assert {duty.target for duty in there.duties} == {CHANNEL, desk_target("9003")}


def test_a_number_on_no_link_is_only_what_a_user_writes_from() -> None:
    topology = Topology((link("solo", "bird", "9555", "9003"),))
    there = picture()
    there.users["office", ORGANIZATION, "u9555"] = "9555"
    fact = user_said(extension=NUMBER, userid="u9555", sessionid="s9")
    assert decide(there, topology, incoming(fact, account="office")).state == "done"
    assert [(copy.extension, copy.sessionid) for copy in there.new_copies] == [("9555", "s9")]
    assert {duty.target for duty in there.duties} == {CHANNEL, desk_target("9003")}
