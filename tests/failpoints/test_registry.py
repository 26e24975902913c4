"""The failpoints themselves: no step is forgotten, the matrix passes each, production has nothing of them."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import syncd
from syncd import failpoints
from tests.failpoints.phases import PHASES, import_everything
from tests.support.bridge import ROOT
from tests.support.world import World

import_everything()

FOLDER = Path(syncd.__file__).parent
SUBMITTING = {"submit", "write"}
STORES = {"store", "_store"}
ASKING = {"send", "open_session", "find_sent", "poll", "edit", "delete", "receipt", "carry_out"}
"""What an engine has a platform do, apart from questions that may be asked again at any time."""
PLATFORMS = {"platform", "_platform", "_errands"}
BETWEEN = ("syncd.platforms.", "syncd.engine.errands")
"""Modules that ask a platform on somebody's behalf: whoever asks them is above."""

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@dataclass(frozen=True, slots=True)
class Place:
    """A function of syncd, or the body of a module."""

    module: str
    classes: tuple[str, ...]
    function: ast.FunctionDef | ast.AsyncFunctionDef | None
    """The one defined in the module or class, not one inside of it."""

    def __str__(self) -> str:
        name = self.function.name if self.function is not None else "<module>"
        return ".".join((self.module, *self.classes, name))

    @property
    def names(self) -> dict[str, Any]:
        """What names mean here."""
        return vars(importlib.import_module(self.module))

    def object_of(self, expression: ast.expr) -> Any:
        """What a dotted name means here; None where only a run would tell."""
        match expression:
            case ast.Name(id=name):
                return self.names.get(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if self.classes:
                return getattr(self.names[self.classes[0]], name, None)
            case ast.Attribute(value=inner, attr=name):
                return getattr(self.object_of(inner), name, None)
        return None


def nodes() -> Iterator[tuple[Place, ast.AST]]:
    """Everything that stands in syncd, and where."""
    for file in sorted(FOLDER.rglob("*.py")):
        if file.name == "__main__.py" or "simulators" in file.parts or "_migrations" in file.parts:
            continue
        parts = file.relative_to(FOLDER.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield from _inside(ast.parse(file.read_text(encoding="utf-8")), Place(module, (), None))


def _inside(node: ast.AST, place: Place) -> Iterator[tuple[Place, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        yield place, child
        inner = place
        if place.function is None and isinstance(child, ast.ClassDef):
            inner = Place(place.module, (*place.classes, child.name), None)
        elif place.function is None and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = Place(place.module, place.classes, child)
        yield from _inside(child, inner)


EVERYTHING = list(nodes())


def submitted() -> list[tuple[Place, ast.Call, list[ast.expr]]]:
    """Each place where something is handed to the store, and what it may be."""
    found = []
    for place, node in EVERYTHING:
        match node:
            case ast.Call(func=ast.Attribute(value=receiver, attr=attr), args=[first, *_]) if attr in SUBMITTING:
                if _last(receiver) in STORES:
                    found.append((place, node, _alternatives(place, first)))
    return found


def _alternatives(place: Place, expression: ast.expr) -> list[ast.expr]:
    """An expression; where it is the variable of a loop or a parameter, what that may be."""
    function = place.function
    if not isinstance(expression, ast.Name) or function is None:
        return [expression]
    for node in ast.walk(function):
        match node:
            case ast.For(target=ast.Name(id=name), iter=ast.Tuple(elts=elements)) if name == expression.id:
                return elements
            case ast.For(target=ast.Name(id=name), iter=ast.Name(id=listed)) if name == expression.id:
                return _assigned(function, listed) or [expression]
    parameters = [each.arg for each in function.args.args if each.arg != "self"]
    if expression.id not in parameters:
        return [expression]
    at = parameters.index(expression.id)
    return [
        node.args[at]
        for caller, node in EVERYTHING
        if (caller.module, caller.classes) == (place.module, place.classes)
        and isinstance(node, ast.Call)
        and _last(node.func) == function.name
        and len(node.args) > at
    ] or [expression]


def _assigned(function: ast.AST, variable: str) -> list[ast.expr]:
    """What stands in a tuple that a function gives a name."""
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Tuple(elts=elements)) if name == variable:
                return elements
    return []


def _last(expression: ast.expr) -> str:
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def test_whatever_is_handed_to_the_store_is_a_unit() -> None:
    """G7: every transaction has failpoints before it, in it and right after its commit."""
    calls = submitted()
    assert len(calls) >= 15, "there are more; has the store another name now?"
    nameless = [
        f"{place}, line {call.lineno}: {ast.unparse(one)}"
        for place, call, alternatives in calls
        for one in alternatives
        if failpoints.name_of(place.object_of(one) or len) is None
    ]
    assert nameless == [], "write @unit(NAME) above them, and tell tests/failpoints/phases.py which phase passes them"


def is_step(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether `@step(…)` or `@unit(…)` stands above it."""
    return any(isinstance(each, ast.Call) and _last(each.func) in ("step", "unit") for each in function.decorator_list)


def stands_in_a_step(place: Place, seen: frozenset[str] = frozenset()) -> bool:
    """Whether this function is a step, or is called by steps only."""
    if place.function is None or str(place) in seen:
        return False
    if is_step(place.function):
        return True
    owner: Any = importlib.import_module(place.module)
    for name in place.classes:
        owner = getattr(owner, name)
    itself = getattr(owner, place.function.name)
    callers = [
        caller
        for caller, node in EVERYTHING
        if isinstance(node, ast.Call)
        and _last(node.func) == place.function.name
        and caller.object_of(node.func) is itself
    ]
    return bool(callers) and all(stands_in_a_step(caller, seen | {str(place)}) for caller in callers)


def test_whatever_a_platform_is_asked_to_do_stands_in_a_step() -> None:
    """G3, G7: a process can be killed before and after everything that a platform may have done twice."""
    asked = []
    for place, node in EVERYTHING:
        match node:
            case ast.Await(value=ast.Call(func=ast.Attribute(value=receiver, attr=attr))) if attr in ASKING:
                if _last(receiver) in PLATFORMS and not place.module.startswith(BETWEEN):
                    asked.append((place, attr))
    assert {attr for _, attr in asked} >= {"carry_out", "open_session", "find_sent", "poll"}
    outside = [f"{place}: {attr}" for place, attr in asked if not stands_in_a_step(place)]
    assert outside == [], "write @step(NAME) above them, and tell tests/failpoints/phases.py which phase passes them"


def test_the_matrix_passes_every_step() -> None:
    """G7: a new step fails here until a phase of the matrix passes it."""
    registered = {point.partition(":")[0] for point in failpoints.points()}
    assert {step for phase in PHASES for step in phase.steps} == registered
    for phase in PHASES:
        assert len(set(phase.steps)) == len(phase.steps)


def test_points_are_told_apart() -> None:
    assert len(list(failpoints.points())) == len(set(failpoints.points()))
    with pytest.raises(ValueError, match="two steps are named claim"):
        failpoints.step("claim")(lambda: None)


def run(program: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run it in a Python of its own."""
    return subprocess.run(
        [sys.executable, "-c", program], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


NOTHING_LEFT = """
import gc, types
from tests.failpoints.phases import import_everything
from syncd import failpoints

import_everything()
async def some() -> None: ...
for decorate in (failpoints.step("a"), failpoints.unit("b"), failpoints.commits(lambda: [])):
    assert decorate(some) is some
functions = [one for one in gc.get_objects() if isinstance(one, types.FunctionType)]
ours = [one for one in functions if one.__code__.co_filename == failpoints.__file__]
print(sum(hasattr(one, "__wrapped__") for one in ours))
"""


def test_nothing_is_left_of_a_step_without_the_variable() -> None:
    """The functions are the very ones that were written; with the variable, each of them is wrapped."""
    assert run(NOTHING_LEFT).stdout == "0\n"
    with_it = run(NOTHING_LEFT.replace("assert decorate", "decorate"), SYNCD_FAILPOINTS="claim:before=kill")
    assert int(with_it.stdout) >= len({point.partition(":")[0] for point in failpoints.points()})


@on_sqlite
async def test_a_switched_on_failpoint_and_a_misspelt_one_are_told(world: World) -> None:
    world.configure()
    await world.bridge.start(SYNCD_FAILPOINTS="clame:committed=kill,finish:after=kill@99")
    await world.contact_says("hello")
    await world.check()
    (told,) = world.bridge.events("daemon.failpoints")
    assert told["level"] == "warning"
    assert told["points"] == "clame:committed=kill,finish:after=kill@99"
    assert told["mistakes"] == ["SYNCD_FAILPOINTS: there is no failpoint clame:committed"]


@on_sqlite
@pytest.mark.parametrize("asked", ["claim:before=explode", "claim:before=kill@twice", "claim:before"])
async def test_an_action_that_there_is_none_of_ends_the_daemon_and_is_told(world: World, asked: str) -> None:
    world.configure()
    world.tolerated.add("daemon.failed")
    await world.bridge.spawn(SYNCD_FAILPOINTS=asked)
    assert await world.bridge.ended() == 1
    (told,) = world.bridge.events("daemon.failed")
    assert f"{asked}: write STEP:POSITION=kill" in told["reason"]
