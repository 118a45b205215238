from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from edgepose.bench import Cell, Schedule, measure
from edgepose.bench.timing import Interrupted, conduct, time_calls, warm_up
from edgepose.errors import DeviceError, EdgeposeError

QUICK = {"pause_s": 0.0, "warmup": 1, "max_warmup_s": 0.0}


@dataclass
class Scripted:
    """A turn whose visits are written down beforehand; an error is raised."""

    key: str
    script: Iterator[list[float] | BaseException]
    asked: list[tuple[int, int]] = field(default_factory=list)

    def visit(self, calls: int, untimed: int) -> list[float]:
        self.asked.append((calls, untimed))
        step = next(self.script)
        if isinstance(step, BaseException):
            raise step
        return step


def rows(*values: float) -> Iterator[list[float] | BaseException]:
    return iter([[value, value] for value in values])


def test_times_are_the_times_of_the_calls() -> None:
    taken: dict[str, list[float]] = {"short": [], "long": []}

    def nap(name: str, seconds: float) -> None:
        began = time.perf_counter()
        time.sleep(seconds)
        taken[name].append((time.perf_counter() - began) * 1e3)

    cells = [Cell("short", lambda: nap("short", 0.002)), Cell("long", lambda: nap("long", 0.01))]
    schedule = Schedule(rounds=4, calls=2, untimed=0, **QUICK)
    began = time.perf_counter()
    samples = measure(cells, schedule)
    elapsed = (time.perf_counter() - began) * 1e3
    assert samples["short"].shape == (4, 2)
    # What a call took by its own clock is in its sample, and all samples are in the whole.
    for name, values in taken.items():
        assert (samples[name].ravel() >= np.array(values[-8:])).all()
    assert sum(rows.sum() for rows in samples.values()) <= elapsed


def test_untimed_calls_come_first_and_do_not_count() -> None:
    calls: list[int] = []
    taken = time_calls(lambda: calls.append(1) or time.sleep(0.003 * (len(calls) > 2)), 2, 2)
    assert len(calls) == 4
    assert min(taken) >= 3


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
    with pytest.raises(ValueError, match="share a name"):
        conduct([Cell("a", int), Cell("a", int)], Schedule())


def test_a_schedule_must_end_and_time_something() -> None:
    with pytest.raises(ValueError, match="never ends"):
        Schedule(rounds=None)
    with pytest.raises(ValueError, match="times nothing"):
        Schedule(calls=0)


def test_the_schedule_says_its_rules() -> None:
    told = Schedule(warmup=7, max_warmup_s=1.5).to_dict()
    assert "median of 7 calls is within 2% of the 7 before, for 1.5 s at most" in told["warm_up"]


def test_the_earlier_of_rounds_and_seconds_ends_it_but_six_rounds_are_taken() -> None:
    both = Schedule(rounds=20, seconds=10)
    assert both.goes_on(19, 9.9)
    assert not both.goes_on(20, 9.9)
    assert not both.goes_on(19, 10.1)
    assert both.goes_on(5, 1000.0)
    assert not both.goes_on(6, 1000.0)
    assert not Schedule(rounds=3, seconds=10).goes_on(3, 0.0)
    assert Schedule(rounds=None, seconds=10).goes_on(10**6, 9.9)


def test_a_limit_of_time_is_kept_and_progress_ends_at_its_total() -> None:
    cells = [Cell("a", lambda: time.sleep(0.01))]
    steps: list[tuple[int, int]] = []
    began = time.monotonic()
    conducted = conduct(
        cells,
        Schedule(rounds=None, seconds=0.2, calls=1, untimed=0, **QUICK),
        lambda done, total: steps.append((done, total)),
    )
    assert time.monotonic() - began >= 0.2
    # No round begins after the time: at 10 ms each there cannot be more than twenty.
    assert 6 <= conducted.rounds <= 20
    assert len(conducted.samples["a"]) == conducted.rounds
    assert steps[-1][0] == steps[-1][1] == conducted.rounds
    assert all(done <= total for done, total in steps)


