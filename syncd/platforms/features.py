"""What is carried between platforms and how, where capabilities do not say it: docs/platforms.md is made of both.

Marks of evidence are the platforms' pages': D documented, O observed, I inferred, U unknown (Ringotel, Bird); DOC, META
(by WhatsApp or Messenger), INF, UNK (iSlash).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Grade(StrEnum):
    """How a feature fares."""

    NATIVE = "native"
    DEGRADED = "degraded"
    """It is carried as something else."""
    IMPOSSIBLE = "impossible"


class Way(StrEnum):
    """Whither something is carried."""

    TO = "towards the platform"
    FROM = "from the platform"


@dataclass(frozen=True, slots=True)
class Cell:
    """A feature at one platform, one way."""

    mark: str
    """What stands behind it on the platform's page."""
    test: str
    """`file::function` below `tests/`: what shows it."""
    how: str = ""
    """In what way, or why not."""
    grade: Grade | None = None
    """None where the capabilities tell it."""


PLATFORMS: Final = ("ringotel", "bird", "islash")
FILES: Final = ("picture", "video", "voice note", "audio", "document", "sticker")
"""The features that are kinds of files, in the order of `KINDS`."""
KINDS: Final = ("image", "video", "voice", "audio", "file", "sticker")
FEATURES: Final = (
    *("text", "long text"),
    *FILES,
    *("caption", "several files", "location", "contact card"),
    *("delivered", "read", "failure told", "edit", "deletion", "reply", "reaction", "typing", "history"),
)

# Columns of a table: the words in full would hide it.
N, G, X = Grade.NATIVE, Grade.DEGRADED, Grade.IMPOSSIBLE

_BY_BIRD = "scenarios/test_files.py::test_a_contact_sends_files_by_bird"
_BY_ISLASH = "scenarios/test_files.py::test_a_contact_sends_files_by_islash"
_BY_USER = "scenarios/test_files.py::test_a_user_sends_files"
_OF_CONTACTS = "scenarios/test_texts.py::test_texts_of_contacts"
_OF_USERS = "scenarios/test_texts.py::test_texts_of_users"
_LONG = "scenarios/test_long_texts.py::test_long_texts_are_split"
_HARD = "scenarios/test_texts.py::test_hard_texts"
_TICKS = "scenarios/test_receipts.py::test_the_author_sees_delivered_and_read"
_WHATSAPP_TICKS = "scenarios/test_receipts.py::test_statuses_of_whatsapp"
_DESK_TICKS = "scenarios/test_receipts.py::test_what_the_desk_tells_is_recorded"
_FAILURE = "scenarios/test_receipts.py::test_a_failure_that_is_told_later"
_EDIT = "scenarios/test_edits.py::test_an_edit"
_DELETION = "scenarios/test_edits.py::test_a_deletion"
_ANSWER = "scenarios/test_long_texts.py::test_an_answer_says_to_what"
_RING_FILES = "platforms/ringotel/test_files.py::test_every_kind_of_file_can_be_sent_and_none_has_a_caption"
_RING_SAMPLES = "platforms/ringotel/test_inbound.py::test_sample_gives_its_golden_facts"
_RING_FILE = "platforms/ringotel/test_inbound.py::test_a_file_is_what_its_address_says"
_RING_CALLS = "platforms/ringotel/test_changes.py::test_the_call_and_what_it_does"
_BIRD_SENDS = "platforms/bird/test_uploads.py::test_every_kind_arrives_whole"
_BIRD_CAN = "platforms/bird/test_uploads.py::test_what_bird_takes"
_BIRD_SAMPLES = "platforms/bird/test_inbound.py::test_payloads_mean_what_their_goldens_say"
_BIRD_FETCHED = "platforms/bird/test_media.py::test_what_contacts_send_can_be_fetched"
_ISLASH_SENDS = "platforms/islash/test_uploads.py::test_a_file_arrives_whole_with_its_name_and_type"
_ISLASH_CAN = "platforms/islash/test_uploads.py::test_what_can_be_sent"
_ISLASH_SAMPLES = "platforms/islash/test_inbound.py::test_fixture_gives_its_golden"
_ISLASH_KINDS = "platforms/islash/test_media.py::test_what_a_file_of_whatsapp_is"

_AS_FILE = "as a file"
_NO_DESK_WORD = "the desk's users have nothing of the kind to send"
_NO_CALL = "no call for it"
_NO_ADDRESS = "a file where an address comes with it, or `media_url_template` says one; else a line"
_NO_EVENT = "nothing tells of it"

