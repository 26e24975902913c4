"""docs/writing-a-platform.md: the platform on the page, as a package of its own, passes the contract tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from syncd.model import sending
from syncd.model.capabilities import Capabilities

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "writing-a-platform.md").read_text(encoding="utf-8")
SECONDS = 240


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def install(folder: Path) -> None:
    """The page's package as `pip install` leaves it, and its part of the contract tests."""
    (project,), (module, contract) = map(tomllib.loads, blocks("toml")), blocks("python")
    name, version = project["project"]["name"], project["project"]["version"]
    (entry,) = project["project"]["entry-points"]["syncd.platforms"].items()
    (folder / f"{entry[1].partition(':')[0]}.py").write_text(module)
    told = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (told / "entry_points.txt").write_text(f"[syncd.platforms]\n{entry[0]} = {entry[1]}\n")
    (folder / "platforms" / entry[0]).mkdir(parents=True)
    (folder / "platforms" / entry[0] / "__init__.py").touch()
    (folder / "platforms" / entry[0] / "contract.py").write_text(contract)
    # In place of the copy into tests/platforms, which this test must not make.
    (folder / "beside.py").write_text(
        f"import tests.platforms\ntests.platforms.__path__.append({str(folder / 'platforms')!r})\n"
    )


def test_the_platform_of_the_page_keeps_the_contract(tmp_path: Path) -> None:
    install(tmp_path)
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-n0", "-q", "-p", "beside", "-p", "no:cacheprovider"),
            *("tests/platforms/test_contract.py", "-k", "acme"),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 30


def test_every_way_to_end_and_every_capability_is_told() -> None:
    errors = {
        name for name, value in vars(sending).items() if isinstance(value, type) and value.__base__ is sending.SendError
    }
    table = PAGE.partition("## How a send ends")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == errors
    table = PAGE.partition("## What else it can do")[2].partition("\n## ")[0]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    always = {"role", "default_rate", "max_text"}
    assert told == set(Capabilities.__dataclass_fields__) - always
