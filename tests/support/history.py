"""The history checker: what was said against what arrived, by what people and platforms saw and nothing else."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["lost", "doubled", "reordered", "looped", "leaked", "altered", "invented"]


@dataclass(frozen=True, slots=True)
class Lane:
    """One contact at one place: a user's chat or a channel."""

    target: str
    """`desk:EXTENSION` or the channel's name."""
    contact: str


@dataclass(frozen=True, slots=True)
class Said:
    """One message that a person said, and the lanes that it belongs to."""

    text: str
    origin: Lane
    targets: tuple[Lane, ...]
    in_doubt: frozenset[Lane] = frozenset()
    """Lanes in which the daemon does not know whether it arrived: it may be there or not, once."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """One copy that was put on a target."""

    lane: Lane
    text: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that a bridge must not do."""

    kind: Kind
    lane: Lane
    text: str

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= 60 else f"{self.text[:57]}…"
        return f"{self.kind} at {self.lane.target} for {self.lane.contact}: {shown!r}"


def faults(said: Iterable[Said], arrived: Iterable[Arrived]) -> list[Fault]:
    """Every fault, lane by lane. `said` is in the order of acknowledgement, `arrived` in the order of arrival.

    Copies carry nothing that tells one from another with the same text, so a lane is read like a text with typing
    errors: the fewest faults that explain it. Nothing is assumed about the daemon.

    kind       what it is
    ---------  -----------------------------------------------------------------
    lost       said, not in the lane
    doubled    in the lane more often than said
    reordered  in the lane, at the wrong place among the others
    looped     said in this very lane, and came back into it
    leaked     said, but not for this lane
    altered    in the place of a message that is missing, and said by nobody
    invented   said by nobody
    """
    expected: dict[Lane, list[tuple[str, bool]]] = defaultdict(list)
    spoken: dict[Lane, set[str]] = defaultdict(set)
    anywhere: set[str] = set()
    for message in said:
        anywhere.add(message.text)
        spoken[message.origin].add(message.text)
        for lane in message.targets:
            expected[lane].append((message.text, lane in message.in_doubt))
    found: dict[Lane, list[str]] = defaultdict(list)
    for copy in arrived:
        found[copy.lane].append(copy.text)
    told: list[Fault] = []
    for lane in dict.fromkeys((*expected, *found)):
        told += _faults_of(lane, expected[lane], found[lane], spoken[lane], anywhere)
    return told


def _faults_of(
    lane: Lane, expected: Sequence[tuple[str, bool]], found: Sequence[str], spoken: set[str], anywhere: set[str]
) -> list[Fault]:
    pairs = _aligned([text for text, _ in expected], found)
    kept, met = {i for i, _ in pairs}, {j for _, j in pairs}
    missing = [(i, *expected[i]) for i in range(len(expected)) if i not in kept]
    extra = [(j, found[j]) for j in range(len(found)) if j not in met]
    wanted = Counter(text for text, _ in expected)
    moved = Counter(text for _, text, _ in missing) & Counter(text for _, text in extra)
    told = [Fault("reordered", lane, text) for text in moved.elements()]
    missing = _without(missing, Counter(moved))
    strangers = []
    left = Counter(moved)
    for place, text in extra:
        if left[text]:
            left[text] -= 1
        elif text in wanted:
            told.append(Fault("doubled", lane, text))
        elif text in spoken:
            told.append(Fault("looped", lane, text))
        elif text in anywhere:
            told.append(Fault("leaked", lane, text))
        else:
            strangers.append((place, text))
    before = {j: i for i, j in pairs}
    for place, text in strangers:
        # The message that is missing between the same neighbours is what this was.
        last = max((before[j] for j in range(place) if j in before), default=-1)
        following = min((before[j] for j in range(place + 1, len(found)) if j in before), default=len(expected))
        at = next((n for n, (i, _, _) in enumerate(missing) if last < i < following), None)
        if at is None:
            told.append(Fault("invented", lane, text))
        else:
            told.append(Fault("altered", lane, missing.pop(at)[1]))
    told += [Fault("lost", lane, text) for _, text, in_doubt in missing if not in_doubt]
    return told


def _without(missing: list[tuple[int, str, bool]], moved: Counter[str]) -> list[tuple[int, str, bool]]:
    rest = []
    for one in missing:
        if moved[one[1]]:
            moved[one[1]] -= 1
        else:
            rest.append(one)
    return rest


def _aligned(one: Sequence[str], other: Sequence[str]) -> list[tuple[int, int]]:
    """Places of a longest common subsequence."""
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    a, b = one[start : len(one) - end], other[start : len(other) - end]
    length = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            same = a[i] == b[j]
            length[i][j] = length[i + 1][j + 1] + 1 if same else max(length[i + 1][j], length[i][j + 1])
    pairs = [(i, i) for i in range(start)]
    i = j = 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            pairs.append((start + i, start + j))
            i, j = i + 1, j + 1
        elif length[i + 1][j] >= length[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs + [(len(one) - k, len(other) - k) for k in range(end, 0, -1)]
