"""What a user is told of a message that did not arrive: plain words, marked, and no more of the message than needed."""

from __future__ import annotations

import pytest

from syncd.model import notice, retry
from syncd.model.notice import in_doubt, undelivered
from syncd.model.retry import verdict
from syncd.model.sending import Gone, NotSent, Rejected
from tests.model.samples import NOW


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("hello", "“hello”"),
        ("  two\nlines\tand \u2028 more ", "“two lines and more”"),
        ("x" * 60, f"“{'x' * 60}”"),
        ("x" * 61, f"“{'x' * 59}…”"),
        (f"{'x' * 58} {'y' * 9}", f"“{'x' * 58}…”"),
        ("", "“”"),
        ("\u202eolleh", "“\u202eolleh”"),
    ],
)
def test_the_first_words_are_quoted_on_one_line(text: str, quoted: str) -> None:
    assert undelivered(text, "refused") == f"[syncd] Not delivered: {quoted} (the service refused it)"
    assert in_doubt(text).startswith(f"[syncd] It is not certain that this was delivered: {quoted}. ")
    assert undelivered(text, "").startswith(notice.MARK)


def test_the_reason_is_in_the_users_words() -> None:
    """G12: what a platform answered is for operators, and never for the chat."""
    too_old = retry.too_old(NOW - retry.GIVE_UP_AFTER, NOW, retry.SETTLE)
    assert too_old is not None
    tries, waited = retry.MOST_ATTEMPTS, retry.GIVE_UP_AFTER
    reasons = {
        too_old.why: "it waited too long",
        verdict(NotSent("refused"), attempts=tries, waited=waited, draw=lambda: 0.0).why: (
            "the service could not be reached"
        ),
        verdict(Rejected("HTTP 422 key sk-1"), attempts=1, waited=waited, draw=lambda: 0.0).why: (
            "the service refused it"
        ),
        verdict(Gone("no such channel"), attempts=1, waited=waited, draw=lambda: 0.0).why: "the service refused it",
        verdict(NotSent("HTTP 500", tries=3), attempts=3, waited=waited, draw=lambda: 0.0).why: (
            "the service refused it"
        ),
        "its link is not configured any more": "the number is not connected any more",
    }
    for reason, words in reasons.items():
        assert undelivered("hello", reason) == f"[syncd] Not delivered: “hello” ({words})"
