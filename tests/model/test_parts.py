"""A message in pieces that its target takes: nothing lost, nothing too long, nothing cut within a character."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from syncd.model.capabilities import Capabilities
from syncd.model.files import FileKind
from syncd.model.parts import KeptFile, Piece, in_words, pieces, quote_of, refusal, split, with_quote

FAMILY = "👨\u200d👩\u200d👧\u200d👦"
FLAG = "🇩🇪"
ABLE = Capabilities(
    "channel",
    1.0,
    40,
    files={FileKind.IMAGE: 5_000_000, FileKind.FILE: 20_000_000},
    types={FileKind.IMAGE: ("image/jpeg", "image/png"), FileKind.FILE: ("text/", "application/pdf")},
    captions=frozenset({FileKind.IMAGE}),
    max_caption=20,
)
PHOTO = KeptFile(0, FileKind.IMAGE, "photo.jpg", "image/jpeg", 1_234_567, "kept", "", "token", "hash")

WORDS = st.text(alphabet=st.sampled_from("ab é\n\t😀" + "\u0301"), max_size=300)
ONE_WORD = st.lists(st.sampled_from(["a", "é", "e\u0301", FAMILY, FLAG, "👍🏽", "한", "각"]), max_size=60).map("".join)


def without_space(text: str) -> str:
    return "".join(text.split())


@given(WORDS, st.integers(1, 50))
@example("a" * 100, 1)
@example("one two three", 3)
@example("a\r\nb", 2)
@example(FAMILY, 3)
def test_the_chunks_are_the_text_up_to_white_space_and_none_is_too_long(text: str, limit: int) -> None:
    chunks = split(text, limit)
    assert chunks
    assert without_space("".join(chunks)) == without_space(text)
    assert all(len(chunk) <= limit for chunk in chunks)


@given(WORDS, st.integers(1, 50))
def test_what_fits_is_left_as_it_is(text: str, more: int) -> None:
    assert split(text, len(text) + more) == split(text, len(text) or 1) == [text]


@given(ONE_WORD, st.integers(11, 40))
def test_no_chunk_ends_within_what_people_see_as_one_character(text: str, limit: int) -> None:
    boundaries = {0} | {found.end() for found in regex.finditer(r"\X", text)}
    end = 0
    for chunk in split(text, limit):
        end += len(chunk)
        assert end in boundaries
    assert end == len(text)


@pytest.mark.parametrize(
    ("text", "limit", "chunks"),
    [
        ("", 5, [""]),
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 8, ["one two", "three"]),
        ("first line\nsecond line", 15, ["first line", "second line"]),
        ("a\nb c d e f", 9, ["a\nb c d e", "f"]),
        ("a" * 10, 4, ["aaaa", "aaaa", "aa"]),
        ("aaaa   bbbb", 5, ["aaaa", "bbbb"]),
        (FAMILY * 3, 15, [FAMILY * 2, FAMILY]),
        ("word " + "x" * 300, 250, ["word " + "x" * 245, "x" * 55]),
    ],
    ids=[
        "nothing", "words", "a word more would not fit", "lines", "a short line is no place", "one endless word",
        "much space", "families", "a word far back is no place",
    ],
)  # fmt: skip
def test_where_a_text_is_split(text: str, limit: int, chunks: list[str]) -> None:
    assert split(text, limit) == chunks


@pytest.mark.parametrize("unit", [FAMILY, FLAG, "e\u0301", "한"], ids=["family", "flag", "accent", "Hangul"])
@pytest.mark.parametrize("offset", range(8))
def test_an_endless_word_far_past_the_beginning(unit: str, offset: int) -> None:
    text = "a" * offset + unit * 1000
    chunks = split(text, 1600)
    assert "".join(chunks) == text
    assert all(chunk.lstrip("a").replace(unit, "") == "" for chunk in chunks)


@pytest.mark.parametrize("text", [" " * 50 + "word", "\n" * 50 + "word"], ids=["spaces", "lines"])
def test_no_chunk_is_empty(text: str) -> None:
    assert split(text, 20) == ["word"]


def test_no_chunk_begins_with_an_accent() -> None:
    assert not split("word" * 4 + " \u0301" + "word" * 4, 20)[1].startswith("\u0301")


@pytest.mark.parametrize("unit", ["word ", "x", "\n", "x\n", FAMILY], ids=["words", "x", "lines", "pairs", "families"])
def test_a_megabyte_is_split_in_linear_time(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    began = time.process_time()
    assert len(split(text, 1600)) >= 1
    # Measured: 0.02 to 0.2 s; what is not linear takes minutes.
    assert time.process_time() - began < 3.0


def test_a_message_without_files_is_its_text() -> None:
    assert pieces("hello", (), ABLE) == (Piece("hello"),)
    assert pieces("", (), ABLE) == (Piece(""),)
    assert pieces("a" * 41, (), ABLE) == (Piece("a" * 40), Piece("a"))


def test_a_short_text_is_the_first_files_caption() -> None:
    assert pieces("a" * 20, (FileKind.IMAGE, FileKind.FILE), ABLE) == (Piece("a" * 20, 0), Piece("", 1))
    assert pieces("", (FileKind.IMAGE,), ABLE) == (Piece("", 0),)


@pytest.mark.parametrize(
    ("text", "kinds", "texts"),
    [
        ("a" * 21, (FileKind.IMAGE,), ["a" * 21]),
        ("a" * 50, (FileKind.IMAGE,), ["a" * 40, "a" * 10]),
        ("hello", (FileKind.FILE, FileKind.IMAGE), ["hello"]),
        ("", (FileKind.FILE,), []),
    ],
    ids=["too long for a caption", "too long for one text", "no captions there", "no text"],
)
def test_else_the_text_comes_before_the_files(text: str, kinds: tuple[FileKind, ...], texts: list[str]) -> None:
    wanted = [*map(Piece, texts), *(Piece("", place) for place in range(len(kinds)))]
    assert list(pieces(text, kinds, ABLE)) == wanted


@given(WORDS, st.lists(st.sampled_from(FileKind), max_size=4))
def test_there_is_always_a_piece_and_every_file_has_one(text: str, kinds: list[FileKind]) -> None:
    found = pieces(text, kinds, ABLE)
    assert found
    assert [piece.file for piece in found if piece.file is not None] == list(range(len(kinds)))
    assert without_space("".join(piece.text for piece in found)) == without_space(text)
    assert all(len(piece.text) <= (ABLE.max_text if piece.file is None else ABLE.max_caption) for piece in found)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"size": None}, ""),
        ({"size": 5_000_000}, ""),
        ({"size": 5_000_001}, "larger than 5 MB"),
        ({"state": "missing", "reason": "gone"}, "gone"),
        ({"state": "missing"}, "not available"),
        ({"state": "wanted"}, "not available"),
        ({"kind": FileKind.STICKER}, "cannot be shown there"),
        ({"content_type": "image/gif"}, "cannot be shown there"),
        ({"content_type": "image/jpegs"}, "cannot be shown there"),
        ({"content_type": None}, "cannot be shown there"),
        ({"kind": FileKind.FILE, "content_type": "text/csv"}, ""),
        ({"kind": FileKind.FILE, "content_type": "application/pdf"}, ""),
        ({"kind": FileKind.FILE, "content_type": "application/zip"}, "cannot be shown there"),
    ],
)
def test_why_a_file_cannot_be_sent(changes: dict[str, object], reason: str) -> None:
    assert refusal(replace(PHOTO, **changes), ABLE) == reason  # type: ignore[arg-type]


def test_where_no_types_are_named_all_are_taken() -> None:
    assert refusal(replace(PHOTO, content_type=None), replace(ABLE, types={})) == ""


@pytest.mark.parametrize(
    ("changes", "caption", "line"),
    [
        ({}, "", "[image photo.jpg, 1.2 MB: gone]"),
        ({}, "look", "[image photo.jpg, 1.2 MB: gone]\nlook"),
        ({"name": ""}, "", "[image, 1.2 MB: gone]"),
        ({"size": None}, "", "[image photo.jpg: gone]"),
        ({"name": "", "size": None}, "", "[image: gone]"),
        ({"size": 0}, "", "[image photo.jpg, 0 B: gone]"),
        ({"size": 999}, "", "[image photo.jpg, 999 B: gone]"),
        ({"size": 1000}, "", "[image photo.jpg, 1 kB: gone]"),
        ({"size": 2_000_000}, "", "[image photo.jpg, 2 MB: gone]"),
        ({"kind": FileKind.VOICE, "size": 20_480}, "", "[voice photo.jpg, 20 kB: gone]"),
    ],
)
def test_the_line_that_stands_for_a_file(changes: dict[str, object], caption: str, line: str) -> None:
    assert in_words(replace(PHOTO, **changes), "gone", caption) == line  # type: ignore[arg-type]


def test_just_below_a_megabyte() -> None:
    assert in_words(replace(PHOTO, size=999_999), "gone") == "[image photo.jpg, 1 MB: gone]"


def test_a_quote_is_a_line_above_the_text() -> None:
    assert with_quote("yes", "shall we?") == "> shall we?\nyes"
    assert with_quote("", "shall we?") == "> shall we?\n"
    assert with_quote("yes", "") == "yes"


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("", ""),
        (" \n ", ""),
        ("one\n two\tthree ", "one two three"),
        ("a" * 80, "a" * 80),
        ("a" * 81, "a" * 79 + "…"),
        ("a" * 78 + " bc", "a" * 78 + "…"),
        (FAMILY * 12, FAMILY * 11 + "…"),
    ],
    ids=["nothing", "space", "one line", "it fits", "too long", "no space before the dots", "families"],
)
def test_the_first_words_of_what_is_answered_to(text: str, quote: str) -> None:
    assert quote_of(text) == quote


@given(WORDS)
def test_a_quote_is_one_short_line(text: str) -> None:
    quote = quote_of(text)
    assert len(quote) <= 80
    assert "\n" not in quote
