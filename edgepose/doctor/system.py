"""The machine as the doctor sees it: what any part may ask, and questions asked in child processes.

All of it can be replaced: a folder of files and a table of answers are then a whole Jetson.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgepose import system
from edgepose.doctor.asking import Answer, ask_child

__all__ = ["System"]


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
class System(system.System):
    """What the checks may ask, besides what any part may.

    Attributes:
        ask: Asks one question of :mod:`edgepose.doctor.probe` in a child process.
        version: Version of an installed Python package, or None. Imports nothing.
        free_bytes: Free space where a path is.
        may_use: Whether this user may read and write a device.
        kind: Name of the operating system's kernel.
        machine: Architecture.
        python: Version of Python.
    """

    ask: Callable[[str], Answer] = ask_child
    version: Callable[[str], str | None] = _version_of
    free_bytes: Callable[[Path], int | None] = _free_bytes
    may_use: Callable[[Path], bool] = _may_read_and_write
    kind: str = platform.system()
    machine: str = platform.machine()
    python: str = platform.python_version()

    def ask_all(self, questions: Iterable[str]) -> dict[str, Answer]:
        """Answers to several questions, asked at the same time."""
        questions = tuple(questions)
        with ThreadPoolExecutor(max_workers=4) as pool:
            return dict(zip(questions, pool.map(self.ask, questions), strict=True))
