"""Poses as JSON lines: one line a frame, on the disk as soon as the frame is done."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

from edgepose.errors import OutputError
from edgepose.stream.sinks.base import Result, Sink

__all__ = ["JsonlSink", "line_of"]


def line_of(result: Result) -> dict[str, Any]:
    """What one line holds: ``frame``, ``time_s``, ``source``, ``width``, ``height``, ``persons``.

    Persons are as :meth:`edgepose.Poses.to_dicts` gives them. A frame without people has a line
    too.
    """
    height, width = result.frame.image.shape[:2]
    return {
        "frame": result.frame.index,
        "time_s": round(result.frame.time_s, 6),
        "source": result.frame.source,
        "width": width,
        "height": height,
        "persons": result.poses.to_dicts(),
    }


class JsonlSink(Sink):
    """Appends whole lines, unbuffered: a reader (``tail -f``) sees each frame at once.

    The one output that is partial by nature while a run goes on; but it never holds half a line:
    what an error or Ctrl-C left of one is cut off again.

    Args:
        path: The file. One that is there is replaced when the first line is written, so that a run
            that fails before has changed nothing.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.target = str(path)
        self._path = Path(path)
        self._whole = 0  # bytes of complete lines
        self._is_new = not self._path.exists()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file: io.FileIO | None = io.FileIO(self._path, "a")
        except OSError as error:
            raise self._error(error) from error

    def write(self, result: Result) -> bool:
        """See :class:`Sink`."""
        if self._file is None:
            raise AssertionError("written after close")
        data = (json.dumps(line_of(result), separators=(",", ":")) + "\n").encode()
        if self._whole == 0:
            self._cut()
        try:
            done = 0
            while done < len(data):
                done += self._file.write(data[done:])
        except OSError as error:
            self._cut()
            raise self._error(error) from error
        except BaseException:
            self._cut()
            raise
        self._whole += len(data)
        return True

    def close(self) -> None:
        """See :class:`Sink`."""
        if self._file is not None:
            self._file.close()
            self._file = None
            if self._is_new and self._whole == 0:
                self._path.unlink(missing_ok=True)

    def _cut(self) -> None:
        """Shorten the file to its complete lines."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a pipe or device has nothing to cut
                os.ftruncate(self._file.fileno(), self._whole)

    def _error(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write {self._path}",
            error.strerror or str(error),
            "choose another place, or free space and permissions there",
        )
