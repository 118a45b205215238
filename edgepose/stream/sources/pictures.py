"""One photo, a folder or a glob."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgepose.errors import ImageError, SourceError
from edgepose.images import IMAGE_SUFFIXES, read_image
from edgepose.poses import Frame
from edgepose.stream.sources.base import Source, Warn

__all__ = ["PictureSource", "natural_order", "pictures_in"]


class PictureSource(Source):
    """Pictures, one frame each, at time 0.

    Of several pictures an unreadable one is warned of and skipped, and listed in ``skipped``;
    ``Frame.index`` counts it. A single photo must be readable.

    Args:
        paths: The pictures, in order.
        name: Name of the whole source.
        warn: Told of every skipped picture.
    """

    def __init__(self, paths: Sequence[Path], name: str, warn: Warn) -> None:
        super().__init__(name, length=len(paths), independent=True)
        self.paths = list(paths)
        self._warn = warn

    @classmethod
    def photo(cls, path: Path) -> PictureSource:
        """One photo, read at once, so that a bad one is told before any output is begun.

        Raises:
            ImageError: It cannot be read.
        """
        read_image(path)
        return cls([path], str(path), warn=lambda message: None)

    def __iter__(self) -> Iterator[Frame]:
        """See :class:`Source`."""
        for index, path in enumerate(self.paths):
            try:
                image = read_image(path)
            except ImageError as error:
                reason = str(error).splitlines()[0]
                self.skipped.append(reason)
                self._warn(f"skipped: {reason}")
                continue
            yield Frame(image, index, 0.0, str(path))


def pictures_in(folder: Path) -> list[Path]:
    """Pictures directly in a folder, hidden files left out, in natural order.

    Raises:
        SourceError: The folder cannot be read, or holds no picture.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise SourceError(f"cannot read the folder {folder}", error.strerror) from error
    return only_pictures(entries, f"the folder {folder}")


def only_pictures(paths: Sequence[Path], where: str) -> list[Path]:
    """The pictures among ``paths``, in natural order; an error naming ``where`` if none is."""
    found = sorted(
        (
            p
            for p in paths
            if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") and p.is_file()
        ),
        key=natural_order,
    )
    if not found:
        raise SourceError(
            f"{where} holds no pictures",
            f"{len(paths)} other entries are in it" if paths else "nothing is in it",
            f"pictures end in {', '.join(sorted(IMAGE_SUFFIXES))}",
        )
    return found


def natural_order(path: Path) -> tuple[tuple[bool, int, str], ...]:
    """Sort key under which ``img2`` comes before ``img10``."""
    parts = re.split(r"(\d+)", str(path))
    return tuple((p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts)
