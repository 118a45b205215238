"""Timing several things fairly: warm-up, then shuffled rounds in which each has its turn.

Machines drift: they heat up, clock down, and are shared. Timing one thing to the end and then the
next compares two moments. Here every round visits all cells in a new random order, so that drift
hits all alike, and ratios are taken within rounds (:func:`edgepose.bench.statistics.paired_ratio`).
Cells that are to be compared with one another may form blocks: a round then visits block after
block, so that what is compared is as near in time as it can be.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgepose.bench.statistics import LEAST_ROUNDS
from edgepose.errors import EdgeposeError

__all__ = [
    "BENCH_ROUNDS",
    "Cell",
    "Conducted",
    "Interrupted",
    "Progress",
    "Samples",
    "Schedule",
    "Turn",
    "WarmUp",
    "conduct",
    "measure",
    "time_calls",
    "warm_up",
]

Samples = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]

# Rounds of ``edgepose bench`` where neither rounds nor a time are asked for.
BENCH_ROUNDS = 33
# How near the medians of two windows of warm-up calls must be.
STABLE_WITHIN = 0.02


class Turn(Protocol):
    """What has its turn in every round."""

    @property
    def key(self) -> Hashable:
        """Key of its samples."""
        ...

    def visit(self, calls: int, untimed: int) -> list[float]:
        """Milliseconds of each of ``calls`` calls, after ``untimed`` others.

        Raises:
            EdgeposeError: It failed; it gets no further turn.
        """
        ...


@dataclass(frozen=True)
class Cell:
    """One thing to time in this process.

    Attributes:
        name: Key of its samples.
        call: Does the work once, to its end (a GPU's work included).
    """

    name: str
    call: Callable[[], Any]

    @property
    def key(self) -> str:
        """Its name."""
        return self.name

    def visit(self, calls: int, untimed: int) -> list[float]:
        """See :class:`Turn`."""
        return time_calls(self.call, calls, untimed)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How often each cell is called.

    Attributes:
        rounds: Rounds; each visits every cell once. None where time alone decides.
        seconds: Time for all rounds together: none begins after it, but 6 are taken in any case
            (or ``rounds``, if those are fewer). The warm-up is not in it.
        calls: Timed calls a visit. What slows a visit down on a shared machine slows all of its
            calls (correlations of 0.7 to 0.9 were seen), so that a further round tells more than
            further calls; two of them show the jitter.
        untimed: Calls before them in each visit, which bring caches and thread pools back to this
            cell's state.
        pause_s: Sleep before each visit, in which the last cell's threads go to sleep. Those of a
            session with onnxruntime's defaults, which edgepose's is not, take 40 ms.
        warmup: Calls in each of the two windows that the warm-up compares; see :func:`warm_up`.
        max_warmup_s: Longest warm-up of a cell.
        seed: Of the order of visits.

    Raises:
        ValueError: Neither rounds nor seconds, or a number that makes no schedule.
    """

    rounds: int | None = 25
    seconds: float | None = None
    calls: int = 2
    untimed: int = 1
    pause_s: float = 0.02
    warmup: int = 3
    max_warmup_s: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounds is None and self.seconds is None:
            raise ValueError("a schedule without rounds and without seconds never ends")
        if min(self.calls, self.warmup, 1 if self.rounds is None else self.rounds) < 1:
            raise ValueError(f"{self} times nothing")

    def goes_on(self, rounds: int, elapsed_s: float) -> bool:
        """Whether another round begins after so many of them."""
        if self.rounds is not None and rounds >= self.rounds:
            return False
        return self.seconds is None or elapsed_s < self.seconds or rounds < LEAST_ROUNDS

    def expected_rounds(self, rounds: int, elapsed_s: float) -> int:
        """About how many rounds it will be, judged after so many of them."""
        if self.seconds is None or rounds == 0:
            return self.rounds or LEAST_ROUNDS
        fitting = max(LEAST_ROUNDS, rounds, round(rounds * self.seconds / max(elapsed_s, 1e-9)))
        return fitting if self.rounds is None else min(self.rounds, fitting)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with the rules in words."""
        return asdict(self) | {
            "order": "every round visits all cells in a new random order; where they form blocks, "
            "block after block",
            "clock": "perf_counter_ns around one call",
            "warm_up": (
                f"until the median of {self.warmup} calls is within {STABLE_WITHIN:.0%} of the "
                f"{self.warmup} before, for {self.max_warmup_s:g} s at most"
            ),
        }


@dataclass(frozen=True)
class WarmUp:
    """What a warm-up was.

    Attributes:
        calls: Calls made.
        stable: Whether times had settled when it ended.
        first_ms: Milliseconds of the first call.
    """

    calls: int
    stable: bool
    first_ms: float


@dataclass(frozen=True)
class Conducted:
    """What came of the rounds.

    Attributes:
        samples: Key -> (rounds, calls) milliseconds in the order they were taken, from the first
            round on. Who failed has the complete rounds before that, if there were any.
        failures: Key -> why it got no further turn.
        rounds: Rounds that are complete.
    """

    samples: dict[Hashable, Samples]
    failures: dict[Hashable, EdgeposeError]
    rounds: int


class Interrupted(KeyboardInterrupt):
    """Ctrl-C between the first round and the last; carries the rounds that are complete.

    Args:
        conducted: What was measured until then.
    """

    def __init__(self, conducted: Conducted) -> None:
        self.conducted = conducted
        super().__init__()


def time_calls(call: Callable[[], Any], calls: int, untimed: int = 0) -> list[float]:
    """Milliseconds of each of ``calls`` calls, after ``untimed`` others."""
    clock = time.perf_counter_ns
    taken = []
    for _ in range(untimed):
        call()
    for _ in range(calls):
        began = clock()
        call()
        taken.append(clock() - began)
    return [nanoseconds / 1e6 for nanoseconds in taken]


def warm_up(
    take: Callable[[], float],
    window: int,
    longest_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> WarmUp:
    """Call until times settle.

    That is, until the median of the last ``window`` calls is within 2 % of that of the ``window``
    before.

    Args:
        take: Makes a call and tells its milliseconds.
        window: Calls in a window; so many are made at least.
        longest_s: No call begins after so long.
        clock: Seconds.
    """
    end = clock() + longest_s
    taken: list[float] = []
    while True:
        taken.append(take())
        if len(taken) >= 2 * window:
            before = statistics.median(taken[-2 * window : -window])
            last = statistics.median(taken[-window:])
            if abs(last - before) <= STABLE_WITHIN * before:
                return WarmUp(len(taken), stable=True, first_ms=taken[0])
        if len(taken) >= window and clock() >= end:
            return WarmUp(len(taken), stable=False, first_ms=taken[0])


def conduct(
    turns: Sequence[Turn],
    schedule: Schedule,
    progress: Progress | None = None,
    block_of: Callable[[Hashable], Hashable] | None = None,
) -> Conducted:
    """Take the rounds over anything that can be visited. Whatever needs a warm-up has had it.

    Args:
        turns: Their keys must differ.
        schedule: How often.
        progress: Called with (visits done, visits in all), a guess where time decides.
        block_of: Block of a turn's key. Each round shuffles the blocks, and the turns in each; all
            turns are one block by default.

    Raises:
        Interrupted: Ctrl-C; a KeyboardInterrupt with what was measured until then.
        ValueError: Two turns share a key.
    """
    if len({turn.key for turn in turns}) != len(turns):
        raise ValueError("two cells share a name")
    rows: dict[Hashable, list[list[float]]] = {turn.key: [] for turn in turns}
    failures: dict[Hashable, EdgeposeError] = {}
    blocks: dict[Hashable, list[Turn]] = {}
    for turn in turns:
        blocks.setdefault(block_of(turn.key) if block_of else None, []).append(turn)
    shuffle = random.Random(schedule.seed).shuffle  # noqa: S311 - an order of visits, no secret
    done = total = rounds = 0
    began = time.monotonic()
    try:
        while len(failures) < len(turns) and schedule.goes_on(rounds, time.monotonic() - began):
            row: dict[Hashable, list[float]] = {}
            for turn in _order(blocks, failures, shuffle):
                time.sleep(schedule.pause_s)
                try:
                    row[turn.key] = turn.visit(schedule.calls, schedule.untimed)
                except EdgeposeError as error:
                    failures[turn.key] = error
                done += 1
                if progress is not None:
                    expected = schedule.expected_rounds(rounds, time.monotonic() - began)
                    total = max(done, expected * len(turns))
                    progress(done, total)
            for key, visit in row.items():
                rows[key].append(visit)
            rounds += 1
    except KeyboardInterrupt:
        raise Interrupted(_conducted(rows, failures, rounds)) from None
    if progress is not None and done < total:  # the guess was too high
        progress(done, done)
    return _conducted(rows, failures, rounds)


def measure(
    cells: Sequence[Cell],
    schedule: Schedule,
    progress: Progress | None = None,
) -> dict[str, Samples]:
    """Warm up and time cells of this process.

    Args:
        cells: Their names must differ.
        schedule: How often.
        progress: Called with (visits done, visits in all).

    Returns:
        Name -> (rounds, calls) milliseconds, in the order they were taken.

    Raises:
        EdgeposeError: A cell failed.
        ValueError: Two cells share a name.
    """
    if len({cell.name for cell in cells}) != len(cells):
        raise ValueError("two cells share a name")
    for cell in cells:
        warm_up(partial(_one, cell.call), schedule.warmup, schedule.max_warmup_s)
    conducted = conduct(cells, schedule, progress)
    for error in conducted.failures.values():
        raise error
    return {cell.name: conducted.samples[cell.name] for cell in cells}


def _order(
    blocks: Mapping[Hashable, list[Turn]],
    failed: Mapping[Hashable, EdgeposeError],
    shuffle: Callable[[list[Any]], None],
) -> list[Turn]:
    """The turns of a round: blocks in a new order, and each block's turns in a new order."""
    keys = list(blocks)
    shuffle(keys)
    order: list[Turn] = []
    for key in keys:
        shuffle(blocks[key])
        order += [turn for turn in blocks[key] if turn.key not in failed]
    return order


def _one(call: Callable[[], Any]) -> float:
    return time_calls(call, 1)[0]


def _conducted(
    rows: Mapping[Hashable, list[list[float]]],
    failures: dict[Hashable, EdgeposeError],
    rounds: int,
) -> Conducted:
    """Of complete rounds alone: Ctrl-C may have come while one was being put away."""
    samples = {
        key: np.array(visits[:rounds], np.float64)  # (rounds, calls)
        for key, visits in rows.items()
        if visits[:rounds]
    }
    return Conducted(samples, failures, rounds)
