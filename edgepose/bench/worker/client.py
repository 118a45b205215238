"""A worker as its parent sees it: started, asked, and outlived."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from edgepose import errors
from edgepose.bench.worker.heap import KEPT_HEAP
from edgepose.bench.worker.request import Opened, Request, Sustained, Warmed
from edgepose.closing import Closing
from edgepose.ending import ending, killed
from edgepose.errors import ArtefactError, DeviceError, EdgeposeError
from edgepose.parallel import thread_environment
from edgepose.redact import redact

__all__ = ["Worker"]

Progress = Callable[[int, int], None]

_log = logging.getLogger(__name__)
# The child imports what this process would: no other edgepose, no other runtime. Its clock starts
# before anything else.
_CHILD = (
    "import time; began = time.perf_counter_ns(); import json, sys; "
    "sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from edgepose.bench.worker.child import main; main(began)"
)
_GOODBYE_S = 10.0


class Worker(Closing):
    """One artefact in a process of its own.

    Every method but :meth:`close` raises the EdgeposeError that was raised in the child; a child
    that dies, or does not answer in time, is one as well, and from then on the same for all that
    is asked.

    Args:
        request: The artefact.
        patience_s: Longest time without a sign of life while something is asked for. Times that
            were asked for (a warm-up's, a sustained run's) come on top.

    Raises:
        EdgeposeError: No process can be started.
    """

    def __init__(self, request: Request, patience_s: float = 900.0) -> None:
        self.request = request
        self._patience_s = patience_s
        self._start()

    def _start(self) -> None:
        request = self.request
        self._opened: Opened | None = None
        self._largest = 0
        self._number = 0
        self._busy = False
        self._dead: EdgeposeError | None = None
        self._noise = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - until close
        own_path = json.dumps([str(place) for place in sys.path])
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, our own module
                [sys.executable, "-c", _CHILD, own_path, json.dumps(asdict(request))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._noise,
                text=True,
                encoding="utf-8",
                env=thread_environment(request.threads) | (KEPT_HEAP if request.keep_heap else {}),
                start_new_session=True,  # a terminal's Ctrl-C is for the parent alone
            )
        except OSError as error:
            self._noise.close()
            raise EdgeposeError(
                f"no process can be started for {request.label}", error.strerror or str(error)
            ) from error
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def open(self) -> Opened:
        """Load the artefact; once, however often it is asked for."""
        if self._opened is None:
            told = self._ask("open")
            buckets = told.pop("buckets")
            stages = tuple(told.pop("stages"))
            self._opened = Opened(
                **told, stages=stages, buckets=None if buckets is None else tuple(buckets)
            )
        return self._opened

    def restart(self) -> None:
        """Go on in a new process with the artefact loaded again; nothing of the old one is left."""
        self.close()
        self._start()
        self.open()

    def describe(self) -> dict[str, Any]:
        """What is in force by now: some runtimes know only after their first run."""
        told: dict[str, Any] = self._ask("describe")
        return told

    def warm(self, stage: str, batch: int, window: int = 3, max_warmup_s: float = 2.0) -> Warmed:
        """Run a stage until its times settle, see :func:`edgepose.bench.timing.warm_up`.

        Args:
            stage: A key of :data:`edgepose.bench.stages.STAGES`.
            batch: People in one call.
            window: Calls in each of the two windows that are compared.
            max_warmup_s: No call begins after so long.
        """
        self._largest = max(self._largest, batch)
        told = self._ask(
            "warm", max_warmup_s, stage=stage, batch=batch, window=window, longest_s=max_warmup_s
        )
        return Warmed(**told)

    def visit(self, stage: str, batch: int, calls: int, untimed: int) -> list[float]:
        """Milliseconds of each of ``calls`` calls, after ``untimed`` others.

        The child times them by itself, and writes nothing until it is through.
        """
        self._largest = max(self._largest, batch)
        told: list[float] = self._ask(
            "visit", stage=stage, batch=batch, calls=calls, untimed=untimed
        )
        return told

    def peak(self, batch: int) -> dict[str, int]:
        """Run the whole way with a batch; the row of the record's memory section.

        To be asked for before anything else runs, the smallest batch first: runtimes keep what
        they once took, so that after a large batch no small one can be told from it.

        Raises:
            AssertionError: A larger batch has run already.
        """
        if batch < self._largest:
            raise AssertionError(f"the memory of batch {batch} after one of {self._largest}")
        self._largest = batch
        told: dict[str, int] = self._ask("peak", batch=batch)
        return told

    def memory(self) -> dict[str, Any]:
        """The record's memory section, of the batches that :meth:`peak` was asked for."""
        told: dict[str, Any] = self._ask("memory")
        return told

    def sustain(self, stage: str, batch: int, seconds: float) -> Sustained:
        """Run a stage for so long without a break."""
        self._largest = max(self._largest, batch)
        return Sustained(**self._ask("sustain", seconds, stage=stage, batch=batch, seconds=seconds))

    def predict(self, job: dict[str, Any], progress: Progress | None = None) -> dict[str, Any]:
        """Predictions on a data set, see :func:`edgepose.bench.accuracy.predict_job`.

        Args:
            job: What to predict; JSON.
            progress: Called with (persons done, persons in all).
        """
        told: dict[str, Any] = self._ask("predict", progress=progress, job=job)
        return told

    def close(self) -> None:
        """End the process; at once if it is busy, or on Ctrl-C. May be called twice."""
        if self._noise.closed:
            return
        try:
            if not self._busy:
                self._send({"do": "close"})
                self._process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._end()

    def _end(self) -> None:
        """Nothing of it stays, whatever it is doing."""
        self._process.kill()  # does nothing to one that is known to have ended
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._noise.close()

    # --- asking ---

    def _ask(
        self, do: str, more_s: float = 0.0, *, progress: Progress | None = None, **values: Any
    ) -> Any:
        if self._noise.closed:
            raise AssertionError(f"{self.request.label} is closed")
        if self._dead is not None:
            raise self._dead
        self._number += 1
        self._busy = True
        self._send({"id": self._number, "do": do, "with": values})
        end = time.monotonic() + self._patience_s + more_s
        while True:
            try:
                line = self._answers.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise self._given_up(
                    f"it gave no sign of life for {self._patience_s:g} s when asked to {do}"
                ) from None
            if not line:
                raise self._death(do)
            told = json.loads(line)
            if told["id"] != self._number:  # asked for before a Ctrl-C that the caller survived
                continue
            if "progress" in told:
                end = time.monotonic() + self._patience_s
                if progress is not None:
                    progress(*told["progress"])
                continue
            self._busy = False
            for level, text in told["said"]:
                _log.log(level, "%s: %s", self.request.label, text)
            if "error" in told:
                raise _as_error(told["error"])
            return told["ok"]

    def _send(self, question: dict[str, Any]) -> None:
        if self._process.stdin is None:
            raise AssertionError("standard input is a pipe")
        with contextlib.suppress(OSError):  # a dead one: the missing answer says so
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._answers.put(line)
        self._answers.put("")

    def _given_up(self, why: str) -> EdgeposeError:
        self._process.kill()
        self._process.wait()
        self._dead = DeviceError(
            f"{self.request.label} was stopped",
            why,
            "run it alone to see where it hangs, or leave it out",
        )
        return self._dead

    def _death(self, do: str) -> EdgeposeError:
        try:
            code = self._process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:  # it hangs in the last deeds of its libraries
            return self._given_up(f"it closed its answers when asked to {do}, and did not end")
        self._noise.seek(0)
        why = redact(ending(code, self._noise.read()))
        what = f"the process of {self.request.label} ended when asked to {do}"
        self._dead = (
            DeviceError(what, why, "close what else runs, add swap, or choose smaller batches")
            if killed(code)
            else ArtefactError(what, why, "leave it out, or export it again")
        )
        return self._dead


def _as_error(told: dict[str, Any]) -> EdgeposeError:
    kind: type[EdgeposeError] = getattr(errors, told["kind"])
    return kind(told["what"], told["why"], told["hint"])
