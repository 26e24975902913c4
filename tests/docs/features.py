"""What is carried, from the plug-ins' capabilities and `syncd.platforms.features`; writes it into docs/platforms.md."""

from __future__ import annotations

import re
from pathlib import Path

from syncd.config.plugins import Plugins
from syncd.model.capabilities import Capabilities
from syncd.model.files import FileKind
from syncd.platforms.features import FEATURES, FILES, FROM, KINDS, PLATFORMS, TOWARDS, Cell, Grade, Way

PAGE = Path(__file__).parents[2] / "docs" / "platforms.md"
NAMES = {"ringotel": "Ringotel", "bird": "Bird", "islash": "iSlash"}
_ENDINGS = {"msword": "doc", "document": "docx", "presentation": "pptx", "sheet": "xlsx"}
"""Of content types whose names nobody knows."""
_PART = re.compile(r"(<!-- what is carried -->\n).*?(<!-- end -->)", re.DOTALL)


def able(platform: str) -> Capabilities:
    """The capabilities of an installed platform."""
    plugin = Plugins().get(platform)
    assert plugin is not None
    return plugin.capabilities


def graded(way: Way, feature: str, platform: str) -> tuple[Grade, str]:
    """How a feature fares there, and how or why, in words."""
    cell = cell_of(way, feature, platform)
    grade, words = _found(way, feature, able(platform))
    assert (grade is None) != (cell.grade is None), f"{feature} {way} {platform}: capabilities say it, or the cell does"
    return grade or cell.grade or Grade.NATIVE, "; ".join(filter(None, (words, cell.how)))


def cell_of(way: Way, feature: str, platform: str) -> Cell:
    """What is told beside the capabilities."""
    return (TOWARDS if way is Way.TO else FROM)[feature][PLATFORMS.index(platform)]


def _found(way: Way, feature: str, can: Capabilities) -> tuple[Grade | None, str]:
    """What the capabilities say: nothing of most that comes from a platform."""
    if feature == "history" and way is Way.FROM:
        return (Grade.NATIVE if can.history else Grade.IMPOSSIBLE), ""
    if way is Way.FROM:
        return None, ""
    if feature in FILES:
        return _file(FileKind(KINDS[FILES.index(feature)]), can)
    match feature:
        case "long text":
            return Grade.DEGRADED, f"parts of at most {can.max_text} characters"
        case "caption" if can.captions:
            kinds = ", ".join(FILES[KINDS.index(kind)] for kind in KINDS if kind in can.captions)
            return Grade.NATIVE, f"with {kinds}, up to {can.max_caption} characters; else a message before the file"
        case "caption":
            return Grade.DEGRADED, ""
        case "delivered" | "read":
            return (Grade.NATIVE if can.receipts else Grade.IMPOSSIBLE), ""
        case "edit":
            return (Grade.NATIVE if can.edits else Grade.DEGRADED), ""
        case "deletion":
            return (Grade.NATIVE if can.deletes else Grade.IMPOSSIBLE), ""
    return None, ""


def _file(kind: FileKind, can: Capabilities) -> tuple[Grade, str]:
    most = can.files.get(kind)
    if most is None:
        return Grade.DEGRADED, "a line in its place"
    size = f"{most / 1_000_000:g} MB" if most >= 1_000_000 else f"{most // 1000} kB"
    names = [one.rpartition(".")[2].rpartition("/")[2] for one in can.types.get(kind, ())]
    types = [_ENDINGS.get(name, name) for name in names]
    return Grade.NATIVE, f"up to {size}{': ' if types else ''}{', '.join(types)}"


def _table(way: Way) -> str:
    lines = [f"### {str(way).capitalize()}\n", f"| | {' | '.join(NAMES[name] for name in PLATFORMS)} |"]
    lines.append("| --- | --- | --- | --- |")
    for feature in FEATURES:
        cells = []
        for platform in PLATFORMS:
            grade, words = graded(way, feature, platform)
            cell = cell_of(way, feature, platform)
            file, _, function = cell.test.partition("::")
            said = f"**{grade}**{': ' if words else ''}{words}"
            cells.append(f'{said} ({cell.mark}, [shown](../tests/{file} "{function}"))')
        lines.append(f"| {feature} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """The page with its tables as capabilities and cells are now."""
    tables = "\n".join(_table(way) for way in Way)
    return _PART.sub(lambda match: f"{match[1]}\n{tables}\n{match[2]}", page)


def write() -> None:
    """Write the page anew."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
