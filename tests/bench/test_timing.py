from __future__ import annotations

import time

import numpy as np
import pytest

from edgepose.bench import Cell, Schedule, measure

QUICK = {"pause_s": 0.0, "warmup": 1}


def test_times_are_the_times_of_the_calls() -> None:
    cells = [Cell("short", lambda: time.sleep(0.002)), Cell("long", lambda: time.sleep(0.01))]
    samples = measure(cells, Schedule(rounds=4, calls=2, untimed=0, **QUICK))
    assert samples["short"].shape == (4, 2)
    # A sleep is never shorter than asked for; how much longer is the machine's affair.
    assert samples["short"].min() >= 2
    assert samples["long"].min() >= 10
    assert np.median(samples["short"]) < np.median(samples["long"])


def test_rounds_visit_every_cell_once_in_changing_order() -> None:
    calls: list[str] = []
    cells = [Cell(name, lambda name=name: calls.append(name)) for name in "abcd"]
    steps: list[tuple[int, int]] = []
    measure(
        cells,
        Schedule(rounds=6, calls=1, untimed=1, **QUICK),
        lambda done, total: steps.append((done, total)),
    )
    assert calls[:4] == list("abcd")  # warm-up
    visits = [calls[4:][start : start + 8 : 2] for start in range(0, 48, 8)]
    assert all(sorted(visit) == list("abcd") for visit in visits)
    assert len({tuple(visit) for visit in visits}) > 2
    assert steps[-1] == (24, 24)
    assert len(steps) == 24


def test_the_order_follows_the_seed() -> None:
    def order(seed: int) -> list[str]:
        calls: list[str] = []
        cells = [Cell(name, lambda name=name: calls.append(name)) for name in "abcdef"]
        measure(cells, Schedule(rounds=3, calls=1, untimed=0, seed=seed, **QUICK))
        return calls

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_equal_names_are_refused() -> None:
    with pytest.raises(ValueError, match="share a name"):
        measure([Cell("a", int), Cell("a", int)], Schedule())
