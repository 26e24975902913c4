"""Secrets: written in the config as references, held in memory, shown nowhere (G12)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import core_schema


class Secret:
    """A resolved secret. `str()` and `repr()` are masked; only `reveal()` gives the text.

    `literal` is true where the config holds the secret itself instead of a reference (works, and warns).
    """

    __slots__ = ("_text", "literal", "source")

    def __init__(self, text: str, *, source: str = "literal") -> None:
        self._text = text
        self.source = source
        self.literal = source == "literal"

    def reveal(self) -> str:
        """The secret itself. Keep it out of logs, errors, tables and outputs."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({self.source})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def validate(value: Any, info: core_schema.ValidationInfo) -> Secret:
            if isinstance(value, Secret):
                return value
            if not isinstance(value, str):
                raise ValueError("write a secret as text: env:NAME, file:PATH or cred:NAME")
            folder = (info.context or {}).get("folder", Path())
            return resolve(value, folder)

        return core_schema.with_info_plain_validator_function(
            validate, serialization=core_schema.to_string_ser_schema()
        )


def _one_or_many(value: Any, handler: ValidatorFunctionWrapHandler) -> tuple[Secret, ...]:
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError("the list is empty: give at least one")
        several: tuple[Secret, ...] = handler(value)
        return several
    try:
        one: tuple[Secret, ...] = handler([value])
    except ValidationError as error:
        # Named like the key in the file, which is no list: `api_key`, not `api_key.0`.
        first = error.errors()[0]
        raise ValueError(str(first.get("ctx", {}).get("error", first["msg"]))) from None
    return one


OneOrMany = Annotated[tuple[Secret, ...], WrapValidator(_one_or_many)]
"""One secret or a list, never empty: the first is used, any is accepted (the old one during a rotation)."""


def resolve(reference: str, folder: Path) -> Secret:
    """Read a secret reference (design §4). Relative `file:` paths are relative to `folder`.

    Raises `ValueError` saying what to do; the text never holds the secret.
    """
    kind, colon, name = reference.partition(":")
    if not colon or kind not in ("env", "file", "cred"):
        return _filled(reference, "literal", "the secret is empty")
    if kind == "env":
        return _filled(os.environ.get(name, ""), reference, f"set the environment variable {name}")
    if kind == "cred":
        base = os.environ.get("CREDENTIALS_DIRECTORY")
        if not base:
            raise ValueError(f"{reference}: no CREDENTIALS_DIRECTORY; add LoadCredential={name}:… to the systemd unit")
        path = Path(base) / name
    else:
        path = folder / name
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ValueError(f"{reference}: cannot read {path}: {why}") from None
    return _filled(text.removesuffix("\n").removesuffix("\r"), reference, f"put the secret into {path}")


def _filled(text: str, source: str, advice: str) -> Secret:
    if not text.strip():
        raise ValueError(advice if source == "literal" else f"{source} is empty: {advice}")
    return Secret(text, source=source)
