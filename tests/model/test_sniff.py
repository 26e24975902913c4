"""What a file is, whatever it is said to be."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncd.model.sniff import HEAD, UNKNOWN, content_type
from tests.support.files import SAMPLES, Sample, big

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>"


def packed() -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as file:
        file.writestr("[Content_Types].xml", "<Types/>")
    return body.getvalue()


ZIP = packed()
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.mark.parametrize("declared", [None, "", "text/html", "image/svg+xml", "audio/amr", "application/octet-stream"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_bytes_are_believed(sample: Sample, declared: str | None) -> None:
    for name in (None, sample.name, "page.html", "dot.svg", "x"):
        assert content_type(sample.content[:HEAD], declared, name) == sample.content_type


@pytest.mark.parametrize(
    ("head", "is_"),
    [
        (b"GIF89a....", "image/gif"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
        (b"RIFF\x24\0\0\0AVI LIST", UNKNOWN),
        (b"ID3\x04\0", "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "audio/mpeg"),
        (b"\xff\xfb\xf0\x64", UNKNOWN),
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"#!AMR\n", "audio/amr"),
        (b"\0\0\0\x18ftyp3gp4", "video/3gpp"),
        (b"\0\0\0\x18ftypM4A ", "audio/mp4"),
        (b"\0\0\0\x18ftypqt  ", "video/quicktime"),
        (b"\0\0\0\x18ftypheic", "image/heic"),
        (b"\0\0\0\x18ftypavif", "image/avif"),
        (b"\0\0\0\x18ftypmp42", "video/mp4"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "video/quicktime"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x88matroska", "video/x-matroska"),
        (b"OggS" + b"\0" * 24 + b"\x80theora", "video/ogg"),
        (b"\n%PDF-1.7", "application/pdf"),
        (b"%PD", UNKNOWN),
        (ZIP, "application/zip"),
        (OLE, "application/x-ole-storage"),
        (b"", UNKNOWN),
        (b"hello", UNKNOWN),
    ],
)
def test_common_types_by_their_first_bytes(head: bytes, is_: str) -> None:
    assert content_type(head, None, None) == is_


@pytest.mark.parametrize(
    ("head", "declared", "name", "is_"),
    [
        # What the bytes leave open.
        (ZIP, None, "Report.DOCX", DOCX),
        (ZIP, XLSX, "x.docx", XLSX),
        (ZIP, "application/pdf", None, "application/zip"),
        (OLE, None, "old.doc", "application/msword"),
        (b"\0\0\0\x18ftypmp42", "audio/mp4; codecs=mp4a", None, "audio/mp4"),
        (b"\0\0\0\x18ftypmp42", None, "talk.m4a", "audio/mp4"),
        (b"\0\0\0\x18ftyp3gp4", "audio/3gpp", None, "audio/3gpp"),
        (b"\x1a\x45\xdf\xa3....webm", "audio/webm", None, "audio/webm"),
        # No bytes that tell: what was declared, else the ending.
        (b"hello", "Text/Plain; charset=utf-8", None, "text/plain"),
        (b"hello", "text/x-log", "a.csv", "text/x-log"),
        (b"hello", "application/octet-stream", "a.csv", "text/csv"),
        (b"hello", "binary/octet-stream", "a", UNKNOWN),
        (b"hello", "application/force-download", "notes.txt", "text/plain"),
        (b"hello", "nonsense", "notes.txt", "text/plain"),
        (b"hello", "a/b\r\nX: y", None, UNKNOWN),
        (b"BEGIN:VCARD", None, "ann.vcf", "text/vcard"),
        (b"\0\0\0\0", "audio/mp3", None, "audio/mpeg"),
        (b"\xff\xd8\xff", "image/jpg", None, "image/jpeg"),
        # Lies.
        (HTML, "image/png", "photo.png", UNKNOWN),
        (b"\xef\xbb\xbf \n" + HTML, "application/pdf", None, UNKNOWN),
        (HTML.decode().encode("utf-16"), "text/plain", None, UNKNOWN),
        (b"<svg onload=alert(1)>", "text/plain", "a.txt", UNKNOWN),
        (b"<?xml version='1.0'?><x/>", "application/xml", None, UNKNOWN),
        (HTML, "text/html", "page.html", UNKNOWN),
        (b"alert(1)", "image/gif", "a.gif", UNKNOWN),
        (b"alert(1)", "text/javascript", None, UNKNOWN),
        (b"alert(1)", "image/svg+xml", "a.svg", UNKNOWN),
        (b"hello", "text/html", "notes.txt", "text/plain"),
        (b"not packed", DOCX, "a.docx", UNKNOWN),
    ],
)
def test_what_was_declared_and_the_name(head: bytes, declared: str | None, name: str | None, is_: str) -> None:
    assert content_type(head, declared, name) == is_


def test_a_part_of_a_large_file_is_enough() -> None:
    head = next(big(1_000_000).chunks())
    assert content_type(head, "image/png", "x.png") == "application/pdf"


@given(
    st.binary(max_size=40) | st.just(HTML),
    st.none() | st.text(max_size=30) | st.sampled_from(["text/html", "image/svg+xml", "application/xhtml+xml"]),
    st.none() | st.text(max_size=30) | st.sampled_from(["a.html", "a.svg", "a.js"]),
)
@example(b"", "TEXT/HTML;", "a.html.")
def test_nothing_that_a_browser_would_run_and_never_an_odd_header(
    head: bytes, declared: str | None, name: str | None
) -> None:
    told = content_type(head, declared, name)
    assert told.isascii() and told.isprintable() and " " not in told and told.count("/") == 1
    assert not any(word in told for word in ("html", "svg", "script", "+xml", "/xml"))