TOWARDS: Final[Mapping[str, tuple[Cell, Cell, Cell]]] = {
    "text": (Cell("D", _OF_CONTACTS, grade=N), Cell("D", _OF_USERS, grade=N), Cell("DOC", _OF_USERS, grade=N)),
    "long text": (Cell("U", _LONG), Cell("U", _LONG), Cell("UNK", _HARD)),
    "picture": (Cell("D", _BY_BIRD), Cell("D", _BIRD_SENDS), Cell("DOC", _BY_USER)),
    "video": (Cell("D", _BY_BIRD, _AS_FILE), Cell("D", _BIRD_SENDS, _AS_FILE), Cell("DOC", _ISLASH_SENDS)),
    "voice note": (Cell("D", _BY_BIRD, _AS_FILE), Cell("D", _BIRD_SENDS, _AS_FILE), Cell("DOC", _ISLASH_SENDS)),
    "audio": (Cell("D", _RING_FILES, _AS_FILE), Cell("D", _BIRD_CAN, _AS_FILE), Cell("DOC", _ISLASH_CAN)),
    "document": (Cell("D", _BY_BIRD), Cell("D", _BY_USER), Cell("DOC", _ISLASH_SENDS)),
    "sticker": (Cell("D", _BY_BIRD, _AS_FILE), Cell("D", _BIRD_SENDS, _AS_FILE), Cell("DOC", _ISLASH_SENDS)),
    "caption": (
        Cell("O", _BY_BIRD, "a message of its own, before the file"),
        Cell("D", _BIRD_SENDS),
        Cell("DOC", "platforms/islash/test_uploads.py::test_captions_and_order"),
    ),
    "several files": (
        Cell("O", _BY_BIRD, "one message each", G),
        Cell("D", _BIRD_SENDS, "one message each", G),
        Cell("INF", _ISLASH_SENDS, "one message each", G),
    ),
    "location": (
        Cell("I", _BIRD_SAMPLES, "words: `[location 52.36,4.86 Name]`", G),
        Cell("I", _RING_SAMPLES, _NO_DESK_WORD, X),
        Cell("INF", _RING_SAMPLES, _NO_DESK_WORD, X),
    ),
    "contact card": (
        Cell("I", "platforms/islash/test_media.py::test_a_card_names_its_numbers", "words: `[contact: Name +1…]`", G),
        Cell("I", _RING_SAMPLES, _NO_DESK_WORD, X),
        Cell("INF", _RING_SAMPLES, _NO_DESK_WORD, X),
    ),
    "delivered": (
        Cell("D", _TICKS, "in the author's chat"),
        Cell("U", _DESK_TICKS, _NO_CALL),
        Cell("INF", _ISLASH_CAN, _NO_CALL),
    ),
    "read": (
        Cell("D", _TICKS, "in the author's chat, all of it until then"),
        Cell("U", _DESK_TICKS, _NO_CALL),
        Cell("INF", _ISLASH_CAN, _NO_CALL),
    ),
    "failure told": (
        Cell("U", _FAILURE, "a message to its author: `[syncd] Not delivered: …`", G),
        Cell("U", _FAILURE, "a contact is told nothing; `syncd dead list` has it", X),
        Cell("UNK", _FAILURE, "a contact is told nothing; `syncd dead list` has it", X),
    ),
    "edit": (
        Cell("D", _EDIT, "in the colleagues' chats"),
        Cell("I", _EDIT, "a message more: `Edited: …`, as `links.*.edits` says"),
        Cell("INF", _ISLASH_CAN, "a message more: `Edited: …`, as `links.*.edits` says"),
    ),
    "deletion": (
        Cell("D", _DELETION, "in the colleagues' chats"),
        Cell("I", _DELETION, "no call for it; what has not been sent yet is not sent"),
        Cell("INF", _ISLASH_CAN, "no call for it; what has not been sent yet is not sent"),
    ),
    "reply": (
        Cell("I", _ANSWER, "a line `> …` above the text", G),
        Cell("I", _RING_SAMPLES, "the desk tells of no replies", X),
        Cell("INF", _RING_SAMPLES, "the desk tells of no replies", X),
    ),
    "reaction": (
        Cell("I", "platforms/bird/test_media.py::test_interactions_have_a_phrase_each", _NO_CALL, X),
        Cell("I", _RING_SAMPLES, _NO_CALL, X),
        Cell("INF", _ISLASH_CAN, _NO_CALL, X),
    ),
    "typing": (
        Cell("D", _BIRD_SAMPLES, "no channel tells of it", X),
        Cell("U", _RING_SAMPLES, _NO_CALL, X),
        Cell("INF", _RING_SAMPLES, _NO_CALL, X),
    ),
    "history": (
        Cell(
            "D",
            "platforms/ringotel/test_client.py::test_history_of_a_contact_stands_where_it_was_said_and_notifies_nobody",
            "by `syncd resync`, with its times, read already",
            N,
        ),
        Cell("U", _BIRD_CAN, "nothing can be said at an earlier time", X),
        Cell("UNK", _ISLASH_CAN, "nothing can be said at an earlier time", X),
    ),
}
"""Cells in the order of `PLATFORMS`."""

