"""TensorRT's log: into Python's, with the errors kept for whoever has to explain a failure."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["make_logger"]

_log = logging.getLogger("edgepose.trt")
_LEVELS = (logging.ERROR, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
_ERROR = 1  # of ILogger.Severity, whose numbers are the same in every version


def make_logger(trt: Any) -> Any:
    """A logger for TensorRT: an ``ILogger`` with a method ``watch``.

    TensorRT keeps the first logger that a process hands it for the life of the process, so one is
    made per module (:func:`edgepose.trt.api.load` does) and never dropped.

    Args:
        trt: The module; its class is the base, so it can only be made here.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]  # a class of a module known at run time only
        """Called from TensorRT's own threads."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._lock = threading.Lock()
            self._watchers: list[list[str]] = []

        def log(self, severity: Any, msg: str) -> None:
            """One line from TensorRT."""
            level = int(severity)
            text = " ".join(msg.split())
            _log.log(_LEVELS[level], "%s", text)
            if level <= _ERROR:
                with self._lock:
                    for errors in self._watchers:
                        errors.append(text)

        @contextlib.contextmanager
        def watch(self) -> Iterator[list[str]]:
            """The errors that TensorRT tells of while the block runs, whatever thread it is."""
            errors: list[str] = []
            with self._lock:
                self._watchers.append(errors)
            try:
                yield errors
            finally:
                with self._lock:
                    # By identity: two watchers that have seen nothing are equal lists.
                    self._watchers = [w for w in self._watchers if w is not errors]

    return Logger()
