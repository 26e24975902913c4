"""What is measured in a round, what several rounds come to, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import median

from load import Times
from sink import Arrival


@dataclass(frozen=True, slots=True)
class Figures:
    """One round, or the medians of several. Times in milliseconds unless said otherwise."""

    rate: float
    """Messages a second, from the first post to the last arrival."""
    ack_p50: float
    ack_p99: float
    deliver_p50: float
    """From writing the post to the target's having carried it out."""
    deliver_p99: float
    tail: float
    """From the last acknowledgement to the last arrival; 0 where that came first."""
    cpu: float
    """Seconds of CPU per 1,000 messages, all threads."""
    loop_cpu: float
    """Of these, the event loop's."""
    rss: float
    """MiB of memory at the end."""
    grown: float
    """KiB of memory more per 1,000 messages."""
    load_cpu: float
    """Seconds of CPU per 1,000 messages of the load and the sink together."""
    others: float
    """Processors that all other processes of the machine kept busy meanwhile (a PostgreSQL server is one of them)."""
    opened: float
    """Seconds that it took to open all sessions, one message each, before the clock started."""
    commits: float
    """Commits a message; 0 for the floor."""
    units: float
    """Units of work a commit."""

    @classmethod
    def median(cls, rounds: Sequence[Figures]) -> Figures:
        """Of each figure on its own."""
        return cls(*(median(getattr(one, field.name) for one in rounds) for field in fields(cls)))


@dataclass(frozen=True, slots=True)
class Latencies:
    """The times of one round."""

    seconds: float
    ack_p50: float
    ack_p99: float
    deliver_p50: float
    deliver_p99: float
    tail: float

    @classmethod
    def of(cls, times: Times, texts: Sequence[str], arrivals: Sequence[Arrival]) -> Latencies:
        """`texts` of the posts, in their order."""
        posted: dict[str, float] = {}
        for text, at in zip(texts, times.posted, strict=True):
            posted.setdefault(text, at)
        delivered = [arrival.at - posted[arrival.text] for arrival in arrivals if arrival.text in posted]
        last = max(arrival.at for arrival in arrivals)
        return cls(
            seconds=last - min(times.posted),
            ack_p50=percentile(times.waits, 50) * 1000,
            ack_p99=percentile(times.waits, 99) * 1000,
            deliver_p50=percentile(delivered, 50) * 1000,
            deliver_p99=percentile(delivered, 99) * 1000,
            tail=max(0.0, last - max(times.acknowledged)) * 1000,
        )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


ROWS: tuple[tuple[str, str, str], ...] = (
    ("messages a second", "rate", ",.0f"),
    ("acknowledged p50, ms", "ack_p50", ".1f"),
    ("acknowledged p99, ms", "ack_p99", ".1f"),
    ("delivered p50, ms", "deliver_p50", ".1f"),
    ("delivered p99, ms", "deliver_p99", ".1f"),
    ("last acknowledgement to last arrival, ms", "tail", ",.0f"),
    ("CPU seconds per 1,000", "cpu", ".3f"),
    ("of it the event loop", "loop_cpu", ".3f"),
    ("load's and sink's CPU seconds per 1,000", "load_cpu", ".3f"),
    ("processors busy with anything else", "others", ".2f"),
    ("memory, MiB", "rss", ".0f"),
    ("memory more per 1,000, KiB", "grown", ",.0f"),
    ("opening all sessions, s", "opened", ".2f"),
    ("commits a message", "commits", ".3f"),
    ("units a commit", "units", ".1f"),
)
_NOT_OF_THE_FLOOR = ("commits", "units")


def table(columns: dict[str, Figures], ratios: dict[str, float], *, markdown: bool) -> str:
    """A column for the floor and one for each database; `ratios` by column, of the floor's rate."""
    heads = ["", *columns]
    rows = [["ratio to the floor", *(f"{ratios[name]:.2f}" if name in ratios else "1" for name in columns)]]
    for label, name, form in ROWS:
        cells = [
            "" if column not in ratios and name in _NOT_OF_THE_FLOOR else format(getattr(figures, name), form)
            for column, figures in columns.items()
        ]
        rows.append([label, *cells])
    widths = [max(len(row[place]) for row in [heads, *rows]) for place in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |" if markdown else "  ".join(padded)

    rule = [line(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])] if markdown else []
    return "\n".join([line(heads), *rule, *(line(row) for row in rows)])
