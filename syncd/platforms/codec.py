"""JSON in and out without losing anything: long ids, NUL, lone surrogates (which strict decoders refuse)."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode `body` as the decoder's type. Raises `ValueError` (not JSON) or `msgspec.ValidationError` (other shape).

    Text with a lone surrogate escape is legal JSON (RFC 8259 §8.2) that msgspec refuses; the slow way takes it.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, RecursionError):
        return msgspec.convert(_slowly(body), type=decoder.type, strict=False)


def _slowly(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None


def encode(value: Any) -> bytes:
    """JSON bytes of plain values; lone surrogates leave as the escapes they came as."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")
