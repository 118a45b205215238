"""What runs in a worker's process.

Requests come as a line of JSON each on standard input, ``{"id": n, "do": name, "with": {…}}``.
Answers go to what was standard output, a line each: ``{"id": n, "progress": [done, total]}`` while
data is predicted, and last ``{"id": n, "ok": …}`` or ``{"id": n, "error": {…}}``, with what was
logged meanwhile under ``"said"``. Nothing is written while something is timed. What libraries print
goes to standard error. Ctrl-C is for the parent to judge; when it is gone, so is this process.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

from edgepose import errors
from edgepose.bench.worker.request import Request
from edgepose.errors import EdgeposeError
from edgepose.redact import redact

if TYPE_CHECKING:
    from edgepose.bench.worker.contender import Contender

__all__ = ["main"]

_PROGRESS_EVERY_S = 0.1
_BLOCK = 1 << 16


def main(began_ns: int) -> None:
    """Answer until the parent says goodbye or is gone.

    Args:
        began_ns: ``perf_counter_ns`` at the process's first line of Python.
    """
    request = Request(**json.loads(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(asked,), daemon=True).start()
    Desk(request, answers, time.perf_counter_ns() - began_ns).serve(asked)


class Desk:
    """Takes requests and gives answers.

    Args:
        request: The artefact.
        answers: Where answers go.
        booted_ns: What imports have taken so far.
    """

    def __init__(self, request: Request, answers: IO[str], booted_ns: int) -> None:
        self._request = request
        self._answers = answers
        self._booted_ns = booted_ns
        self._contender: Contender | None = None
        self._said = _Said()

    def serve(self, asked: queue.SimpleQueue[dict[str, Any] | None]) -> None:
        """Answer until None comes."""
        logger = logging.getLogger("edgepose")
        logger.addHandler(self._said)
        logging.getLogger("py.warnings").addHandler(self._said)
        logging.captureWarnings(True)
        while (question := asked.get()) is not None:
            number = question["id"]
            try:
                found = self._do(question["do"], question["with"], number)
            except EdgeposeError as error:
                self._fail(number, _kind(error), error.what, error.why, error.hint)
            except Exception as error:
                # Another library's, or a bug: the words are wanted, and the others go on.
                traceback.print_exc()
                what = f"{self._request.label} failed in '{question['do']}'"
                self._fail(number, "EdgeposeError", what, f"{type(error).__name__}: {error}", None)
            else:
                plain = found if isinstance(found, (dict, list)) else asdict(found)
                self._send(id=number, ok=plain, said=self._said.taken())
        if self._contender is not None:
            self._contender.close()

    def _do(self, name: str, values: dict[str, Any], number: int) -> Any:
        if name == "open":
            from edgepose.bench.worker.opening import open_contender

            self._contender, opened = open_contender(self._request, self._booted_ns)
            return opened
        if self._contender is None:
            raise AssertionError("open comes first")
        if name == "predict":
            return self._contender.predict(values["job"], self._progress(number))
        return getattr(self._contender, name)(**values)

    def _progress(self, number: int) -> Callable[[int, int], None]:
        last = 0.0

        def tell(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if done >= total or now - last > _PROGRESS_EVERY_S:
                last = now
                self._send(id=number, progress=[done, total])

        return tell

    def _fail(self, number: int, kind: str, what: str, why: str | None, hint: str | None) -> None:
        words = {"what": what, "why": why, "hint": hint}
        told = {name: text if text is None else redact(text) for name, text in words.items()}
        self._send(id=number, error={"kind": kind, **told}, said=self._said.taken())

    def _send(self, **values: Any) -> None:
        self._answers.write(json.dumps(values) + "\n")
        self._answers.flush()


class _Said(logging.Handler):
    """Keeps what was logged until the next answer: writing it at once could fall into a timing."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = (record.levelno, redact(record.getMessage()))
        if line not in self._lines:
            self._lines.append(line)

    def taken(self) -> list[tuple[int, str]]:
        lines, self._lines = self._lines, []
        return lines


def _kind(error: EdgeposeError) -> str:
    """The nearest class that the parent can make of three texts."""
    for kind in type(error).__mro__:
        name: str = kind.__name__
        if getattr(errors, name, None) is kind and kind is not errors.LintError:
            return name
    raise AssertionError("EdgeposeError is one of them")


def _read(asked: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    """Requests from standard input; its end without a goodbye is the parent's.

    By the file descriptor: a thread that waits inside ``sys.stdin`` breaks the interpreter's end.
    """
    held = b""
    while block := os.read(0, _BLOCK):
        *lines, held = (held + block).split(b"\n")
        for line in lines:
            question = json.loads(line)
            if question["do"] == "close":
                asked.put(None)
                return
            asked.put(question)
    os._exit(1)
