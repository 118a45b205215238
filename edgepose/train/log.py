"""The training log: one JSON object a line, flushed, continued by a resumed run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgepose.errors import OutputError
from edgepose.files import write_text

__all__ = ["TrainingLog", "read_log"]


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a log; a line that was cut off in the middle is left out."""
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text().splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


class TrainingLog:
    """Appends entries with ``step`` in them.

    Args:
        path: The file.
        step: Where a resumed run goes on: entries of later steps, which it wrote after its last
            checkpoint, are dropped, since these steps come again. None begins a new log.
    """

    def __init__(self, path: Path, step: int | None) -> None:
        earlier = [] if step is None else read_log(path)
        kept = [entry for entry in earlier if entry.get("step", 0) <= (step or 0)]
        write_text(path, "".join(json.dumps(entry) + "\n" for entry in kept))
        self.path = path
        self.entries = kept

    def write(self, entry: dict[str, Any]) -> None:
        """Append one entry. Raises :class:`OutputError` when the disk refuses."""
        self.entries.append(entry)
        try:
            with self.path.open("a") as handle:
                handle.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.path}", error.strerror or str(error)) from error
