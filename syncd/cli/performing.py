"""Runs one command, and turns whatever goes wrong into a line and an exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from syncd.cli.outcome import CONFIGURATION, FAILED, UNREACHABLE, Failure
from syncd.cli.output import Output

if TYPE_CHECKING:
    from syncd.config import Config, ConfigError


def perform(do: Callable[[Output], int], *, as_json: bool) -> int:
    """Do it; the exit code. Never raises."""
    out = Output(as_json=as_json)
    try:
        return do(out)
    except KeyboardInterrupt:
        return _failed(out, FAILED, "interrupted")
    except Exception as error:
        return _fault(out, error)


def perform_with_config(do: Callable[[Config, Output], int], path: Path | None, *, as_json: bool) -> int:
    """Load the config, keep its secrets out of every output, then do it; the exit code. Never raises."""

    def configured(out: Output) -> int:
        from syncd import log
        from syncd.config import load

        config = load(path)
        out.hide(config.secrets())
        out.debug = config.log.level == "debug"
        log.configure("auto", "warning", config.secrets())
        return do(config, out)

    return perform(configured, as_json=as_json)


def _fault(out: Output, error: BaseException) -> int:
    from syncd.config import ConfigError
    from syncd.store.database import DatabaseError
    from syncd.store.writer import StoreUnavailable

    while isinstance(error, BaseExceptionGroup):
        # One component's fault ends them all: the first is the one to tell of.
        error = error.exceptions[0]
    if isinstance(error, ConfigError):
        return _misconfigured(out, error)
    if isinstance(error, Failure):
        return _failed(out, error.code, str(error))
    if isinstance(error, DatabaseError):
        return _failed(out, UNREACHABLE, str(error))
    if isinstance(error, StoreUnavailable):
        return _failed(out, UNREACHABLE, f"the database does not answer: {error}")
    out.trace()
    return _failed(out, FAILED, f"{type(error).__name__}: {error}")


def _failed(out: Output, code: int, message: str) -> int:
    out.tell(f"syncd: {message}" if out.teller is None else message)
    out.failed(message)
    return code


def _misconfigured(out: Output, error: ConfigError) -> int:
    for problem in error.problems:
        place = problem.path or (str(error.file) if error.file else "")
        out.tell(f"{place}: {problem.message}" if place else problem.message)
    out.refused([(problem.path, problem.message) for problem in error.problems])
    return CONFIGURATION
