"""Authors whom only a `userid` names: what the directory tells, and what waits for it."""

from __future__ import annotations

from dataclasses import replace

from syncd.model.capabilities import Capabilities
from syncd.model.decide import asked_for, decide
from syncd.model.facts import UserSaid
from syncd.model.outcome import Outcome
from syncd.model.picture import Picture
from syncd.model.topology import Topology
from syncd.model.work import CHANNEL
from tests.model.samples import ORGANIZATION, incoming, link, open_session, picture, user_said
from tests.model.samples import TOPOLOGY as WITHOUT

_SMS = link("sms", "bird", "9003", "9004")
ABLE = Capabilities("desk", 2.0, 4000, sessions=True, directory=True)
WITH = Topology((replace(_SMS, desk=replace(_SMS.desk, able=ABLE)),))
ANONYMOUS = user_said(extension=None, userid="u9003")


def tell(there: Picture, fact: UserSaid, topology: Topology = WITH) -> Outcome:
    """Decide on one event of the desk."""
    return decide(there, topology, incoming(fact, account="office"))


def test_the_directory_tells_who_wrote() -> None:
    there = picture()
    there.users["office", ORGANIZATION, "u9003"] = "9003"
    assert tell(there, ANONYMOUS).state == "done"
    assert [(message.extension, message.text) for message in there.new_messages] == [("9003", "good day")]
    assert [duty.target for duty in there.duties] == [CHANNEL, "desk:9004"]
    assert [(copy.extension, copy.sessionid) for copy in there.new_copies] == [("9003", "s1")]
    assert there.strangers == set()


def test_a_stranger_is_waited_for() -> None:
    there = picture()
    there.users["office", "another organization", "u9003"] = "9003"
    assert tell(there, ANONYMOUS) == Outcome("parked", "its author is unknown", parked_for="user:u9003")
    assert there.strangers == {("office", ORGANIZATION)}
    assert not there.duties and not there.new_messages and not there.touched_sessions


def test_a_stranger_who_writes_from_a_number_that_is_on_no_link_is_waited_for() -> None:
    there = picture()
    outcome = tell(there, replace(ANONYMOUS, extension="+442079460000"))
    assert outcome == Outcome("parked", "its author is unknown", parked_for="user:u9003")


def test_in_a_known_session_its_user_is_the_author() -> None:
    there = picture()
    open_session(there)
    assert tell(there, ANONYMOUS).state == "done"
    assert [message.extension for message in there.new_messages] == ["9003"]


def test_nobody_is_waited_for_whom_nobody_will_tell_of() -> None:
    there = picture()
    assert tell(there, ANONYMOUS, WITHOUT) == Outcome("ignored", "its author is unknown")
    assert tell(there, replace(ANONYMOUS, userid=None)) == Outcome("ignored", "its author is unknown")
    elsewhere = replace(ANONYMOUS, organization="another organization")
    assert tell(there, elsewhere) == Outcome("ignored", "no link lists this user")
    assert there.strangers == set()


def test_only_events_that_do_not_name_their_author_ask_for_it() -> None:
    assert asked_for(user_said(userid="u9003")) is None
    assert asked_for(ANONYMOUS) == asked_for(replace(ANONYMOUS, extension="+442079460000")) == "u9003"
