"""Fetching files from URLs that strangers wrote, over real sockets (see `internet`)."""

from __future__ import annotations

import asyncio
import gzip
import traceback
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web

from syncd.engine.platform import Credential
from syncd.platforms.fetch import (
    MOST_HOPS,
    UNKNOWN_TYPE,
    Download,
    Fetcher,
    FetchError,
    NotAllowed,
    NotNow,
    NotThere,
    TooLarge,
)
from tests.platforms.internet import FILES, MEDIA, WORLD, Internet
from tests.platforms.test_urls import NOT_PUBLIC, REFUSED

KEY = "AccessKey k3y-that-nobody-sees"
TOKEN = "t0ken-in-the-query"


@pytest.fixture
async def internet(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Internet]:
    made = Internet(monkeypatch)
    yield made
    await made.end()


def key_for(*hosts: str) -> Credential:
    return Credential("Authorization", KEY, hosts)


async def got(fetcher: Fetcher, url: str, **options: Any) -> tuple[Download, bytes]:
    """The whole file."""
    async with fetcher.download(url, **options) as file:
        return file, b"".join([chunk async for chunk in file])


async def failed(fetcher: Fetcher, url: str, **options: Any) -> FetchError:
    """How it ends; nothing that might be logged of it holds the query or the credential."""
    with pytest.raises(FetchError) as caught:
        await got(fetcher, url, **options)
    error = caught.value
    told = repr(error) + "".join(traceback.format_exception(error))
    assert KEY not in told and TOKEN not in told
    assert len(error.reason) < 400 and error.reason.isprintable()
    return error


# --- what works ---


