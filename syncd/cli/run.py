"""`syncd run`: the daemon."""

from __future__ import annotations

from syncd import log
from syncd.cli.outcome import DONE, UNREACHABLE, Failure
from syncd.cli.output import Output
from syncd.config import Config
from syncd.daemon import lifecycle


def command(config: Config, out: Output) -> int:
    """Run until SIGTERM or SIGINT; then everything in flight is recorded. SIGHUP: read the config again."""
    known = dict.fromkeys(config.secrets())

    def use(changed: Config) -> None:
        # An old secret stays one: answers in flight and rows in tables may hold it.
        known.update(dict.fromkeys(changed.secrets()))
        out.hide(known)
        log.configure(changed.log.format, changed.log.level, known, bodies=changed.log.bodies)

    use(config)
    logger = log.get()
    # Whoever reads the log reads of the end there too, in the same form.
    out.teller = lambda message: logger.error("daemon.failed", reason=message)
    for warning in config.warnings:
        logger.warning("config.warning", key=warning.path, advice=warning.message)
    try:
        lifecycle.run(config, use)
    except lifecycle.NotListening as error:
        raise Failure(UNREACHABLE, str(error)) from error
    out.show({"state": "stopped"}, lambda _: None)
    return DONE
