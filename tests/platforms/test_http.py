"""The HTTP client that platforms send with, against answers that are none; each is a doubt, and soon."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.model.sending import MaybeSent, NotSent
from syncd.platforms.http import MAX_ANSWER, MOST_INTERIM, Answer, Http, client_session
from tests.platforms.internet import Internet, Listener

OK = b"HTTP/1.1 200 OK\r\n"
SECRET = "s3cret-in-the-query"


@pytest.fixture
async def internet(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Internet]:
    made = Internet(monkeypatch)
    yield made
    await made.end()


async def serve(internet: Internet, start: bytes, more: bytes = b"") -> Listener:
    """Answers with `start`, then with `more` for as long as anybody listens."""

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while more and not writer.is_closing():
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(0)
        await writer.drain()

    return await internet.listen(write)


async def ask(server: Listener, *, seconds: float = 5.0, method: str = "POST") -> Answer:
    """One request; what is told of a failure holds nothing of the URL."""
    url, headers = f"http://127.0.0.1:{server.port}/?{SECRET}", {"X-Key": SECRET}
    async with client_session() as session:
        try:
            return await Http(session, timeout=seconds).request(method, url, headers=headers, data=b"body")
        except (MaybeSent, NotSent) as error:
            told = repr(error) + error.reason
            if SECRET in told or not error.reason.isprintable():
                pytest.fail(told)
            raise


def packed(encoding: bytes, body: bytes, *, chunked: bool) -> bytes:
    """A packed answer, in one chunk or with its length."""
    if chunked:
        head = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
        return OK + b"Content-Encoding: " + encoding + b"\r\n" + head + body + b"\r\n0\r\n\r\n"
    return OK + b"Content-Encoding: " + encoding + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


BOMBS = {
    "gzip": (b"gzip", gzip.compress(bytes(10_000_000))),
    "gzip of many members": (b"gzip", gzip.compress(bytes(1_000_000)) * 50),
    "gzip of nothing": (b"gzip", gzip.compress(b"") * 10_000),
    "deflate": (b"deflate", zlib.compress(bytes(10_000_000))),
    "in capitals": (b"GZIP", gzip.compress(bytes(10_000_000))),
}


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_packed_bomb_does_not_go_off(internet: Internet, bomb: str, chunked: bool) -> None:
    """G9: it is unpacked a buffer's worth at a time, and given up at `MAX_ANSWER`."""
    encoding, body = BOMBS[bomb]
    server = await serve(internet, packed(encoding, body, chunked=chunked))
    tracemalloc.start()
    with pytest.raises(MaybeSent):
        await ask(server)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MAX_ANSWER + 2_000_000


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
async def test_a_packed_answer_is_read(internet: Internet, encoding: bytes) -> None:
    body = b'{"result":{}}' * 20_000
    content = gzip.compress(body) if encoding == b"gzip" else zlib.compress(body)
    for chunked in (True, False):
        server = await serve(internet, packed(encoding, content, chunked=chunked))
        assert (await ask(server)).body == body


@pytest.mark.parametrize("size", [MAX_ANSWER, MAX_ANSWER + 1])
@pytest.mark.parametrize("head", ["length", "chunked", "until it closes"])
async def test_an_answer_has_a_size(internet: Internet, size: int, head: str) -> None:
    """G9: to the byte."""
    heads = {
        "length": OK + b"Content-Length: %d\r\n\r\n" % size + bytes(size),
        "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size + bytes(size) + b"\r\n0\r\n\r\n",
        "until it closes": OK + b"\r\n" + bytes(size),
    }
    server = await serve(internet, heads[head])
    if size <= MAX_ANSWER:
        assert len((await ask(server)).body) == size
    else:
        with pytest.raises(MaybeSent, match=f"longer than {MAX_ANSWER} bytes"):
            await ask(server)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (OK + b"\r\n", b"a" * 65_536),
        (OK, b"X-A: " + b"a" * 4000 + b"\r\n"),
        (OK + b"X-A: ", b"a" * 65_536),
        (OK, b"a" * 65_536),
        (b"HTTP/1.1 200 ", b"a" * 65_536),
        (b"", b"a" * 65_536),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"X: a\r\n" * 2000),
    ],
    ids=["body", "heads", "head", "name", "status", "garbage", "100", "103", "trailers"],
)
async def test_an_answer_that_never_ends(internet: Internet, start: bytes, more: bytes) -> None:
    """G9: it is a doubt as soon as it is too much, long before the time is up."""
    server = await serve(internet, start, more)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(MaybeSent):
        await ask(server, seconds=60)
    assert loop.time() - began < 10