async def test_a_file_of_the_world(internet: Internet) -> None:
    """G12: over TLS to a public address; asked for unpacked, with the URL as it was written, and no more said of us."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        headers = {"Content-Type": "Image/JPEG; x=y", "Content-Disposition": 'attachment; filename="cat.jpg"'}
        return web.Response(body=b"bytes", headers=headers)

    internet.lead(FILES, await internet.serve(answer, tls=True))
    async with internet.fetcher() as fetcher:
        file, body = await got(fetcher, f"https://{FILES}/a%2Fb/c?X-Sig=a%2Bb%3D#part")
    assert body == b"bytes"
    assert (file.where, file.content_type, file.name) == (FILES, "image/jpeg", "cat.jpg")
    assert (file.announced, file.size) == (5, 5)
    assert asked[0].raw_path == "/a%2Fb/c?X-Sig=a%2Bb%3D"
    sent = {name.lower(): value for name, value in asked[0].headers.items()}
    plain = {"accept": "*/*", "accept-encoding": "identity", "connection": "close"}
    assert sent == {"host": FILES, "user-agent": "syncd", **plain}
    assert internet.tried == [(WORLD, 443)]


async def test_twenty_megabytes_are_never_in_memory(internet: Internet) -> None:
    """G9."""
    size = 20_000_000

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _piece in range(size // 50_000):
            writer.write(bytes(50_000))
            await writer.drain()

    server = await internet.listen(write)
    async with internet.fetcher(private_hosts=("127.0.0.1",)) as fetcher:
        await got(fetcher, f"http://127.0.0.1:{server.port}/", max_bytes=size)
        tracemalloc.start()
        async with fetcher.download(f"http://127.0.0.1:{server.port}/", max_bytes=size) as file:
            async for chunk in file:
                assert len(chunk) <= 65_536
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert file.size == size
    assert peak < 2_000_000


# --- where it may not go ---


@pytest.mark.parametrize("url", [url for url in REFUSED if len(url) < 200], ids=ascii)
async def test_no_connection_for_an_odd_url(internet: Internet, url: str) -> None:
    """G12: not even to a private host."""
    async with internet.fetcher(private_hosts=(FILES, "127.0.0.1")) as fetcher:
        assert isinstance(await failed(fetcher, url), NotAllowed)
    assert internet.tried == [] and internet.names.asked == []


@pytest.mark.parametrize("address", [address for address in NOT_PUBLIC if "%" not in address])
async def test_no_connection_to_an_address_that_is_not_public(internet: Internet, address: str) -> None:
    """G12: written in the URL, resolved from a name, among others, or led to."""
    internet.names.answers = {FILES: [[address]], MEDIA: [[address, "127.0.0.1", "::1"]]}
    literal = f"https://[{address}]/" if ":" in address else f"https://{address}/"
    async with internet.fetcher() as fetcher:
        for url in (literal, f"https://{FILES}/", f"https://{MEDIA}/"):
            assert isinstance(await failed(fetcher, f"{url}?{TOKEN}"), NotAllowed)
    assert internet.tried == []


async def test_a_listener_on_loopback_is_never_reached(internet: Internet) -> None:
    """G12: by name, by address, by redirect, with TLS or without; not even on a port that the config names."""
    trap = await internet.listen()
    internet.names.answers = {"inside.example.com": [["127.0.0.1"]], "localhost": [["127.0.0.1"]]}
    traps = [
        f"{scheme}://{host}:{trap.port}/"
        for scheme in ("https", "http")
        for host in ("inside.example.com", "localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]")
    ]

    async def lead_on(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": traps[int(request.query["n"])]})

    internet.lead(FILES, await internet.serve(lead_on, tls=True))
    credential = key_for(*(url.split("/")[2] for url in traps))
    async with internet.fetcher() as fetcher:
        for number, url in enumerate(traps):
            assert isinstance(await failed(fetcher, url, credential=credential), NotAllowed)
            assert isinstance(await failed(fetcher, f"https://{FILES}/?n={number}", credential=credential), NotAllowed)
    assert trap.accepted == 0
    assert set(internet.tried) == {(WORLD, 443)}


async def test_a_name_that_changes_its_address_gains_nothing(internet: Internet) -> None:
    """G12: DNS rebinding. Whatever a name meant before, the address that is connected to is the one looked at."""
    trap = await internet.listen()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"https://{FILES}:{trap.port}/"})

    internet.lead(FILES, await internet.serve(answer, tls=True), to_port=trap.port)
    internet.names.answers[FILES] = [[WORLD], ["127.0.0.1"]]
    async with internet.fetcher() as fetcher:
        error = await failed(fetcher, f"https://{FILES}:{trap.port}/", credential=key_for(f"{FILES}:{trap.port}"))
    assert isinstance(error, NotAllowed)
    assert internet.tried == [(WORLD, trap.port)]
    assert internet.names.asked == [FILES, FILES]
    assert trap.accepted == 0


async def test_of_many_addresses_only_public_ones_are_connected_to(internet: Internet) -> None:
    """G12: the one that does not answer is no reason to try the one that may not."""
    internet.names.answers[FILES] = [["10.0.0.1", "2606:4700::1111", "127.0.0.1", "8.8.8.8"]]
    async with internet.fetcher() as fetcher:
        error = await failed(fetcher, f"https://{FILES}/")
    assert isinstance(error, NotNow)
    assert set(internet.tried) == {("2606:4700::1111", 443), ("8.8.8.8", 443)}


@pytest.mark.parametrize(
    "url", [f"http://{FILES}/", f"http://{WORLD}/", f"http://{FILES}:443/", f"https://{FILES}:8443/"]
)
async def test_the_world_is_https_on_its_port(internet: Internet, url: str) -> None:
    """G12: plain http and other ports are not even tried."""
    internet.lead(FILES, 1)
    async with internet.fetcher() as fetcher:
        assert isinstance(await failed(fetcher, url), NotAllowed)
    assert internet.tried == []


async def test_private_hosts_are_exactly_those(internet: Internet) -> None:
    """G12: `host:port` opens that port, over http too; `host` all of them; nothing else is opened."""
    hits = []

    async def answer(request: web.Request) -> web.Response:
        hits.append(request.host)
        return web.Response(body=b"inside")

    port, other = await internet.serve(answer), await internet.listen()
    secure = await internet.serve(answer, tls=True)
    internet.names.answers = {name: [["127.0.0.1"]] for name in ("store.lan", "all.lan", "not.store.lan", FILES)}
    allowed = (f"store.lan:{port}", "ALL.lan", f"{FILES}:{secure}", f"127.0.0.1:{port}")
    urls = [f"http://Store.lan:{port}/", f"http://all.lan:{port}/", f"https://{FILES}:{secure}/"]
    async with internet.fetcher(private_hosts=allowed) as fetcher:
        for url in [*urls, f"http://127.0.0.1:{port}/"]:
            assert (await got(fetcher, url))[1] == b"inside"
        before = len(internet.tried)
        for url in (
            f"http://store.lan:{other.port}/",
            f"https://store.lan:{other.port}/",
            f"http://not.store.lan:{port}/",
            f"http://127.0.0.1:{other.port}/",
            f"http://localhost:{port}/",
            f"http://[::ffff:127.0.0.1]:{port}/",
            f"http://{FILES}/",
        ):
            assert isinstance(await failed(fetcher, url), NotAllowed)
    assert len(hits) == 4 and len(internet.tried) == before and other.accepted == 0


async def test_a_certificate_that_is_not_its_own_ends_it(internet: Internet) -> None:
    """G12."""
    hits = []

    async def answer(request: web.Request) -> web.Response:
        hits.append(request)
        return web.Response()

    internet.lead("other.example.com", await internet.serve(answer, tls=True))
    async with internet.fetcher() as fetcher:
        error = await failed(fetcher, f"https://other.example.com/?{TOKEN}", credential=key_for("other.example.com"))
    assert isinstance(error, NotNow) and "TLS" in error.reason
    assert hits == []


async def test_proxies_of_the_environment_are_not_used(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    """G12: a proxy would look names up itself."""
    proxy = await internet.listen()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"direct")

    internet.lead(FILES, await internet.serve(answer, tls=True))
    async with internet.fetcher() as fetcher:
        assert (await got(fetcher, f"https://{FILES}/"))[1] == b"direct"
    assert proxy.accepted == 0


# --- redirects, credentials, cookies ---


async def test_a_credential_is_shown_to_its_hosts_only(internet: Internet) -> None:
    """G12: not to where they redirect to, and not after having been elsewhere."""
    shown: list[tuple[str, str | None]] = []
    ways = {f"{MEDIA}/1": "/2", f"{MEDIA}/2": f"https://{FILES}/3", f"{FILES}/3": f"https://{MEDIA}/4"}

    async def answer(request: web.Request) -> web.Response:
        shown.append((request.host + request.path, request.headers.get("Authorization")))
        to = ways.get(request.host + request.path)
        return web.Response(status=307, headers={"Location": to}) if to else web.Response(body=b"file")

    port = await internet.serve(answer, tls=True)
    internet.lead(MEDIA, port)
    internet.lead(FILES, port)
    async with internet.fetcher() as fetcher:
        file, body = await got(fetcher, f"https://{MEDIA}/1", credential=key_for(MEDIA))
        assert (file.where, body) == (MEDIA, b"file")
        await got(fetcher, f"https://{FILES}/x", credential=key_for(MEDIA))
        await got(fetcher, f"https://{MEDIA}/y")
    assert shown == [
        (f"{MEDIA}/1", KEY),
        (f"{MEDIA}/2", KEY),
        (f"{FILES}/3", None),
        (f"{MEDIA}/4", None),
        (f"{FILES}/x", None),
        (f"{MEDIA}/y", None),
    ]


async def test_a_credential_goes_over_plain_http_to_private_hosts_only(internet: Internet) -> None:
    """G12."""
    shown = []

    async def answer(request: web.Request) -> web.Response:
        shown.append(request.headers.get("Authorization"))
        return web.Response()

    port = await internet.serve(answer)
    internet.names.answers = {"media.lan": [["127.0.0.1"]], "other.lan": [["127.0.0.1"]]}
    internet.lead(MEDIA, port, to_port=80)
    credential = key_for(f"media.lan:{port}", MEDIA, f"{MEDIA}:80")
    async with internet.fetcher(private_hosts=("media.lan", "other.lan")) as fetcher:
        await got(fetcher, f"http://media.lan:{port}/", credential=credential)
        await got(fetcher, f"http://other.lan:{port}/", credential=credential)
        assert isinstance(await failed(fetcher, f"http://{MEDIA}/", credential=credential), NotAllowed)
    assert shown == [KEY, None]


@pytest.mark.parametrize("hops", [MOST_HOPS, MOST_HOPS + 1])
async def test_so_many_redirects_and_no_more(internet: Internet, hops: int) -> None:
    """G9: also where they never end."""
    calls = []

    async def answer(request: web.Request) -> web.Response:
        calls.append(request.path)
        left = int(request.path[1:])
        return web.Response(status=302, headers={"Location": f"/{left - 1}"}) if left else web.Response(body=b"end")

    internet.lead(FILES, await internet.serve(answer, tls=True))
    async with internet.fetcher() as fetcher:
        if hops == MOST_HOPS:
            assert (await got(fetcher, f"https://{FILES}/{hops}"))[1] == b"end"
        else:
            assert isinstance(await failed(fetcher, f"https://{FILES}/{hops}"), NotThere)
    assert len(calls) == MOST_HOPS + 1


@pytest.mark.parametrize(
    "location",
    [
        "",
        "ftp://x/",
        f"http://{FILES}/",
        "https://u:p@x/",
        f"https://{FILES}:444/",
        "//127.1/",
        "\\\\x/",
        "https://[::1",
    ],
)
async def test_a_redirect_is_looked_at_like_any_url(internet: Internet, location: str) -> None:
    """G12."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=301, headers={"Location": location} if location else {})

    internet.lead(FILES, await internet.serve(answer, tls=True))
    async with internet.fetcher() as fetcher:
        error = await failed(fetcher, f"https://{FILES}/?{TOKEN}")
    assert isinstance(error, NotAllowed if location else NotThere)
    assert internet.tried == [(WORLD, 443)]


