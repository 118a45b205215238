"""The folder that a measurement writes to: one run at a time, and what a run can go on from."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from edgepose.bench.record import ArtefactRecord, write_records
from edgepose.closing import Closing
from edgepose.errors import OutputError

__all__ = ["OutFolder"]

_LOCK = ".edgepose-bench.lock"


class OutFolder(Closing):
    """Where records, pictures and work in progress go; held against a second run until closed.

    Layout: records and ``report.*`` at the top, ``pictures/`` for the report, ``work/`` for
    exported artefacts and predictions, which a later run of the same thing goes on from, and
    ``incomplete/`` for records of what failed or was interrupted: they never replace a whole one.

    Args:
        path: The folder, made where it is not there; None for one that is thrown away at the end.

    Raises:
        OutputError: It cannot be made or written, or another run holds it.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.kept = path is not None
        self.path = Path(tempfile.mkdtemp(prefix="edgepose-bench-") if path is None else path)
        self._lock: IO[str] | None = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = (self.path / _LOCK).open("a+", encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"cannot write to {self.path}", error.strerror or str(error), "give another --out"
            ) from error
        if not (_taken(handle) and _is_at(handle, self.path / _LOCK)):
            handle.seek(0)
            holder = handle.read().strip()
            handle.close()
            raise OutputError(
                f"another run is writing to {self.path}",
                f"process {holder} holds it" if holder else None,
                "wait for it, or give another --out",
            )
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        self._lock = handle

    @property
    def pictures(self) -> Path:
        """For what the report shows."""
        return self.path / "pictures"

    @property
    def incomplete(self) -> Path:
        """For records of what failed or was interrupted."""
        return self.path / "incomplete"

    @property
    def work(self) -> Path:
        """For what a later run goes on from."""
        return self.path / "work"

    def place(self, label: str) -> Path:
        """A folder of work for one artefact; another label gets another."""
        slug = slug_of(label)
        if slug != label:  # others may have the same slug
            slug += f"-{hashlib.sha256(label.encode()).hexdigest()[:6]}"
        return self.work / slug

    def write(self, records: Sequence[ArtefactRecord]) -> list[Path]:
        """Write records: whole ones at the top, others under ``incomplete/``.

        Of what was not even opened when the run was interrupted nothing is written.

        Raises:
            OutputError: One cannot be written.
        """
        known = [record for record in records if record.runner is not None or record.failures]
        whole = [record for record in known if record.status == "complete"]
        rest = [record for record in known if record.status != "complete"]
        return [*write_records(whole, self.path), *write_records(rest, self.incomplete)]

    def close(self) -> None:
        """Let the folder go."""
        if self._lock is None:
            return
        with contextlib.suppress(OSError):  # Windows removes nothing that is open
            (self.path / _LOCK).unlink()
        self._lock.close()  # which ends the lock
        self._lock = None
        if not self.kept:
            shutil.rmtree(self.path, ignore_errors=True)


def slug_of(label: str) -> str:
    """A label as a file's name, e.g. ``mitpose-lite-128x96``."""
    return re.sub(r"[^\w.+=-]+", "-", label).strip("-.") or "artefact"


def _is_at(handle: IO[str], path: Path) -> bool:
    """Whether the file that was opened is still there: the run that held it may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except OSError:
        return False


def _taken(handle: IO[str]) -> bool:
    """Whether the lock is ours now. The system ends it with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return _taken_on_windows(handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _taken_on_windows(handle: IO[str]) -> bool:
    import msvcrt

    try:
        handle.seek(0)
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    except OSError:
        return False
    return True
