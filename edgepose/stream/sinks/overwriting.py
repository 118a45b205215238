"""No output may take the place of an input, or of another output."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgepose.errors import OutputError

__all__ = ["check_outputs"]


def check_outputs(outputs: Mapping[str, Path], inputs: Iterable[tuple[str, Path]]) -> None:
    """Compare every output with every input and with the other outputs, before one is opened.

    Links, hard ones too, and other spellings of a path count as the file they lead to.

    Args:
        outputs: Option (``--save``) -> where it writes.
        inputs: What it is ("the source itself") and where it lies. What does not exist, such as
            the name of a camera, is no file that could be lost.

    Raises:
        OutputError: Two of them are the same file.
    """
    taken = {
        key: what
        for what, path in inputs
        if os.path.exists(path)  # noqa: PTH110 - Path.exists raises on a long URL
        for key in _keys(path)
    }
    for option, path in outputs.items():
        keys = _keys(path)
        clash = next((taken[key] for key in keys if key in taken), None)
        if clash is not None:
            raise OutputError(
                f"cannot write {path}", f"that is {clash}", f"give {option} another name"
            )
        taken |= dict.fromkeys(keys, f"where {option} writes already")


def _keys(path: Path) -> list[tuple[object, ...]]:
    """What tells a file from others: its real path, and its inode if it exists."""
    keys: list[tuple[object, ...]] = [(os.path.realpath(path),)]
    try:
        status = path.stat()
    except OSError:
        return keys
    return [*keys, (status.st_dev, status.st_ino)]
