"""The sample files are what they are said to be, and always the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.files import SAMPLES, STICKER, Big, Sample, big, kept


@pytest.mark.parametrize("sample", [*SAMPLES, big(0), big(5), big(200_000)], ids=lambda sample: sample.name)
async def test_a_kept_file_is_the_sample_however_often_it_is_lent(sample: Sample | Big, tmp_path: Path) -> None:
    file = kept(sample, tmp_path)
    whole = b"".join(sample.chunks())
    assert (file.size, file.kind, file.content_type) == (len(whole), sample.kind, sample.content_type)
    for _ in range(2):
        async with file.lend() as content:
            assert content.read() == whole


def test_they_never_change() -> None:
    hashes = [sample.sha256[:8] for sample in (*SAMPLES, big(200_000), big(200_000, 1))]
    assert hashes == ["9ba3d638", "eabd11d3", "8a7375a0", "a9af7f20", "b2a4bb52", "4028af37", "fd85a3e9", "8f0e6f48"]


def test_a_sticker_is_as_small_as_whatsapp_wants() -> None:
    assert STICKER.size < 100_000
