"""A video file: every frame, in order, as fast as it is wanted."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

from edgepose.errors import SourceError
from edgepose.poses import Frame, UInt8
from edgepose.redact import redact
from edgepose.stream.sources.base import Source, Warn
from edgepose.stream.sources.capture import Capture, open_stream, quiet_opencv

__all__ = ["VideoSource"]

_USUAL_FPS = 25.0
# A frame count may be an estimate; what falls short of it by more than this was cut off.
_LEAST_SHARE = 0.95
_FEW_FRAMES = 3


class VideoSource(Source):
    """A video file, or one that lies on a web server.

    The frame count written in the file is a hint for the progress bar; the end is where no frame
    can be read any more. ``Frame.time_s`` is the presentation time in the file; where a file has
    none, or it stands still, it goes on by one frame period. Of a video on a web server the
    connection may be lost: where it ends clearly too early, by frames and by time, it broke off.

    Args:
        target: Path or http(s) URL.
        warn: Told when fewer frames came than the file promises (from a URL: slightly fewer).
        open_timeout_s: For URLs.
        read_timeout_s: For URLs.

    Raises:
        SourceError: No such file, or not one frame can be read from it.
    """

    def __init__(
        self,
        target: str,
        warn: Warn,
        open_timeout_s: float = 10.0,
        read_timeout_s: float = 10.0,
    ) -> None:
        name = redact(target)
        self._remote = "://" in target
        self._warn = warn
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(quiet_opencv())
        try:
            self._capture: Capture = self._open(target, name, open_timeout_s, read_timeout_s)
            # Reading one frame now tells a broken file before any output is begun.
            first = self._capture.read()
            if first is None:
                raise SourceError(
                    f"no frame can be read from {name}",
                    "its container opens, but its first frame cannot be decoded",
                    f"look at it with: ffprobe {name}",
                )
        except BaseException:
            self._stack.close()
            raise
        self._first: UInt8 = first
        super().__init__(name, length=self._capture.length, fps=self._capture.fps)

    def _open(
        self, target: str, name: str, open_timeout_s: float, read_timeout_s: float
    ) -> Capture:
        local = not self._remote
        if local and Path(target).stat().st_size == 0 and Path(target).is_file():
            raise SourceError(f"cannot read {name}", "the file is empty")
        capture = open_stream(target, open_timeout_s, read_timeout_s)
        if capture is None:
            raise SourceError(
                f"cannot read {name} as a video",
                "no backend of this OpenCV knows its format"
                if local
                else f"the server did not answer with a video within {open_timeout_s:g} s",
                "convert it: ffmpeg -i FILE -c:v libx264 out.mp4" if local else None,
            )
        self._stack.callback(capture.close)
        return capture

    def __iter__(self) -> Iterator[Frame]:
        """See :class:`Source`."""
        period = 1 / (self.fps or _USUAL_FPS)
        time_s, index = 0.0, 0
        image: UInt8 | None = self._first
        while image is not None:
            position = self._capture.position_s()
            if index:
                moved = math.isfinite(position) and position > time_s
                time_s = position if moved else time_s + period
            yield Frame(image, index, time_s, self.name)
            index += 1
            image = self._capture.read()
        if self.length is not None and index < self.length:
            # The count of a variable rate is a guess from the duration, so time counts as well.
            reached = index if self.fps is None else max(index, round(time_s * self.fps) + 1)
            missing = self.length - reached
            if self._remote and missing > max(_FEW_FRAMES, (1 - _LEAST_SHARE) * self.length):
                raise SourceError(
                    f"{self.name} broke off",
                    f"it promises {self.length} frames, {index} could be read (connection lost, or "
                    "the file on the server is cut short)",
                    "start again, or download it first; what was written so far is kept",
                )
            self._warn(f"{self.name} promises {self.length} frames, {index} could be read")

    def close(self) -> None:
        """See :class:`Source`."""
        self._stack.close()
