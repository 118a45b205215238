"""The process of one contender: ``python -m benchmarks.gpu.worker ENTRY``.

Answers requests, a line of JSON each way: ``{"do": "open"}``, ``{"do": "warm", "batch": n}``,
``{"do": "time", "batch": n, "untimed": n, "calls": n}``, ``{"do": "describe"}``. Each answer holds
``ok``, or ``error`` with the words and whether the thing is merely absent. Ends with its standard
input. Needs numpy, edgepose and what the contender needs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from benchmarks.gpu.absent import Absent
from benchmarks.gpu.contenders import Contender, Entry, open_contender
from edgepose.errors import EdgeposeError, MissingDependency
from edgepose.redact import redact

__all__ = ["Timer", "main"]

_WARM_CALLS = 3


class Timer:
    """Times one contender on prepared images.

    Args:
        contender: Opened.
        images: (N, ...) as the network takes them; repeated for larger batches.
        clock: Nanoseconds.
    """

    def __init__(
        self,
        contender: Contender,
        images: npt.NDArray[Any],
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.contender = contender
        self._images, self._clock = images, clock

    def warm(self, batch: int) -> dict[str, Any]:
        """Run a batch size for the first times; tells how long the first took, in seconds."""
        images = self._batch(batch)
        began = self._clock()
        self.contender.call(images)
        first = (self._clock() - began) / 1e9
        for _ in range(_WARM_CALLS):
            self.contender.call(images)
            self.contender.device_ms(images)
        began = self._clock()
        self.contender.call(images)
        return {"first_s": round(first, 3), "ms": (self._clock() - began) / 1e6}

    def time(self, batch: int, untimed: int, calls: int) -> dict[str, Any]:
        """Milliseconds of each call, from host to host and then on the device alone."""
        images = self._batch(batch)
        for _ in range(untimed):
            self.contender.call(images)
        host = []
        for _ in range(calls):
            began = self._clock()
            self.contender.call(images)
            host.append((self._clock() - began) / 1e6)
        device = [self.contender.device_ms(images) for _ in range(calls)]
        return {"host": host, "device": None if device[0] is None else device}

    def _batch(self, size: int) -> npt.NDArray[Any]:
        return np.ascontiguousarray(self._images[np.arange(size) % len(self._images)])


def main(entry: dict[str, Any], images: str) -> None:
    """Answer until standard input ends."""
    # What libraries print goes to standard error: the pipe is ours alone.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    timer: Timer | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "open":
                timer = Timer(open_contender(Entry(**entry)), np.load(images, allow_pickle=False))
                _answer(answers, ok=timer.contender.describe())
            elif timer is None:
                raise AssertionError("open comes first")
            elif request["do"] == "describe":
                _answer(answers, ok=timer.contender.describe())
            elif request["do"] == "warm":
                _answer(answers, ok=timer.warm(request["batch"]))
            else:
                figures = timer.time(request["batch"], request["untimed"], request["calls"])
                _answer(answers, ok=figures)
        except EdgeposeError as error:
            absent = isinstance(error, (Absent, MissingDependency))
            words = ": ".join(filter(None, [error.what, error.why]))
            _answer(answers, error=redact(words), absent=absent)
        except Exception as error:  # another library's: its words are what is wanted
            _answer(answers, error=redact(f"{type(error).__name__}: {error}"), absent=False)
    if timer is not None:
        timer.contender.close()


def _answer(stream: IO[str], **values: Any) -> None:
    stream.write(json.dumps(values) + "\n")
    stream.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), str(Path(sys.argv[2])))
