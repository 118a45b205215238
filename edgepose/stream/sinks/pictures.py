"""Annotated pictures: one, or a folder of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgepose.errors import OutputError
from edgepose.images import IMAGE_SUFFIXES, write_image
from edgepose.stream.sinks.base import Result, Sink, check_writable

__all__ = ["FolderSink", "PictureSink"]


class PictureSink(Sink):
    """One annotated picture.

    Args:
        path: The file; its suffix chooses the format.

    Raises:
        OutputError: No picture format, or its folder cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.target = str(path)
        self._path = Path(path)
        if self._path.suffix.lower() not in IMAGE_SUFFIXES:
            raise OutputError(
                f"cannot write {path}",
                f"'{self._path.suffix}' is no picture format",
                f"use one of {', '.join(sorted(IMAGE_SUFFIXES))}",
            )
        check_writable(self._path.parent)

    def write(self, result: Result) -> bool:
        """See :class:`Sink`."""
        write_image(self._path, result.drawing)
        return True


class FolderSink(Sink):
    """One annotated picture a frame: under the name of its original, or ``frame-000042.jpg``.

    Args:
        folder: Made if need be.
        originals: Pictures of the source. They keep their names, and their subfolders where they
            come from several.

    Raises:
        OutputError: It cannot be written, or it is where the originals lie.
    """

    def __init__(self, folder: str | Path, originals: Sequence[Path] = ()) -> None:
        self.target = f"{folder}{os.sep}"
        self._folder = Path(folder)
        parents = {path.resolve().parent for path in originals}
        self._root = Path(os.path.commonpath(parents)) if parents else None
        if any(path.resolve() == self._name(path).resolve() for path in originals):
            raise OutputError(
                f"cannot write in {folder}",
                "the originals lie there and would be overwritten",
                "give --save another folder",
            )
        check_writable(self._folder)

    def write(self, result: Result) -> bool:
        """See :class:`Sink`."""
        if self._root is None:
            path = self._folder / f"frame-{result.frame.index:06d}.jpg"
        else:
            path = self._name(Path(result.frame.source))
        write_image(path, result.drawing)
        return True

    def _name(self, original: Path) -> Path:
        if self._root is None:
            raise AssertionError("a source without pictures has no original names")
        return self._folder / original.resolve().relative_to(self._root)
