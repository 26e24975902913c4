"""The image and the unit, as far as no container engine and no service manager are needed to look at them."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests.support.world import World

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
UNIT = ROOT / "deploy" / "syncd.service"
MOST_EXPOSED = 20
"""Of 100, by the manager's own measure."""


def test_what_the_image_copies_is_there_and_its_lock_is_used() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert {"syncd", "migrations", "pyproject.toml", "requirements.txt"} <= set(sources)
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert "--require-hashes -r requirements.txt" in DOCKERFILE


def test_it_runs_as_nobody_special_and_brings_no_tools() -> None:
    _, *stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    assert len(stages) == 2, "what builds it is not in it"
    last = stages[-1]
    assert re.search(r"^USER (?!root|0)\S+$", last, re.MULTILINE)
    assert "apt-get" not in last
    assert "curl" not in DOCKERFILE
    assert re.search(r"^ENTRYPOINT \[\"syncd\"\]$", last, re.MULTILINE)


async def test_the_health_check_tells_a_daemon_that_is_ready_from_one_that_is_not(world: World) -> None:
    (told,) = re.findall(r"HEALTHCHECK.*?CMD (\[.*?\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    program, *arguments = json.loads(told)
    assert program == "python"
    mine = [one.replace("127.0.0.1:8081", world.bridge.admin_url.removeprefix("http://")) for one in arguments]
    assert mine != arguments, "the port of the config"

    async def healthy() -> bool:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *mine, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        return await process.wait() == 0

    assert not await healthy()
    await world.start()
    assert await healthy()


def test_compose_keeps_all_but_the_proxy_inside() -> None:
    services = COMPOSE["services"]
    assert [name for name, one in services.items() if "ports" in one] == ["caddy"]
    assert services["syncd"]["depends_on"]["db"] == {"condition": "service_healthy"}
    assert services["syncd"]["read_only"] is True
    mounted = [volume.split(":")[0] for one in services.values() for volume in one.get("volumes", ())]
    named = {volume for volume in mounted if not volume.startswith(".")}
    assert named == set(COMPOSE["volumes"])
    assert (ROOT / "deploy" / "Caddyfile").is_file()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_the_unit_leaves_little_open(tmp_path: Path) -> None:
    unit = tmp_path / "syncd.service"
    unit.write_text(UNIT.read_text(encoding="utf-8"))
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
