"""The machine as the doctor sees it, behind one small interface.

Files are read below a root folder, tools and child processes are run by functions that can be
replaced: a folder of files and a table of answers are then a whole Jetson.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgepose.doctor.asking import Answer, ask_child

__all__ = ["Ran", "System", "run_tool"]


@dataclass(frozen=True)
class Ran:
    """What a tool said.

    Attributes:
        code: Exit code; None if the tool is not there or did not end in time.
        out: Its standard output.
    """

    code: int | None
    out: str = ""


def run_tool(command: Sequence[str], timeout: float = 20.0) -> Ran:
    """Run a tool found on the path. Never raises, and never asks for a password."""
    tool = shutil.which(command[0])
    if tool is None:
        return Ran(None)
    try:
        done = subprocess.run(  # noqa: S603 - a fixed query to a tool found on the path
            [tool, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return Ran(None)
    return Ran(done.returncode, done.stdout)


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _free_bytes(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _may_read_and_write(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


@dataclass(frozen=True, kw_only=True)
class System:
    """What the checks may ask.

    Attributes:
        root: Folder that stands for ``/``.
        run: Runs a tool.
        ask: Asks one question of :mod:`edgepose.doctor.probe` in a child process.
        version: Version of an installed Python package, or None. Imports nothing.
        free_bytes: Free space where a path is.
        may_use: Whether this user may read and write a device.
        kind: Name of the operating system's kernel.
        machine: Architecture.
        python: Version of Python.
    """

    root: Path = Path("/")
    run: Callable[[Sequence[str]], Ran] = run_tool
    ask: Callable[[str], Answer] = ask_child
    version: Callable[[str], str | None] = _version_of
    free_bytes: Callable[[Path], int | None] = _free_bytes
    may_use: Callable[[Path], bool] = _may_read_and_write
    kind: str = platform.system()
    machine: str = platform.machine()
    python: str = platform.python_version()

    def read(self, path: str) -> str:
        """Text of a file, stripped; empty if it is not there or may not be read."""
        try:
            text = (self.root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return text.strip("\0 \t\r\n")

    def number(self, path: str) -> int | None:
        """A file that holds one whole number, as most of ``/sys`` do."""
        text = self.read(path)
        return int(text) if text.lstrip("-").isdigit() else None

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        try:
            return (self.root / path.lstrip("/")).exists()
        except OSError:
            return False

    def matches(self, pattern: str) -> list[str]:
        """Paths that match a pattern, absolute, sorted by name and number."""
        found = self.root.glob(pattern.lstrip("/"))
        paths = ["/" + path.relative_to(self.root).as_posix() for path in found]
        return sorted(paths, key=lambda path: (len(path), path))

    def ask_all(self, questions: Iterable[str]) -> dict[str, Answer]:
        """Answers to several questions, asked at the same time."""
        questions = tuple(questions)
        with ThreadPoolExecutor(max_workers=4) as pool:
            return dict(zip(questions, pool.map(self.ask, questions), strict=True))
