"""What became of all that was said, as text for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from tests.support.history import Kind

KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of one daemon, in MiB."""

    daemon: str
    begin: float
    """Of the first process, when it was ready."""
    end: float
    """Of the last one, when all was settled."""
    most: float

    def __str__(self) -> str:
        return f"{self.daemon}, MiB: {self.begin:.0f} at first, {self.end:.0f} at the end, {self.most:.0f} at most"


@dataclass(frozen=True, slots=True)
class Held:
    """One delivery that the daemons list as `unknown`."""

    id: str
    lane: str
    reason: str


@dataclass(slots=True)
class Report:
    """One soak on one database."""

    database: str
    processes: int
    seed: int
    seconds: float
    said: int = 0
    arrived: int = 0
    kills: int = 0
    stops: int = 0
    restarts: int = 0
    mischief: dict[str, int] = field(default_factory=dict)
    """How often each kind of mischief was begun."""
    injected: dict[str, int] = field(default_factory=dict)
    """Calls that a platform answered otherwise than well."""
    odd_webhooks: dict[str, int] = field(default_factory=dict)
    offered: int = 0
    """Webhooks posted, repetitions included."""
    answers: dict[str, int] = field(default_factory=dict)
    """Of these by HTTP status; 0: no answer."""
    faults: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    """By the history checker."""
    unknown: list[Held] = field(default_factory=list)
    notices: int = 0
    ready_after: dict[str, float] = field(default_factory=dict)
    """Seconds from start to ready: least, middle and most."""
    settled_after: float = 0.0
    """Seconds from the end of the storm until nothing was left to do."""
    memory: list[Memory] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """All that must not be, in words."""

    @property
    def passed(self) -> bool:
        """Nothing is wrong."""
        return not self.wrong

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"passed": self.passed}

    def text(self) -> str:
        """For people."""
        lines = [
            f"{self.database}, {self.processes} process{'es' if self.processes > 1 else ''}, seed {self.seed}, "
            f"{self.seconds:.0f} s: {'passed' if self.passed else 'FAILED'}",
            f"  said {self.said}, copies arrived {self.arrived}, unknown {len(self.unknown)}, notices {self.notices}",
            f"  {_counts(self.faults)}",
            f"  kills {self.kills}, stops {self.stops}, restarts {self.restarts}; mischief: {_counts(self.mischief)}",
            f"  platforms: {_counts(self.injected)}",
            f"  webhooks {self.offered}: {_counts(self.answers)}; {_counts(self.odd_webhooks)}",
            f"  ready after s: {_counts(self.ready_after)}; settled after {self.settled_after:.0f} s",
        ]
        lines += [f"  memory of {one}" for one in self.memory]
        lines += [f"  unknown: {one.lane}: {one.reason} ({one.id})" for one in self.unknown]
        lines += [f"  WRONG: {one}" for one in self.wrong]
        return "\n".join(lines)


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count:g}" for name, count in counts.items()) or "none"
