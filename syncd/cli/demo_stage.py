"""What the demo plays on: three simulated platforms, a config of their addresses, and a syncd in its own process."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shlex
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp

from syncd.simulators.bird import BirdSimulator
from syncd.simulators.islash import ISlashSimulator
from syncd.simulators.ringotel import RingotelSimulator

T = TypeVar("T")

ORGANIZATION = "17076444409917912922"
USERS = ("9003", "9004")
ISLASH_SESSION = "demo-islash-session"
PATIENCE = 20.0
"""Seconds that a step waits for its effect. Far more than it takes: a busy machine is no failure."""
STOP_PATIENCE = 8.0


class Failed(Exception):
    """What should have happened did not; the text says what was waited for and what was there instead."""


class Stage:
    """Use it as an async context: the platforms run inside it; `start_syncd` and `kill_syncd` are the story's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self.database = folder / "syncd.db"
        self.log = folder / "syncd.log"
        self.ringotel = RingotelSimulator(api_key=secrets.token_urlsafe(18))
        self.bird = BirdSimulator(access_key=secrets.token_urlsafe(18), signing_key=secrets.token_urlsafe(18))
        self.islash = ISlashSimulator(
            token=secrets.token_urlsafe(18), sessions={ISLASH_SESSION: "whatsapp"}, retries_hooks=True
        )
        self.sms_channel = ""
        self.hook_secret = secrets.token_urlsafe(18)
        self.public_url = ""
        self.admin_url = ""
        self.syncd: asyncio.subprocess.Process | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        for simulator in (self.ringotel, self.bird, self.islash):
            await simulator.start()
        self.ringotel.add_organization(USERS, orgid=ORGANIZATION)
        # As the real platform may do: whatever the API writes comes back as a webhook.
        self.ringotel.echo = "after"
        self.sms_channel = self.bird.add_channel(platform="sms", identifier="+12025550100")
        self.bird.statuses = ("accepted", "sent", "delivered")
        self.islash.auto_statuses = ("sent", "delivered")
        public, admin = free_ports(2)
        self.public_url, self.admin_url = f"http://127.0.0.1:{public}", f"http://127.0.0.1:{admin}"
        self.ringotel.hook_url = f"{self.public_url}/hooks/office"
        self.bird.hook_url = f"{self.public_url}/hooks/bird"
        self.islash.hook_urls[ISLASH_SESSION] = f"{self.public_url}/hooks/islash/{self.hook_secret}"
        self._write_config()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop_syncd()
        for simulator in (self.ringotel, self.bird, self.islash):
            await simulator.stop()
        if self._http is not None:
            await self._http.close()

    @property
    def pid(self) -> int:
        """The daemon's process."""
        assert self.syncd is not None
        return self.syncd.pid

    async def start_syncd(self) -> None:
        """Start `syncd run` and wait until it is ready. Raises `Failed`."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}
        with self.log.open("ab") as log:
            self.syncd = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "syncd.cli.demo_daemon", str(self.config)),
                stdin=asyncio.subprocess.PIPE,  # its end tells the daemon that the demo is gone, whatever became of it
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
                start_new_session=True,  # Ctrl-C is the demo's, which stops the daemon in its own time
            )
        deadline = time.monotonic() + PATIENCE
        while not await self._answers("/readyz"):
            if self.syncd.returncode is not None:
                raise Failed(f"syncd ended with code {self.syncd.returncode}: {self._last_log_line()}")
            if time.monotonic() > deadline:
                raise Failed(f"syncd is not ready after {PATIENCE:.0f} s: {self._last_log_line()}")
            await asyncio.sleep(0.02)

    async def stop_syncd(self) -> int | None:
        """SIGTERM, and its exit code; None where none was started."""
        process = self.syncd
        if process is None or process.returncode is not None:
            return process.returncode if process is not None else None
        process.terminate()
        try:
            async with asyncio.timeout(STOP_PATIENCE):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()

    async def kill_syncd(self) -> None:
        """`kill -9`."""
        assert self.syncd is not None
        self.syncd.kill()
        await self.syncd.wait()

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """What stands in syncd's database, read-only."""
        try:
            with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
                connection.row_factory = sqlite3.Row
                return [dict(row) for row in connection.execute(query, parameters)]
        except sqlite3.Error as error:
            raise Failed(f"{self.database} cannot be read: {error}") from error

    async def see(self, wanted: str, look: Callable[[], T], right: Callable[[T], bool]) -> T:
        """Look until what is seen is right, and give it. Raises `Failed` with what was seen last."""
        deadline = time.monotonic() + PATIENCE
        while True:
            seen = look()
            if right(seen):
                return seen
            if self.syncd is not None and self.syncd.returncode not in (None, -9):
                raise Failed(f"syncd ended with code {self.syncd.returncode}: {self._last_log_line()}")
            if time.monotonic() > deadline:
                raise Failed(f"{wanted}: not so after {PATIENCE:.0f} s. Seen: {seen!r}")
            await asyncio.sleep(0.01)

    def curl_whatsapp(self) -> str:
        """A command that makes a contact write by WhatsApp."""
        return _curl(self.folder / "whatsapp.json", self.islash.hook_urls[ISLASH_SESSION])

    def curl_ringotel(self) -> str:
        """A command that makes user 9003 answer that contact."""
        return _curl(self.folder / "ringotel.json", self.ringotel.hook_url)

    def write_bodies(self, contact: str, sessionid: str) -> None:
        """The bodies that the two commands post."""
        said = {"from": contact, "id": f"curl-{secrets.token_hex(4)}", "type": "text", "text": {"body": "Sent by curl"}}
        whatsapp = {"messages": [said | {"timestamp": str(int(time.time()))}]}
        answer = {
            "orgid": ORGANIZATION,
            "from": "9003",
            "to": contact,
            "sessionid": sessionid,
            "messageid": f"curl-{secrets.token_hex(4)}",
            "content": "Answered by curl",
            "type": 1,
        }
        ringotel = {"method": "message", "params": answer, "api_key": self.ringotel.api_key}
        for name, body in (("whatsapp.json", whatsapp), ("ringotel.json", ringotel)):
            (self.folder / name).write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")

    async def _answers(self, path: str) -> bool:
        assert self._http is not None
        try:
            async with self._http.get(self.admin_url + path) as response:
                return response.status == 200
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            return False

    def _write_config(self) -> None:
        keep = {
            "ringotel-key": self.ringotel.api_key,
            "bird-access-key": self.bird.access_key,
            "bird-signing-key": self.bird.signing_key,
            "islash-token": self.islash.token,
            "islash-session": ISLASH_SESSION,
            "islash-hook": self.hook_secret,
        }
        for name, text in keep.items():
            (self.folder / name).write_text(text + "\n", encoding="utf-8")
        hosts = [self.bird.media_host, self.bird.bucket_host]
        hosts += [simulator.url.removeprefix("http://") for simulator in (self.islash, self.ringotel)]
        values = {
            "listen": self.public_url.removeprefix("http://"),
            "public": self.public_url,
            "admin": self.admin_url.removeprefix("http://"),
            "ringotel": self.ringotel.api_url,
            "bird": self.bird.url,
            "workspace": self.bird.workspace,
            "islash": self.islash.base_url,
            "channel": self.sms_channel,
            "media": self.bird.media_host,
            "hosts": '", "'.join(hosts),
        }
        self.config.write_text(config_text(values), encoding="utf-8")

    def _last_log_line(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "it logged nothing"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def config_text(values: Mapping[str, str]) -> str:
    """The demo's config: what one would write for the real platforms, with other addresses and higher rates."""
    users = ", ".join(f'"{user}"' for user in USERS)
    return f"""\
# The demo's config: three simulated platforms. A real one differs in addresses, rates and secrets,
# and has no [media] private_hosts: its files are on public hosts.

[server]
listen = "{values["listen"]}"
public_url = "{values["public"]}"
admin_listen = "{values["admin"]}"
drain_seconds = 5

[database]
url = "sqlite:///syncd.db"

[media]
private_hosts = ["{values["hosts"]}"]

[accounts.office]
platform = "ringotel"
api_key = "file:ringotel-key"
base_url = "{values["ringotel"]}"
rate = 100.0

[accounts.bird]
platform = "bird"
workspace = "{values["workspace"]}"
access_key = "file:bird-access-key"
signing_key = "file:bird-signing-key"
base_url = "{values["bird"]}"
media_hosts = ["{values["media"]}"]
rate = 100.0

[accounts.islash]
platform = "islash"
user_token = "file:islash-token"
base_url = "{values["islash"]}"
rate = 100.0

[[links]]
name = "support-sms"
desk = {{ account = "office", organization = "{ORGANIZATION}", users = [{users}] }}
channel = {{ account = "bird", channel = "{values["channel"]}" }}
region = "US"

[[links]]
name = "support-whatsapp"
desk = {{ account = "office", organization = "{ORGANIZATION}", users = [{users}] }}
channel = {{ account = "islash", session = "file:islash-session", webhook_secret = "file:islash-hook" }}
region = "HK"
"""


def _curl(body: Path, url: str) -> str:
    return f"curl -sS -H 'Content-Type: application/json' \\\n  -d @{shlex.quote(str(body))} \\\n  {url}"
