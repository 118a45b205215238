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
        OutputError: It cannot be written, one of the originals would be overwritten, or two of
            them would become the same file.
    """

    def __init__(self, folder: str | Path, originals: Sequence[Path] = ()) -> None:
        self.target = f"{folder}{os.sep}"
        self._folder = Path(folder)
        parents = {_absolute(path).parent for path in originals}
        self._root = Path(os.path.commonpath(parents)) if parents else None
        self._check(originals)
        check_writable(self._folder)

    def write(self, result: Result) -> bool:
        """See :class:`Sink`."""
        if self._root is None:
            path = self._folder / f"frame-{result.frame.index:06d}.jpg"
        else:
            path = self._name(Path(result.frame.source))
        write_image(path, result.drawing)
        return True

    def _check(self, originals: Sequence[Path]) -> None:
        """Compare all targets with all originals: one picture may take the place of another."""
        hint = "give --save another folder"
        real = {os.path.realpath(path): path for path in originals}
        taken: dict[str, Path] = {}
        for path in originals:
            target = os.path.realpath(self._name(path))
            if target in real:
                raise OutputError(
                    f"cannot write in {self._folder}",
                    f"the originals lie there and would be overwritten ({real[target]})",
                    hint,
                )
            other = taken.setdefault(target, path)
            if other is not path:
                raise OutputError(
                    f"cannot write in {self._folder}",
                    f"{other} and {path} would both become {target}",
                    hint,
                )

    def _name(self, original: Path) -> Path:
        if self._root is None:
            raise AssertionError("a source without pictures has no original names")
        return self._folder / _absolute(original).relative_to(self._root)


def _absolute(path: Path) -> Path:
    """With links left as they are: two links to one picture are two names."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps ".."