@pytest.mark.parametrize("count", [MOST_INTERIM, MOST_INTERIM + 1])
async def test_so_many_interim_answers_and_no_more(internet: Internet, count: int) -> None:
    """G9: a few are normal, and not mistaken for the answer."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    server = await serve(
        internet, interim * (count // 2) + interim[:25] * (count % 2) + OK + b"Content-Length: 1\r\n\r\na"
    )
    if count <= MOST_INTERIM:
        assert (await ask(server)).body == b"a"
    else:
        with pytest.raises(MaybeSent, match="interim answers"):
            await ask(server)


async def test_a_connection_serves_on_after_interim_answers(internet: Internet) -> None:
    """The count is one request's, also where the connection is kept."""
    answers = 0

    async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        while True:
            await reader.readexactly(4)
            answers += 1
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 8 + OK + b"Content-Length: 1\r\n\r\na")
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")

    server = await internet.listen(write)
    async with client_session() as session:
        http = Http(session, timeout=5)
        for _ in range(3):
            answer = await http.request("POST", f"http://127.0.0.1:{server.port}/", headers={}, data=b"body")
            assert answer.body == b"a"
    assert (server.accepted, answers) == (1, 3)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_redirects_are_answers(internet: Internet, status: int, method: str) -> None:
    """G12: a request goes where the config says, and its credential with it, and nowhere else."""
    elsewhere = await internet.listen()
    location = b"Location: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % elsewhere.port
    server = await serve(internet, b"HTTP/1.1 %d x\r\n" % status + location)
    assert (await ask(server, method=method)).status == status
    assert (server.accepted, elsewhere.accepted) == (1, 0)


async def test_neither_proxies_nor_cookies(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    """G12."""
    proxy = await internet.listen()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    cookies = []

    async def answer(request: web.Request) -> web.Response:
        cookies.append(dict(request.cookies))
        response = web.Response()
        response.set_cookie("who", "us")
        return response

    internet.names.answers["platform.example"] = [["127.0.0.1"]]
    port = await internet.serve(answer)
    # Over a name: jars pass over cookies of addresses.
    async with client_session(connector=aiohttp.TCPConnector(resolver=internet.names)) as session:
        for _ in range(2):
            await Http(session).request("GET", f"http://platform.example:{port}/", headers={})
    assert (cookies, proxy.accepted) == ([{}, {}], 0)


_PIECES = st.sampled_from(
    (
        *(
            b"HTTP/1.1 ",
            b"200",
            b"100",
            b"101",
            b"302",
            b"999",
            b" OK",
            b"\r\n",
            b"\n",
            b"\r\n\r\n",
            b":",
            b"\xff",
            b"\x00",
        ),
        *(
            b"Content-Length: 3",
            b"Content-Length: -1",
            b"Transfer-Encoding: chunked",
            b"Content-Encoding: gzip",
            b"abc",
        ),
        *(
            b"Content-Type: \xff; charset=\xff",
            b"Location: //[",
            b"Set-Cookie: \xff",
            b"Content-Encoding: zstd",
            b"3\r\n",
        ),
        *(b"Upgrade: websocket\r\nConnection: upgrade", b"Retry-After: \xb2", b"Date: x"),
    )
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_PIECES, max_size=12), st.booleans())
async def test_whatever_comes_is_an_answer_or_a_doubt(internet: Internet, pieces: list[bytes], begun: bool) -> None:
    """G3: nothing else is ever raised, so nothing else can become of a send."""
    server = await serve(internet, (OK if begun else b"") + b"".join(pieces))
    try:
        answer = await ask(server)
    except MaybeSent:
        return
    assert isinstance(answer.text, str) and (answer.retry_after is None or answer.retry_after >= 0)
