"""`syncd run`: the daemon."""

from __future__ import annotations

from syncd import log
from syncd.cli.outcome import DONE, UNREACHABLE, Failure
from syncd.cli.output import Output
from syncd.config import Config
from syncd.daemon import lifecycle


def command(config: Config, out: Output) -> int:
    """Run until a signal; then everything in flight is recorded."""
    log.configure(
        config.log.format,
        config.log.level,
        config.secrets(),
        bodies=config.log.bodies,
    )
    logger = log.get()
    # Whoever reads the log reads of the end there too, in the same form.
    out.teller = lambda message: logger.error("daemon.failed", reason=message)
    for warning in config.warnings:
        logger.warning("config.warning", key=warning.path, advice=warning.message)
    try:
        lifecycle.run(config)
    except lifecycle.NotListening as error:
        raise Failure(UNREACHABLE, str(error)) from error
    out.show({"state": "stopped"}, lambda _: None)
    return DONE