async def test_cookies_are_not_kept(internet: Internet) -> None:
    """G12."""
    cookies = []

    async def answer(request: web.Request) -> web.Response:
        cookies.append(dict(request.cookies))
        response = web.Response(status=302 if request.path == "/a" else 200, headers={"Location": "/b"})
        response.set_cookie("who", "us")
        return response

    internet.lead(FILES, await internet.serve(answer, tls=True))
    async with internet.fetcher() as fetcher:
        await got(fetcher, f"https://{FILES}/a")
        await got(fetcher, f"https://{FILES}/b")
    assert cookies == [{}, {}, {}]


# --- servers that misbehave ---


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, NotThere) for status in (204, 206, 304, 401, 404, 410)),
        *((status, NotNow) for status in (408, 425, 429, 500, 503, 599)),
    ],
)
async def test_what_an_answer_means(internet: Internet, status: int, kind: type[FetchError]) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, reason="Words of theirs")

    internet.lead(FILES, await internet.serve(answer, tls=True))
    async with internet.fetcher() as fetcher:
        error = await failed(fetcher, f"https://{FILES}/?{TOKEN}")
    assert type(error) is kind
    assert (error.http_status, error.reason) == (status, f"{FILES} answers HTTP {status}")


OK = b"HTTP/1.1 200 OK\r\n"
PACKED = gzip.compress(bytes(10_000_000))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (OK + b"Content-Length: 1001\r\n\r\n" + b"a" * 1001, TooLarge),
        (OK + b"Content-Length: 99999999999999\r\n\r\na", TooLarge),
        (OK + b"\r\n" + b"a" * 1001, TooLarge),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"a" * 1001 + b"\r\n0\r\n\r\n", TooLarge),
        (OK + b"Content-Length: 5\r\n\r\nab", NotNow),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", NotNow),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab", NotNow),
        (OK + b"Content-Length: -5\r\n\r\nab", NotNow),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", NotNow),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED, NotThere),
        (OK + b"Content-Encoding: br\r\n\r\nab", NotThere),
        (OK + b"Content-Encoding: \xff\r\n\r\nab", NotThere),
        (OK + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n", NotNow),
        (OK + b"X-A: a\r\n" * 1000 + b"\r\n", NotNow),
        (b"HTTP/1.1 200 " + b"a" * 100_000 + b"\r\n\r\n", NotNow),
        (b"\x00\xff\r\n\r\n", NotNow),
        (b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe://\r\n\r\n", NotAllowed),
        (b"", NotNow),
        (b"HTTP/1.1 200 OK", NotNow),
    ],
    ids=range(19),
)
async def test_an_answer_that_is_none(internet: Internet, answer: bytes, kind: type[FetchError]) -> None:
    """G9, G12: lies about lengths, packed bombs, huge heads, garbage."""

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    server = await internet.listen(write)
    async with internet.fetcher(private_hosts=("127.0.0.1",), max_bytes=1000, seconds=5) as fetcher:
        error = await failed(fetcher, f"http://127.0.0.1:{server.port}/?{TOKEN}")
    assert type(error) is kind, error