FROM: Final[Mapping[str, tuple[Cell, Cell, Cell]]] = {
    "text": (Cell("D", _OF_USERS, grade=N), Cell("D", _OF_CONTACTS, grade=N), Cell("DOC", _OF_CONTACTS, grade=N)),
    "long text": (Cell("U", _LONG, "whole", N), Cell("U", _LONG, "whole", N), Cell("UNK", _HARD, "whole", N)),
    "picture": (
        Cell("O", _BY_USER, grade=N),
        Cell("D", _BY_BIRD, grade=N),
        Cell("DOC", _BY_ISLASH, _NO_ADDRESS, G),
    ),
    "video": (
        Cell("O", _RING_FILE, grade=N),
        Cell("D", _BY_BIRD, grade=N),
        Cell("META", _ISLASH_KINDS, _NO_ADDRESS, G),
    ),
    "voice note": (
        Cell("O", _RING_FILE, "as the audio file that it is", G),
        Cell("D", _BY_BIRD, "by its type, `audio/ogg`", N),
        Cell("META", _ISLASH_KINDS, _NO_ADDRESS, G),
    ),
    "audio": (
        Cell("O", _RING_FILE, grade=N),
        Cell("D", _BIRD_FETCHED, grade=N),
        Cell("META", _ISLASH_KINDS, _NO_ADDRESS, G),
    ),
    "document": (
        Cell("O", _BY_USER, grade=N),
        Cell("D", _BY_BIRD, grade=N),
        Cell("META", _ISLASH_KINDS, _NO_ADDRESS, G),
    ),
    "sticker": (
        Cell("O", _RING_FILE, "as the picture that it is", G),
        Cell("D", _BY_BIRD, "by its type, `image/webp`", N),
        Cell("META", _ISLASH_KINDS, _NO_ADDRESS, G),
    ),
    "caption": (
        Cell("D", _RING_FILE, "a file has no text with it", X),
        Cell("I", _BY_BIRD, grade=N),
        Cell("META", _BY_ISLASH, grade=N),
    ),
    "several files": (
        Cell("D", _BY_USER, "one message each", G),
        Cell("D", _BY_BIRD, "at most 100 in one message", N),
        Cell(
            "META",
            "platforms/islash/test_media.py::test_files_of_messenger",
            "on Messenger; WhatsApp: one message each",
            N,
        ),
    ),
    "location": (
        Cell("U", _RING_SAMPLES, "a type that nobody documented: `[unsupported message type N]`", X),
        Cell("D", _BIRD_SAMPLES, "words", G),
        Cell("META", _ISLASH_SAMPLES, "words", G),
    ),
    "contact card": (
        Cell("U", _RING_SAMPLES, "a type that nobody documented: `[unsupported message type N]`", X),
        Cell("D", _BIRD_SAMPLES, "Bird hands on no cards: its word for what came, in brackets", X),
        Cell("META", "platforms/islash/test_media.py::test_a_card_names_its_numbers", "words", G),
    ),
    "delivered": (
        Cell("I", _DESK_TICKS, "recorded in `mapping`", N),
        Cell("D", _TICKS, grade=N),
        Cell("DOC", _WHATSAPP_TICKS, grade=N),
    ),
    "read": (
        Cell("D", _DESK_TICKS, "recorded in `mapping`", N),
        Cell("D", _TICKS, "where the channel has it", N),
        Cell("DOC", _WHATSAPP_TICKS, "where the contact allows it", N),
    ),
    "failure told": (
        Cell("U", _RING_SAMPLES, _NO_EVENT, X),
        Cell("D", _FAILURE, grade=N),
        Cell("META", _ISLASH_SAMPLES, grade=N),
    ),
    "edit": (
        Cell("D", _EDIT, grade=N),
        Cell("U", _BIRD_SAMPLES, _NO_EVENT, X),
        Cell("UNK", _ISLASH_SAMPLES, _NO_EVENT, X),
    ),
    "deletion": (
        Cell("D", _DELETION, grade=N),
        Cell("I", _BIRD_SAMPLES, "recorded in `mapping`, and shown to nobody", G),
        Cell("META", _ISLASH_SAMPLES, "recorded in `mapping`, and shown to nobody", G),
    ),
    "reply": (
        Cell("I", _RING_SAMPLES, _NO_EVENT, X),
        Cell("D", _ANSWER, grade=N),
        Cell("META", "platforms/islash/test_media.py::test_an_answer_names_what_it_answers_to", grade=N),
    ),
    "reaction": (
        Cell("I", _RING_SAMPLES, _NO_EVENT, X),
        Cell(
            "D", "platforms/bird/test_media.py::test_interactions_have_a_phrase_each", "ignored: the desk has none", X
        ),
        Cell("META", _ISLASH_SAMPLES, "ignored: the desk has none", X),
    ),
    "typing": (
        Cell("D", _RING_SAMPLES, "ignored: no channel has a call for it", X),
        Cell("U", _BIRD_SAMPLES, _NO_EVENT, X),
        Cell("UNK", _ISLASH_SAMPLES, _NO_EVENT, X),
    ),
    "history": (
        Cell("D", "scenarios/test_receipts.py::test_a_status_that_comes_before_the_answer", "no call lists messages"),
        Cell(
            "D",
            "platforms/bird/test_history.py::test_everybody_is_heard_on_every_page",
            "polled; whole by `syncd resync`",
        ),
        Cell("DOC", _ISLASH_CAN, "no call lists messages"),
    ),
}
"""The same for what a platform tells us."""
