"""A customer's file, from the webhook to its bytes, and who is shown the token for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, cast

import pytest
from aiohttp import web

from syncd.engine.platform import HookRequest
from syncd.model.files import Attachment, FileKind
from syncd.platforms.fetch import Fetcher, NotThere
from syncd.platforms.http import Http, client_session
from syncd.platforms.islash import plugin
from syncd.simulators.islash import ISlashSimulator
from syncd.simulators.islash_media import Hashed, Place
from tests.platforms.islash.harness import END, SESSION, TOKEN, setup
from tests.support.files import JPEG, PDF, PNG, STICKER, VOICE

CUSTOMER = "85200000001"
PAGE_USER = "5000000000000001"
MESSENGER = "messenger-session-Ty2"


class Hooks:
    """Whoever the simulator's webhooks go to: hands them to the platform."""

    def __init__(self, simulator: ISlashSimulator, session: Any, **account: Any) -> None:
        self.simulator = simulator
        self.platform = plugin.build(setup(simulator.url, **account), Http(session))
        self.facts: list[Any] = []

    async def take(self, request: web.Request) -> web.Response:
        hook = HookRequest(str(request.url), dict(request.headers), await request.read(), END)
        for event in self.platform.verify(hook):
            self.facts += self.platform.parse(event)
        return web.json_response({})

    async def last(self) -> Any:
        await self.simulator.hooks_taken()
        return self.facts[-1]

    async def fetched(self, file: Attachment) -> bytes:
        assert file.url is not None
        credential = self.platform.media_credential()
        async with (
            Fetcher(private_hosts=(self.simulator.url.removeprefix("http://"),), max_bytes=1_000_000) as fetcher,
            fetcher.download(file.url, credential=credential) as download,
        ):
            return b"".join([chunk async for chunk in download])


@asynccontextmanager
async def hooks(*, templated: bool = False) -> AsyncIterator[Hooks]:
    sessions = {SESSION: "whatsapp", MESSENGER: "messenger"}
    async with ISlashSimulator(token=TOKEN, sessions=sessions) as simulator, client_session() as session:
        account = {"media_url_template": simulator.media_url_template} if templated else {}
        ears = Hooks(simulator, session, **account)
        app = web.Application()
        app.router.add_post("/hook", ears.take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        simulator.hook_urls = {SESSION: url, MESSENGER: url}
        yield ears
        await runner.cleanup()


@pytest.mark.parametrize("place", ["link", "message.media_url"])
@pytest.mark.parametrize("hashed", ["hex", "base64", None])
async def test_a_linked_file_is_read_and_its_hash_fits(place: Place, hashed: Hashed | None) -> None:
    async with hooks() as ears:
        ears.simulator.contact_sends(SESSION, CUSTOMER, JPEG.content, caption="look", place=place, hashed=hashed)
        said = await ears.last()
        (file,) = said.files
        assert (said.text, file.kind, file.content_type) == ("look", FileKind.IMAGE, "image/jpeg")
        assert await ears.fetched(file) == JPEG.content
        assert file.sha256 == (JPEG.sha256 if hashed else None)


async def test_a_file_without_a_link_is_told_without_an_address() -> None:
    async with hooks() as ears:
        ears.simulator.contact_sends(
            SESSION, CUSTOMER, PDF.content, kind="document", content_type=PDF.content_type, name=PDF.name, linked=False
        )
        expected = Attachment(FileKind.FILE, None, PDF.content_type, PDF.name, sha256=PDF.sha256)
        assert (await ears.last()).files == (expected,)


async def test_a_file_without_a_link_is_found_by_the_template_and_the_token() -> None:
    async with hooks(templated=True) as ears:
        ears.simulator.contact_sends(SESSION, CUSTOMER, VOICE.content, kind="voice", linked=False)
        (media,) = ears.simulator.media.values()
        media.needs_token = True
        (file,) = (await ears.last()).files
        assert await ears.fetched(file) == VOICE.content
        assert (file.kind, media.fetches) == (FileKind.VOICE, 1)


async def test_a_file_that_is_gone_and_one_with_a_wrong_hash() -> None:
    async with hooks() as ears:
        ears.simulator.contact_sends(SESSION, CUSTOMER, PNG.content, hashed="wrong")
        (file,) = (await ears.last()).files
        assert file.sha256 != PNG.sha256 == sha256(await ears.fetched(file)).hexdigest()
        (media,) = ears.simulator.media.values()
        media.gone = True
        with pytest.raises(NotThere):
            await ears.fetched(file)


async def test_a_sticker_on_messenger() -> None:
    async with hooks() as ears:
        mid = ears.simulator.contact_sends(
            MESSENGER, PAGE_USER, STICKER.content, kind="sticker", content_type="image/webp", twin=True, quotes="m_0"
        )
        said = await ears.last()
        (file,) = said.files
        assert (said.messageid, said.quotes, file.kind) == (mid, "m_0", FileKind.STICKER)
        assert await ears.fetched(file) == STICKER.content


@pytest.mark.parametrize(
    ("base_url", "template", "hosts"),
    [
        ("https://customer.islash.example", "https://customer.islash.example/m/{id}", ("customer.islash.example:443",)),
        (
            "https://Customer.islash.example:443",
            "https://customer.islash.EXAMPLE/{id}",
            ("customer.islash.example:443",),
        ),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/m?i={id}", ("127.0.0.1:9000",)),
        ("http://[::1]:9000", "http://[::1]:9000/{id}", ("[::1]:9000",)),
        ("https://customer.islash.example", "https://files.islash.example/{id}", None),
        ("https://customer.islash.example", "https://customer.islash.example:8443/{id}", None),
        ("https://customer.islash.example", "http://customer.islash.example:443/{id}", None),
        ("https://customer.islash.example", "https://customer.islash.example.evil.example/{id}", None),
        ("https://customer.islash.example", None, None),
    ],
)
def test_who_is_shown_the_token(base_url: str, template: str | None, hosts: tuple[str, ...] | None) -> None:
    """G12: the token is shown to the API's own host and port, and only where files are fetched there."""
    platform = plugin.build(setup(base_url, media_url_template=template), cast(Http, None))
    credential = platform.media_credential()
    if hosts is None:
        assert credential is None
        return
    assert credential is not None and TOKEN not in repr(credential)
    assert (credential.header, credential.value, credential.hosts) == ("X-USER-TOKEN", TOKEN, hosts)
