"""The process that does one step: ``python -m benchmarks.gpu.child REQUEST``.

Tells a line of JSON each: ``say`` (progress), ``found`` (all that it found so far), ``log``
(warnings of TensorRT and others) and, last, ``status`` with ``words``. A step that dies has told
what it had.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from benchmarks.gpu.absent import Absent
from edgepose.closing import Closing
from edgepose.errors import EdgeposeError, MissingDependency
from edgepose.redact import redact

__all__ = ["Tell", "main"]


class Tell(Closing):
    """Writes the lines; from any thread."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def say(self, text: str) -> None:
        """What is being done."""
        self._write({"say": text})

    def found(self, values: dict[str, Any]) -> None:
        """All that was found so far, in place of what was told before."""
        self._write({"found": values})

    def log(self, text: str) -> None:
        """A warning or an error of what is used."""
        self._write({"log": redact(text)})

    def end(self, status: str, words: str = "") -> None:
        """How it ended."""
        self._write({"status": status, "words": redact(words)})

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()


class _Warnings(logging.Handler):
    def __init__(self, tell: Tell) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell.log(f"{record.levelname.lower()}: {record.getMessage()}")


def main(request: dict[str, Any]) -> None:
    """Do the step."""
    with Tell(Path(request["told"])) as tell:
        handler = _Warnings(tell)
        loggers = [logging.getLogger(name) for name in ("edgepose", "py.warnings")]
        logging.captureWarnings(True)
        for logger in loggers:
            logger.addHandler(handler)
        try:
            _do(request, tell)
        finally:
            for logger in loggers:
                logger.removeHandler(handler)
            logging.captureWarnings(False)


def _do(request: dict[str, Any], tell: Tell) -> None:
    name = request["kind"].replace("-", "_")
    try:
        importlib.import_module(f"benchmarks.gpu.steps.{name}").run(request["task"], tell)
    except (Absent, MissingDependency) as error:
        tell.end("absent", _words(error))
    except EdgeposeError as error:
        tell.end("failed", _words(error))
    except Exception as error:
        # Whatever it was, the words are wanted, and the other steps go on.
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        tell.end("failed", f"{type(error).__name__} in {place}: {error}")
    else:
        tell.end("done")


def _words(error: EdgeposeError) -> str:
    return ": ".join(filter(None, [error.what, error.why]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
