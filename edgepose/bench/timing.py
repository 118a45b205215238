"""Timing several things fairly: warm-up, then shuffled rounds in which each has its turn.

Machines drift: they heat up, clock down, and are shared. Timing one thing to the end and then the
next compares two moments. Here every round visits all cells in a new random order, so that drift
hits all alike, and ratios are taken within rounds (:func:`edgepose.bench.statistics.paired_ratio`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Cell", "Samples", "Schedule", "measure"]

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """One thing to time.

    Attributes:
        name: Key of its samples.
        call: Does the work once, to its end (a GPU's work included).
    """

    name: str
    call: Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How often each cell is called.

    Attributes:
        rounds: Rounds; each visits every cell once.
        calls: Timed calls a visit.
        untimed: Calls before them in each visit, which bring caches and thread pools back to this
            cell's state.
        pause_s: Sleep before each visit, in which the last cell's spinning threads go to sleep.
        warmup: Calls of each cell before the first round.
        seed: Of the order of visits.
    """

    rounds: int = 15
    calls: int = 4
    untimed: int = 1
    pause_s: float = 0.02
    warmup: int = 3
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with the rule in words."""
        return asdict(self) | {
            "order": "every round visits all cells in a new random order",
            "clock": "perf_counter_ns around one call",
        }


def measure(
    cells: Sequence[Cell],
    schedule: Schedule,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Samples]:
    """Time all cells.

    Args:
        cells: Their names must differ.
        schedule: How often.
        progress: Called with (visits done, visits in all).

    Returns:
        Name -> (rounds, calls) milliseconds, in the order they were taken.

    Raises:
        ValueError: Two cells share a name.
    """
    if len({cell.name for cell in cells}) != len(cells):
        raise ValueError("two cells share a name")
    samples = {cell.name: np.zeros((schedule.rounds, schedule.calls)) for cell in cells}
    for cell in cells:
        for _ in range(schedule.warmup):
            cell.call()
    order = list(cells)
    shuffle = random.Random(schedule.seed).shuffle  # noqa: S311 - an order of visits, no secret
    total = schedule.rounds * len(cells)
    done = 0
    for row in range(schedule.rounds):
        shuffle(order)
        for cell in order:
            time.sleep(schedule.pause_s)
            for _ in range(schedule.untimed):
                cell.call()
            for column in range(schedule.calls):
                start = time.perf_counter_ns()
                cell.call()
                samples[cell.name][row, column] = (time.perf_counter_ns() - start) / 1e6
            done += 1
            if progress is not None:
                progress(done, total)
    return samples
