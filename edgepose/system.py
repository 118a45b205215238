"""The machine behind one small interface: files of the kernel, and tools that tell of it.

Files are read below a root folder, and tools are run by a function that can be replaced: a folder
of files and a table of answers are then a whole board.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

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


def _load(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True, kw_only=True)
class System:
    """What may be asked of a machine.

    Attributes:
        root: Folder that stands for ``/``.
        run: Runs a tool.
        load: Text of a file.
    """

    root: Path = Path("/")
    run: Callable[[Sequence[str]], Ran] = run_tool
    load: Callable[[Path], str] = _load

    def read(self, path: str) -> str:
        """Text of a file, stripped; empty if it is not there or may not be read."""
        try:
            return self.load(self._real(path)).strip("\0 \t\r\n")
        except OSError:
            return ""

    def number(self, path: str) -> int | None:
        """A file that holds one whole number, as most of ``/sys`` do."""
        text = self.read(path)
        return int(text) if text.removeprefix("-").isdecimal() else None

    def trouble(self, path: str) -> str:
        """Why a file cannot be read, in words; empty if it can be."""
        try:
            self.load(self._real(path))
        except PermissionError:
            return f"{path} may not be read by this user"
        except FileNotFoundError:
            return f"{path} is not there"
        except OSError as error:
            return f"{path} cannot be read: {error.strerror or error}"
        return ""

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        try:
            return self._real(path).exists()
        except OSError:
            return False

    def matches(self, pattern: str) -> list[str]:
        """Paths that match a pattern, absolute, sorted by name and number."""
        found = self.root.glob(pattern.lstrip("/"))
        paths = ["/" + path.relative_to(self.root).as_posix() for path in found]
        return sorted(paths, key=lambda path: (len(path), path))

    def _real(self, path: str) -> Path:
        return self.root / path.lstrip("/")
