"""The simulated platforms as scenarios use them: each tells which webhook it posted last."""

from __future__ import annotations

import asyncio

from syncd.simulators.base import Hook, Simulator
from syncd.simulators.bird import BirdSimulator
from syncd.simulators.islash import ISlashSimulator
from syncd.simulators.ringotel import RingotelSimulator


class _Watched(Simulator):
    """Remembers the webhook posted last, so that its acknowledgement can be waited for."""

    posted: asyncio.Task[None] | None = None

    def emit(self, hook: Hook, *, delay: float = 0.0, copies: int = 1) -> asyncio.Task[None]:
        self.posted = super().emit(hook, delay=delay, copies=copies)
        return self.posted


class Ringotel(_Watched, RingotelSimulator):
    """See `RingotelSimulator`."""


class Bird(_Watched, BirdSimulator):
    """See `BirdSimulator`."""


class ISlash(_Watched, ISlashSimulator):
    """See `ISlashSimulator`."""
