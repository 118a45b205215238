"""An annotated video file."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from edgepose.errors import OutputError
from edgepose.files import atomic_path
from edgepose.poses import UInt8
from edgepose.stream.sinks.base import Result, Sink
from edgepose.stream.sources.capture import quiet_opencv

if TYPE_CHECKING:
    import cv2

__all__ = ["VIDEO_CODECS", "VideoSink"]

VIDEO_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}

_USUAL_FPS = 25.0
# Closing an mp4 writes its index; a disk filled to the last byte would leave it unplayable.
_SPARE_BYTES = 16 << 20
_LONGEST_STILL_S = 10.0
# Network cameras often give the clock of their time stamps (1000 a second) for their rate.
_MOST_LIVE_FPS = 60.0


class _NothingWritten(Exception):
    """Tells atomic_path to drop the temporary file."""


class VideoSink(Sink):
    """An annotated video, written under a temporary name and renamed when it is closed.

    It is closed, and so playable, however the run ends: at the end, by Ctrl-C, by an error.

    Frames of a file go in one to one. A live source delivers irregularly and is often wrong about
    its rate, so there each frame stands until the next one's time, and of frames that come faster
    than the video's rate some are left out: the video plays at the speed of life.

    Args:
        path: ``.mp4``, ``.mov``, ``.mkv`` or ``.avi``.
        fps: Frames a second; 25 if None.
        live: Place frames by their time, at most 60 a second.

    Raises:
        OutputError: No such format, the folder cannot be written, or the disk is (nearly) full.
    """

    def __init__(self, path: str | Path, fps: float | None, *, live: bool = False) -> None:
        self.target = str(path)
        self._path = Path(path)
        self._fps = fps or _USUAL_FPS
        if live:
            self._fps = min(self._fps, _MOST_LIVE_FPS)
        self._live = live
        if self._path.suffix.lower() not in VIDEO_CODECS:
            raise OutputError(
                f"cannot write {path}",
                f"'{self._path.suffix}' is no video format that edgepose writes",
                f"use one of {', '.join(VIDEO_CODECS)}, or a folder for single pictures",
            )
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._frames = 0
        self._start_s = 0.0
        self._last: UInt8 | None = None
        self._pending = contextlib.ExitStack()
        self._temporary = self._pending.enter_context(atomic_path(self._path))
        try:
            self._check_space()
        except OutputError:
            self._drop()
            raise

    def write(self, result: Result) -> bool:
        """See :class:`Sink`."""
        if self._writer is None:
            self._writer = self._open(result.drawing)
            self._start_s = result.frame.time_s
        if self._live and self._last is not None:
            due = self._slot(result.frame.time_s)
            if due < self._frames:
                return True
            while self._frames < due:
                self._put(self._last)
        self._last = self._put(result.drawing)
        return True

    def close(self) -> None:
        """See :class:`Sink`."""
        if self._writer is None:
            self._drop()
            return
        self._writer.release()
        self._writer = None
        self._pending.close()  # renames

    def _open(self, image: UInt8) -> cv2.VideoWriter:
        import cv2

        height, width = image.shape[:2]
        codec = cv2.VideoWriter.fourcc(*VIDEO_CODECS[self._path.suffix.lower()])
        with quiet_opencv():
            writer = cv2.VideoWriter(str(self._temporary), codec, self._fps, (width, height))
        if not writer.isOpened():
            raise OutputError(
                f"cannot write {self._path}",
                f"this OpenCV has no encoder for {width}x{height} {self._path.suffix}",
                "try .avi, or a folder for single pictures",
            )
        self._size = (width, height)
        return writer

    def _slot(self, time_s: float) -> int:
        """Number of the frame of that time. A long pause is cut short: nobody wants to watch it."""
        pause = time_s - self._start_s - self._frames / self._fps
        if pause > _LONGEST_STILL_S:
            self._start_s += pause - _LONGEST_STILL_S
        return round((time_s - self._start_s) * self._fps)

    def _put(self, image: UInt8) -> UInt8:
        """Write one frame; returns it in the video's size."""
        import cv2

        if self._writer is None:
            raise AssertionError("written before it was opened")
        if self._frames % 8 == 0:
            self._check_space()
        if (image.shape[1], image.shape[0]) != self._size:
            # A camera may change its geometry; a video cannot.
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment,unused-ignore]
        self._writer.write(image)
        self._frames += 1
        return image

    def _check_space(self) -> None:
        """OpenCV's writer keeps silent when the disk is full, so we stop before it is."""
        free = shutil.disk_usage(self._temporary.parent).free
        if free < _SPARE_BYTES:
            raise OutputError(
                f"cannot go on writing {self._path}",
                f"the disk is full ({free >> 20} MiB left)",
                "free space there, or save elsewhere",
            )

    def _drop(self) -> None:
        """Remove the temporary file without touching the target."""
        with contextlib.suppress(_NothingWritten), self._pending.pop_all():
            raise _NothingWritten
