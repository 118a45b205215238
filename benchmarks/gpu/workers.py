"""The contenders' processes, as seen by who asks them."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from benchmarks.gpu.absent import Absent
from benchmarks.gpu.contenders import Entry
from benchmarks.gpu.launch import ROOT, last_words
from edgepose.closing import Closing
from edgepose.errors import EdgeposeError

__all__ = ["Worker", "clean_environment"]

# What makes one Python run would break another, and stand-ins for CUDA's libraries most of all.
_OURS_ALONE = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV")


def clean_environment() -> dict[str, str]:
    """The environment for another interpreter."""
    kept = {name: value for name, value in os.environ.items() if name not in _OURS_ALONE}
    return {**kept, "PYTHONPATH": str(ROOT)}


class Worker(Closing):
    """One contender's process.

    Args:
        entry: Which.
        images: File of the images, ``.npy``.
    """

    def __init__(self, entry: Entry, images: Path) -> None:
        self.entry = entry
        self._noise = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - until close
        ours = {**os.environ, "PYTHONPATH": _path()}
        try:
            self._process = subprocess.Popen(
                [
                    entry.python or sys.executable,
                    "-m",
                    "benchmarks.gpu.worker",
                    json.dumps(entry.to_dict()),
                    str(images),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._noise,
                text=True,
                encoding="utf-8",
                env=ours if entry.python is None else clean_environment(),
            )
        except OSError as error:
            self._noise.close()
            raise Absent(f"the interpreter {entry.python}", str(error)) from error
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, timeout: float, do: str, **values: Any) -> dict[str, Any]:
        """Ask for something and wait.

        Raises:
            Absent: What the contender needs is not here.
            EdgeposeError: It failed, died, or did not answer in time; in the last two cases it is
                of no use any more.
        """
        name = self.entry.name
        if self._process.stdin is None:
            raise AssertionError("standard input is a pipe")
        with contextlib.suppress(OSError):  # a dead one: the missing answer says so
            self._process.stdin.write(json.dumps({"do": do, **values}) + "\n")
            self._process.stdin.flush()
        try:
            line = self._answers.get(timeout=max(0.1, timeout))
        except queue.Empty:
            self._process.kill()
            self.close()
            raise EdgeposeError(f"{name} did not answer '{do}' within {timeout:.0f} s") from None
        if not line:
            raise EdgeposeError(f"{name} ended in '{do}'", self._death())
        answer: dict[str, Any] = json.loads(line)
        if "ok" in answer:
            found: dict[str, Any] = answer["ok"]
            return found
        if answer["absent"]:
            raise Absent(name, answer["error"])
        raise EdgeposeError(f"{name} failed in '{do}'", answer["error"])

    def close(self) -> None:
        """End it. May be called twice."""
        if self._noise.closed:
            return
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._noise.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._answers.put(line)
        self._answers.put("")

    def _death(self) -> str:
        code = self._process.wait()
        self._noise.seek(0)
        return f"its process ended with {code}: {last_words(self._noise.read())}"


def _path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