@pytest.mark.parametrize(
    ("start", "more", "kind"),
    [
        (OK + b"\r\n", b"a" * 65_536, TooLarge),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 100, TooLarge),
        (OK + b"Content-Length: 30000000\r\n\r\n", b"", NotNow),
        (OK, b"X-A: a\r\n" * 100, NotNow),
        (OK + b"X-A: ", b"a" * 65_536, NotNow),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, NotNow),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", NotNow),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 65_536, NotNow),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"X: a\r\n" * 100, NotNow),
    ],
    ids=range(9),
)
async def test_an_answer_that_never_ends(internet: Internet, start: bytes, more: bytes, kind: type[FetchError]) -> None:
    """G9: it ends by size or by time, and memory does not grow."""

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while more and not writer.is_closing():
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    server = await internet.listen(write)
    # What is too large is so long before any time is up.
    limit, seconds = (100_000, 60) if kind is TooLarge else (30_000_000, 1)
    url = f"http://127.0.0.1:{server.port}/"
    async with internet.fetcher(private_hosts=("127.0.0.1",), max_bytes=limit, seconds=seconds) as fetcher:
        tracemalloc.start()
        error = await failed(fetcher, url)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert type(error) is kind, error
    assert peak < 3_000_000


@pytest.mark.parametrize(
    "drip", [b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 200 OK\r\n\r\n", b""], ids=["head", "body", "0"]
)
async def test_a_slow_drip_ends_in_time(internet: Internet, drip: bytes) -> None:
    """G9: each byte comes soon enough, all of them would take for ever."""

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(drip)
        while True:
            if drip:
                writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.02)

    server = await internet.listen(write)
    loop = asyncio.get_running_loop()
    async with internet.fetcher(private_hosts=("127.0.0.1",), seconds=0.4) as fetcher:
        began = loop.time()
        error = await failed(fetcher, f"http://127.0.0.1:{server.port}/")
    assert isinstance(error, NotNow) and "0.4 s" in error.reason
    assert 0.3 < loop.time() - began < 10


