"""Checking one table against its model, with every mistake told in our words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from syncd.config.problems import Loc, Problem, advice, dotted
from syncd.secrets import Secret

M = TypeVar("M", bound=BaseModel)


def keys_of(*models: type[BaseModel]) -> tuple[str, ...]:
    """The keys that tables of these models may have, as they are written in the file."""
    return tuple(field.alias or name for model in models for name, field in model.model_fields.items())


def unknown_key(loc: Loc, known: Iterable[str]) -> Problem:
    """The mistake of a key that nothing reads, with the nearest that something does."""
    near = difflib.get_close_matches(str(loc[-1]), list(known), 1)
    return Problem(dotted(loc), f"unknown key: did you mean {near[0]}?" if near else "unknown key: remove it")


def checked(model: type[M], table: Any, loc: Loc, folder: Path, problems: list[Problem]) -> M | None:
    """The table as its model. None where it has mistakes, which are added to `problems`.

    Unknown keys are mistakes whatever the model says of them, so that no plug-in can let one pass.
    """
    if not isinstance(table, dict):
        problems.append(Problem(dotted(loc), "must be a table"))
        return None
    known = keys_of(model)
    strange = [unknown_key((*loc, key), known) for key in table if key not in known]
    problems.extend(strange)
    rest = {key: value for key, value in table.items() if key in known}
    try:
        settings = model.model_validate(rest, context={"folder": folder})
    except ValidationError as error:
        problems.extend(_told(error, rest, loc))
        return None
    return None if strange else settings


def _told(error: ValidationError, table: dict[str, Any], loc: Loc) -> Iterator[Problem]:
    """One problem a place. Of the branches of a union the deepest is told: it is the one that was meant."""
    places: dict[Loc, dict[str, bool]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        if detail["type"] == "default_factory_not_called":
            continue  # follows from another mistake
        place = in_file(detail["loc"], table)
        places.setdefault(place, {})[advice(detail)] = detail["type"] == "value_error"
    for place, messages in places.items():
        if any(len(other) > len(place) and other[: len(place)] == place for other in places if place):
            continue
        precise = [message for message, written_for_it in messages.items() if written_for_it]
        yield Problem(dotted((*loc, *place)), "; ".join(precise or messages))


def in_file(loc: Loc, table: Any) -> Loc:
    """`loc` without the steps that models add (unions, a list made of one value): what the file has or misses."""
    steps: list[str | int] = []
    node = table
    for step in loc:
        if isinstance(node, Mapping):
            steps.append(step)
            node = node.get(step)
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            steps.append(step)
            node = node[step]
    return tuple(steps)


def secrets_in(value: Any, loc: Loc = ()) -> Iterator[tuple[Loc, Secret]]:
    """Every secret in a model, at any depth, and where it stands."""
    if isinstance(value, Secret):
        yield loc, value
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from secrets_in(getattr(value, name), (*loc, field.alias or name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from secrets_in(item, (*loc, str(key)))
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            yield from secrets_in(item, (*loc, index))
