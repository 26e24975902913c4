"""Files sent to the simulated iSlash over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from aiohttp import BodyPartReader, web

from syncd.engine.platform import Platform
from syncd.model.files import FileKind
from syncd.model.sending import MaybeSent, NotSent, Rejected
from syncd.platforms.http import Http, client_session
from syncd.platforms.islash import plugin
from syncd.simulators.base import Fault
from syncd.simulators.islash import ISlashSimulator, ParamStyle
from syncd.simulators.islash_media import SentFile
from tests.platforms.islash.harness import SECRETS, SESSION, TOKEN, outgoing, setup
from tests.support.files import JPEG, PDF, PNG, SAMPLES, Big, Sample, big, kept

CUSTOMER = "85200000001"


class Line:
    """The platform under test, with its simulator at the other end."""

    def __init__(self, simulator: ISlashSimulator, platform: Platform, folder: Path) -> None:
        self.simulator = simulator
        self.platform = platform
        self.folder = folder

    async def send(self, sample: Sample | Big, caption: str = "", **others: Any) -> Any:
        return await self.platform.send(outgoing(caption, file=kept(sample, self.folder), **others))

    def got(self) -> list[tuple[str, SentFile | None]]:
        return [(message.text, message.file) for message in self.simulator.sent(SESSION, CUSTOMER)]


@pytest.fixture(params=["form", "query"])
async def line(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Line]:
    style: ParamStyle = request.param
    sessions = {SESSION: "whatsapp"}
    async with ISlashSimulator(token=TOKEN, sessions=sessions) as simulator, client_session() as session:
        simulator.param_style = style
        # Less than any file's send has.
        platform = plugin.build(setup(simulator.url, param_style=style), Http(session, timeout=0.4))
        yield Line(simulator, platform, tmp_path)


@pytest.mark.parametrize(
    "sample", [*SAMPLES, big(0), big(3_000_000)], ids=lambda sample: f"{sample.name}-{sample.size}"
)
async def test_a_file_arrives_whole_with_its_name_and_type(line: Line, sample: Sample | Big) -> None:
    sent = await line.send(sample)
    ((caption, file),) = line.got()
    assert file is not None and sent.messageid in line.simulator.messages
    assert (caption, file.name, file.content_type) == ("", sample.name, sample.content_type)
    assert (file.size, file.sha256) == (sample.size, sample.sha256)


async def test_captions_and_order(line: Line) -> None:
    await line.send(PNG, "look: \0 你好 \ud83d")
    await line.platform.send(outgoing("only text"))
    await line.send(JPEG)
    told = [(text, file.name if file else None) for text, file in line.got()]
    assert told == [("look: \0 你好 \ufffd", "dot.png"), ("only text", None), ("", "photo.jpg")]


@pytest.mark.parametrize("name", ["报告 2.pdf", 'a "b" c.pdf', "100% ä\U0001f600;x=y.pdf", "semi;colon.pdf", "a'b.pdf"])
async def test_the_name_arrives_as_it_is(line: Line, name: str) -> None:
    await line.platform.send(outgoing("", file=kept(PDF, line.folder, name=name)))
    ((_, file),) = line.got()
    assert file is not None and file.name == name


async def test_the_parts_and_their_order(tmp_path: Path) -> None:
    """One multipart body, the file last, no empty text, the length told (§3)."""
    seen: list[tuple[list[Any], dict[str, str], Any]] = []

    async def take(request: web.Request) -> web.Response:
        parts = []
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            parts.append((part.name, part.headers.get("Content-Type"), bytes(await part.read())))
        seen.append((parts, dict(request.query), request.content_length))
        return web.json_response({"meta": {"code": "RESP_OKAY"}, "data": {"message": {"sid": "s"}}})

    app = web.Application()
    app.router.add_post("/api/public/send-session-message", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with client_session() as session:
            for style in ("form", "query"):
                platform = plugin.build(setup(url, param_style=style), Http(session))
                for caption in ("look", ""):
                    await platform.send(outgoing(caption, file=kept(PNG, tmp_path)))
    finally:
        await runner.cleanup()
    file = ("file", "image/png", PNG.content)
    texts = [[(name, content.decode()) for name, _, content in parts[:-1]] for parts, _, _ in seen]
    named = [("session", SESSION), ("identity", CUSTOMER)]
    assert [parts[-1] for parts, _, _ in seen] == [file] * 4
    assert texts == [[*named, ("text", "look")], named, [], []]
    assert [query for _, query, _ in seen] == [{}, {}, {**dict(named), "text": "look"}, dict(named)]
    assert all(length for _, _, length in seen)


async def test_a_slow_upload_has_time(line: Line) -> None:
    line.simulator.latency = 0.8
    await line.send(PNG)
    assert len(line.got()) == 1
    with pytest.raises(MaybeSent):
        await line.platform.send(outgoing("a text has no more time than it had"))


async def test_a_refused_file_is_refused_for_good(line: Line) -> None:
    line.simulator.faults.append(Fault("status", status=413, body=b"too large"))
    with pytest.raises(Rejected) as error:
        await line.send(big(2_000_000))
    assert error.value.http_status == 413
    assert not any(hidden in str(vars(error.value)) for hidden in SECRETS)


@pytest.mark.parametrize("kind", ["lost", "hangup"])
async def test_no_answer_to_an_upload_is_a_doubt_and_it_is_not_repeated(line: Line, kind: str) -> None:
    """G3: out once."""
    line.simulator.faults.append(Fault(kind))
    with pytest.raises(MaybeSent):
        await line.send(PNG)
    assert len(line.simulator.calls_of("send")) == 1
    assert len(line.got()) == (1 if kind == "lost" else 0)


async def test_a_file_that_cannot_be_opened_was_not_sent(line: Line) -> None:
    @asynccontextmanager
    async def lend() -> AsyncIterator[BinaryIO]:
        with (line.folder / "gone").open("rb") as file:
            yield file

    with pytest.raises(NotSent) as error:
        await line.platform.send(outgoing("", file=replace(kept(PNG, line.folder), lend=lend)))
    assert line.simulator.calls == [] and str(line.folder) not in error.value.reason


async def test_nobody_listens_for_a_file(line: Line) -> None:
    await line.simulator.stop()
    with pytest.raises(NotSent):
        await line.send(PNG)


def test_what_can_be_sent() -> None:
    able = plugin.capabilities
    for sample in SAMPLES:
        assert sample.content_type in able.types[sample.kind] and sample.size < able.files[sample.kind]
    assert able.files[FileKind.IMAGE] == 5_000_000 and able.files[FileKind.STICKER] == 100_000
    assert set(able.files) == set(able.types) == set(FileKind)
    assert able.captions == {FileKind.IMAGE, FileKind.VIDEO, FileKind.FILE} and able.max_caption == 1024
    assert not (able.quotes or able.edits or able.deletes or able.receipts)
