"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgepose.errors import OutputError

__all__ = ["atomic_path", "write_bytes", "write_text"]


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``; rename it onto ``target`` if the block succeeds.

    The temporary name keeps the suffix, since many writers choose their format by it. On any
    exception (Ctrl-C included) the temporary file is removed and ``target`` is left as it was.

    Raises:
        OutputError: The folder cannot be made or written, or the disk is full.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem}-", suffix=f".partial{target.suffix}", dir=target.parent
        )
        os.close(handle)
    except OSError as error:
        raise _output_error(target, error) from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; give what the user's umask would have given.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        raise _output_error(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all. Raises :class:`OutputError`."""
    write_bytes(target, text.encode())


def write_bytes(target: str | Path, data: bytes) -> None:
    """Write ``data``, whole or not at all. Raises :class:`OutputError`."""
    with atomic_path(target) as temporary, temporary.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _output_error(target: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write {target}",
        error.strerror or str(error),
        "choose another place, or free space and permissions there",
    )