def test_what_fails_is_dropped_and_the_others_go_on() -> None:
    error = DeviceError("out of memory")
    good = Scripted("good", rows(1, 2, 3, 4))
    bad = Scripted("bad", iter([[1.0, 1.0], error]))
    conducted = conduct([bad, good], Schedule(rounds=4, calls=2, untimed=1, pause_s=0))
    assert conducted.failures == {"bad": error}
    assert conducted.samples["good"].tolist() == [[1, 1], [2, 2], [3, 3], [4, 4]]
    assert conducted.samples["bad"].tolist() == [[1, 1]]  # the round before it failed
    assert good.asked == [(2, 1)] * 4
    assert len(bad.asked) == 2


def test_where_all_fail_it_ends() -> None:
    bad = Scripted("bad", iter([EdgeposeError("no")]))
    conducted = conduct([bad], Schedule(rounds=10, pause_s=0))
    assert conducted.samples == {}
    assert len(bad.asked) == 1


def test_a_failing_cell_of_this_process_is_an_error() -> None:
    calls = iter(range(100))

    def call() -> None:
        if next(calls) > 2:
            raise DeviceError("lost")

    with pytest.raises(DeviceError, match="lost"):
        measure([Cell("a", call)], Schedule(rounds=3, **QUICK))


def test_ctrl_c_keeps_the_complete_rounds() -> None:
    first = Scripted("first", rows(1, 2, 3, 4))
    second = Scripted("second", iter([[5.0, 5.0], [6.0, 6.0], KeyboardInterrupt()]))
    with pytest.raises(KeyboardInterrupt) as caught:
        conduct([first, second], Schedule(rounds=4, calls=2, pause_s=0))
    assert isinstance(caught.value, Interrupted)
    conducted = caught.value.conducted
    assert conducted.rounds == 2
    assert conducted.samples["first"].tolist() == [[1, 1], [2, 2]]
    assert conducted.samples["second"].tolist() == [[5, 5], [6, 6]]


def test_a_warm_up_lasts_until_times_settle() -> None:
    times = iter([90.0, 70, 50, 30, 20, 15, 12, 10.3, 10.2, 10.1, 10.0, 10.0, 10.0])
    warmed = warm_up(lambda: next(times), window=3, longest_s=3600)
    assert warmed.stable
    # 12 10.3 10.2 | 10.1 10 10: medians 3 % apart; then 10.3 10.2 10.1 | 10 10 10: 2 %.
    assert warmed.calls == 13
    assert warmed.first_ms == 90


def test_a_warm_up_that_never_settles_ends_and_says_so() -> None:
    now = iter(range(100))
    restless = iter([1.0, 2.0] * 50)
    warmed = warm_up(lambda: next(restless), window=1, longest_s=5, clock=lambda: next(now))
    assert not warmed.stable
    assert warmed.calls == 5


def test_a_window_of_calls_is_made_even_without_time() -> None:
    assert warm_up(lambda: 1.0, window=4, longest_s=0).calls == 4


def test_blocks_are_shuffled_and_stay_together() -> None:
    log: list[str] = []
    cells = [Cell(a + b, lambda a=a, b=b: log.append(a + b)) for a in "xyz" for b in "123"]
    schedule = Schedule(rounds=12, calls=1, untimed=0, **QUICK)
    conduct(cells, schedule, block_of=lambda key: str(key)[1])
    rounds = [log[start : start + 9] for start in range(0, 108, 9)]
    blocks = [[r[at : at + 3] for at in (0, 3, 6)] for r in rounds]
    for one in blocks:
        for block in one:
            assert len({name[1] for name in block}) == 1
            assert sorted(name[0] for name in block) == list("xyz")
    assert len({tuple(block[0][1] for block in one) for one in blocks}) > 2
    assert len({tuple(name[0] for name in block) for one in blocks for block in one}) > 3


def test_what_fails_in_the_first_round_has_no_samples() -> None:
    good, bad = Scripted("good", rows(1, 2)), Scripted("bad", iter([DeviceError("no")]))
    conducted = conduct([bad, good], Schedule(rounds=2, pause_s=0))
    assert set(conducted.samples) == {"good"}
    assert set(conducted.failures) == {"bad"}
