from __future__ import annotations

import multiprocessing
import os
import threading
import time

import cv2
import numpy as np
import pytest

from edgepose import parallel
from edgepose.parallel import for_each_row, thread_environment

MANY = 1e9  # pixels: always worth a second thread


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(parallel, "_warps_on_its_own_threads", lambda: False)
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    yield
    cv2.setNumThreads(before)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("pixels", [1, MANY])
def test_every_row_once(count: int, pixels: float) -> None:
    done = np.zeros(count, int)

    def work(row: int) -> None:
        done[row] += 1

    for_each_row(work, count, pixels)
    assert (done == 1).all()


def test_rows_are_shared() -> None:
    met = threading.Barrier(3, timeout=30)  # passed only if three threads are at work at once
    for_each_row(lambda row: met.wait() and None, 3, MANY)


@pytest.mark.parametrize(("allowed", "pixels"), [(1, MANY), (3, 1000)])
def test_one_thread_where_it_is_asked_for_or_not_worth_more(allowed: int, pixels: float) -> None:
    cv2.setNumThreads(allowed)
    seen: set[int] = set()
    for_each_row(lambda row: seen.add(threading.get_ident()), 20, pixels)
    assert seen == {threading.get_ident()}


@pytest.mark.parametrize(("version", "others"), [("4.13.0", True), ("5.0.0", False)])
def test_an_opencv_that_threads_by_itself_is_left_to_it(
    version: str, others: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(cv2, "__version__", version)
    parallel._warps_on_its_own_threads.cache_clear()
    seen: set[int] = set()
    for_each_row(lambda row: time.sleep(0.01) or seen.add(threading.get_ident()), 20, MANY)
    parallel._warps_on_its_own_threads.cache_clear()
    assert (seen != {threading.get_ident()}) is others


@pytest.mark.parametrize("bad", range(5))
def test_an_error_of_any_row_is_raised_and_nobody_works_on(bad: int) -> None:
    running = []

    def work(row: int) -> None:
        running.append(row)
        time.sleep(0.005)
        if row == bad:
            running.remove(row)
            raise ValueError(f"row {row}")
        running.remove(row)

    with pytest.raises(ValueError, match=f"row {bad}"):
        for_each_row(work, 5, MANY)
    assert running == []


def test_calls_from_several_threads_do_not_wait_for_each_other() -> None:
    """All helpers may be busy with somebody else: the caller then does its rows alone."""
    hold = threading.Event()
    workers = [
        threading.Thread(target=for_each_row, args=(lambda row: hold.wait(30), 3, MANY))
        for _ in range((os.cpu_count() or 1) + 1)
    ]
    for worker in workers:
        worker.start()
    done: list[int] = []
    for_each_row(done.append, 4, MANY)
    hold.set()
    for worker in workers:
        worker.join(30)
    assert sorted(done) == [0, 1, 2, 3]


def _sum_in_child(results: object) -> None:
    done: list[int] = []
    for_each_row(done.append, 6, MANY)
    results.put(sorted(done))  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own() -> None:
    for_each_row(lambda row: None, 6, MANY)  # the parent's pool exists
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_sum_in_child, args=(results,))
    child.start()
    assert results.get(timeout=30) == list(range(6))
    child.join(30)
    assert child.exitcode == 0


def test_threads_are_the_same_for_all_libraries() -> None:
    given = thread_environment(3)
    assert {value for name, value in given.items() if name.endswith("_NUM_THREADS")} == {"3"}
    assert given["BLIS_NUM_THREADS"] == given["VECLIB_MAXIMUM_THREADS"] == "3"
    assert thread_environment(None) == dict(os.environ)