async def test_time_is_for_all_hops(internet: Internet) -> None:
    """G9."""

    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        return web.Response(status=302, headers={"Location": "/"})

    internet.lead(FILES, await internet.serve(answer, tls=True))
    async with internet.fetcher(seconds=0.5) as fetcher:
        assert isinstance(await failed(fetcher, f"https://{FILES}/"), NotNow)


async def test_what_the_caller_does_is_not_cut_short(internet: Internet) -> None:
    """G9: time that the caller takes counts, and ends the reading after it."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"a" * 200_000)

    port, done = await internet.serve(answer), []
    async with internet.fetcher(private_hosts=("127.0.0.1",), seconds=1) as fetcher:

        async def slowly() -> None:
            async with fetcher.download(f"http://127.0.0.1:{port}/") as file:
                async for chunk in file:
                    await asyncio.sleep(1.2)
                    done.append(len(chunk))

        with pytest.raises(NotNow):
            await slowly()
    assert len(done) == 1


async def test_a_download_that_is_left_closes_its_connection(internet: Internet) -> None:
    """G9: whatever the reason, the server is told at once, and the next download has room."""
    gone = asyncio.Queue[str]()

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"\r\n")
        try:
            while True:
                writer.write(b"a" * 65_536)
                await writer.drain()
        except ConnectionError:
            gone.put_nowait("gone")

    server = await internet.listen(write)
    url = f"http://127.0.0.1:{server.port}/"
    async with internet.fetcher(private_hosts=("127.0.0.1",)) as fetcher:
        for _ in range(40):
            async with fetcher.download(url) as file, aclosing(aiter(file)) as chunks:  # type: ignore[type-var]
                await anext(chunks)
            await asyncio.wait_for(gone.get(), 5)

        async def onto_a_full_disk() -> None:
            async with fetcher.download(url) as file:
                async for _ in file:
                    raise RuntimeError("disk full")

        with pytest.raises(RuntimeError, match="disk full"):
            await onto_a_full_disk()
        await asyncio.wait_for(gone.get(), 5)

        async def given_up() -> None:
            async with fetcher.download(url), asyncio.timeout(0.05):
                await asyncio.sleep(5)

        with pytest.raises(TimeoutError):
            await given_up()
        await asyncio.wait_for(gone.get(), 5)


async def test_names_that_are_not_there(internet: Internet) -> None:
    async with internet.fetcher() as fetcher:
        error = await failed(fetcher, f"https://nowhere.example.com/?{TOKEN}")
    assert isinstance(error, NotNow)
    assert error.reason == "nowhere.example.com: the name is not known"


async def test_the_systems_names_are_looked_up(internet: Internet) -> None:
    """G12: with its own resolver too, `localhost` is nowhere; as a private host it is here."""
    trap = await internet.listen()

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 2\r\n\r\nhi")
        await writer.drain()

    server = await internet.listen(write)
    place = f"localhost:{trap.port}"
    async with Fetcher(private_hosts=(f"localhost:{server.port}",)) as fetcher:
        assert isinstance(await failed(fetcher, f"https://{place}/", credential=key_for(place)), NotAllowed)
        assert (await got(fetcher, f"http://localhost:{server.port}/"))[1] == b"hi"
    assert trap.accepted == 0


# --- what is said of the file ---


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("", None),
        ("attachment", None),
        ('attachment; filename="a b.pdf"', "a b.pdf"),
        ("inline; filename=a.pdf", "a.pdf"),
        ("attachment; filename*=UTF-8''%E6%96%87%E4%BB%B6.pdf; filename=x.pdf", "文件.pdf"),
        ('attachment; filename="файл.pdf"', "файл.pdf"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\temp\\\\a.exe"', "a.exe"),
        ("attachment; filename*=UTF-8''..%2F..%5Cb%00%0D%0A%1B.txt", "b.txt"),
        ("attachment; filename*=UTF-8''%E2%80%AEgpj.exe", "gpj.exe"),
        ("attachment; filename*=UTF-8''..", None),
        ("attachment; filename*=UTF-8''%20.%20", None),
        ("attachment; filename=.htaccess", "htaccess"),
        ("attachment; filename*=idna''xn--%FF%61%62", None),
        ("attachment; filename*=none''%61", None),
        ("attachment; filename", None),
        ("@; filename=a", None),
        ('attachment; filename="' + "a" * 300 + '.jpeg"', "a" * 115 + ".jpeg"),
        ('attachment; filename="' + "a" * 300 + '"', "a" * 120),
    ],
)
async def test_names_are_fit_for_a_file(internet: Internet, header: str, name: str | None) -> None:
    """G12: no way out of a folder, no steering of a terminal."""

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + f"Content-Disposition: {header}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    server = await internet.listen(write)
    async with internet.fetcher(private_hosts=("127.0.0.1",)) as fetcher:
        file, body = await got(fetcher, f"http://127.0.0.1:{server.port}/")
    assert (file.name, body) == (name, b"")


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (b"image/png", "image/png"),
        (b"Audio/OGG; codecs=opus", "audio/ogg"),
        (b"", UNKNOWN_TYPE),
        (b"image", UNKNOWN_TYPE),
        (b"text/html<script>", UNKNOWN_TYPE),
        (b"image/png, text/html", UNKNOWN_TYPE),
        (b"image/p\xffng", UNKNOWN_TYPE),
    ],
)
async def test_types_are_plain(internet: Internet, header: bytes, kind: str) -> None:
    """G12."""

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Type: " + header + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    server = await internet.listen(write)
    async with internet.fetcher(private_hosts=("127.0.0.1",)) as fetcher:
        file, _ = await got(fetcher, f"http://127.0.0.1:{server.port}/")
    assert file.content_type == kind
