"""Threads: of rows in a batch, for OpenCV and numpy leave Python's lock; and of libraries."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["for_each_row", "thread_environment"]

# How many threads OpenMP and the BLAS libraries start.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

# Pixels below which waking a thread costs more than it saves (some 0.5 ms of work).
_LEAST_PIXELS = 500_000


def thread_environment(threads: int | None) -> dict[str, str]:
    """The environment of a process whose libraries start so many threads.

    Args:
        threads: How many; None leaves it to each library, or to what is set already.
    """
    given = {} if threads is None else dict.fromkeys(_VARIABLES, str(threads))
    return {**os.environ, **given}


def for_each_row(work: Callable[[int], None], count: int, pixels: float) -> None:
    """Call ``work(row)`` once for each of ``count`` rows.

    OpenCV 5 spreads a single warp over its threads; there rows take their turns, since threads of
    ours beside them only get in their way. OpenCV 4 leaves a warp of this size on one thread; there
    rows are shared by as many threads as OpenCV may use.

    The caller's thread takes rows like every other. A thread that the system does not let run in
    time takes none, so that a busy machine costs no waiting. ``cv2.setNumThreads(1)`` keeps all
    rows on the caller's thread.

    Args:
        work: Must not depend on the order of rows.
        count: Number of rows.
        pixels: About how many pixels all rows together touch; few are not worth a second thread.

    Raises:
        Exception: The first that ``work`` raised; other rows may be done or not.
    """
    import cv2

    helpers = min(cv2.getNumThreads(), count) - 1
    if helpers < 1 or pixels < _LEAST_PIXELS or _warps_on_its_own_threads():
        for row in range(count):
            work(row)
        return
    rows = itertools.count()  # next() on it is atomic

    def take() -> None:
        while (row := next(rows)) < count:
            work(row)

    pending = [_pool().submit(take) for _ in range(helpers)]
    try:
        take()
    finally:
        started = [helper for helper in pending if not helper.cancel()]
        for helper in started:
            helper.exception()  # waits: nobody may write into the rows after this
    for helper in started:
        helper.result()


@cache
def _warps_on_its_own_threads() -> bool:
    """Whether this OpenCV does."""
    import cv2

    return int(cv2.__version__.split(".")[0]) >= 5


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads are started as they are needed, and sleep between calls."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="edgepose-rows")


# A forked child has no threads but its own; it makes a pool of its own when it needs one.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
