"""What every source offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from edgepose.closing import Closing
from edgepose.poses import Frame

__all__ = ["Source", "Warn"]

Warn = Callable[[str], None]


class Source(Closing, ABC):
    """An iterator of frames that holds a file, a device or a connection.

    Use as a context manager. One pass only: a source is read once.

    Attributes:
        name: What to call it, without credentials.
        live: Frames come in real time, whether they are taken or not.
        length: Frames to expect, or None if nobody knows. A hint: files lie about it.
        fps: Frames a second by its own account, or None.
        independent: Frames have nothing to do with each other (a folder of pictures).
        skipped: Pictures that could not be read, with the reason.
    """

    def __init__(
        self,
        name: str,
        *,
        live: bool = False,
        length: int | None = None,
        fps: float | None = None,
        independent: bool = False,
    ) -> None:
        self.name = name
        self.live = live
        self.length = length
        self.fps = fps
        self.independent = independent
        self.skipped: list[str] = []

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Frames until the source ends.

        Raises:
            SourceError: It broke off; what came before stays valid.
        """

    @property
    def dropped(self) -> int:
        """Frames of a live source that were never taken, since a newer one came."""
        return 0

    def age(self, frame: Frame) -> float | None:
        """Seconds since ``frame`` arrived; None where that has no meaning (files)."""
        del frame
        return None
