"""Opening cv2.VideoCapture without its chatter and without its surprises."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgepose.poses import UInt8, check_image

if TYPE_CHECKING:
    import cv2

__all__ = ["Capture", "OpenCvCapture", "open_camera", "open_stream", "quiet_opencv"]

_FFMPEG_QUIET = "-8"  # AV_LOG_QUIET
_OPENCV_SILENT = 0
_quiet_lock = threading.Lock()
_quiet_users = 0
_level_before: int | None = None


class Capture(Protocol):
    """What the sources need of a capture."""

    fps: float | None
    length: int | None

    def read(self) -> UInt8 | None:
        """The next frame, or None when there is none."""
        ...

    def position_s(self) -> float:
        """Presentation time of the frame read last."""
        ...

    def close(self) -> None:
        """Let go of the device or connection."""
        ...


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """Silence OpenCV and FFmpeg, whose messages name sources by their full URL, password included.

    What goes wrong is said by our own errors. FFmpeg reads its level once in a process, when it is
    first used, and keeps it.
    """
    global _quiet_users, _level_before
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = _FFMPEG_QUIET
    log = _opencv_log()
    with _quiet_lock:
        if _quiet_users == 0:
            _level_before = log.getLogLevel()
            log.setLogLevel(_OPENCV_SILENT)
        _quiet_users += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if _quiet_users == 0 and _level_before is not None:
                log.setLogLevel(_level_before)


def _opencv_log() -> Any:
    """Whatever has getLogLevel and setLogLevel: OpenCV 5 moved them."""
    import cv2

    return getattr(cv2.utils, "logging", cv2)


class OpenCvCapture:
    """A :class:`Capture` over an opened cv2.VideoCapture. Used by one thread at a time."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        import cv2

        self._capture = capture
        self.fps = _plausible(capture.get(cv2.CAP_PROP_FPS), 1000)
        # Zero, negative and astronomic counts all occur in files that play well.
        count = _plausible(capture.get(cv2.CAP_PROP_FRAME_COUNT), 1e9)
        self.length = None if count is None else int(count)

    def read(self) -> UInt8 | None:
        """See :class:`Capture`."""
        import cv2

        try:
            done, image = self._capture.read()
        except cv2.error:
            return None
        return check_image(np.asarray(image)) if done else None

    def position_s(self) -> float:
        """See :class:`Capture`."""
        import cv2

        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    def close(self) -> None:
        """See :class:`Capture`."""
        self._capture.release()


def open_stream(target: str, open_timeout_s: float, read_timeout_s: float) -> OpenCvCapture | None:
    """Open a file or URL; None if no backend can.

    Backends are named one by one: left to choose, OpenCV ends by taking the URL for a pattern of
    picture files, and says so on stderr.
    """
    import cv2

    timeouts = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        int(open_timeout_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        int(read_timeout_s * 1000),
    ]
    wanted = {cv2.CAP_FFMPEG: timeouts, cv2.CAP_GSTREAMER: [], cv2.CAP_AVFOUNDATION: []}
    present = cv2.videoio_registry.getStreamBackends()
    return _first([(target, api, wanted[api]) for api in wanted if api in present])


def open_camera(number: int) -> OpenCvCapture | None:
    """Open a local camera by its number; None if there is none."""
    import cv2

    return _first([(number, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY, [])])


def _first(attempts: Sequence[tuple[str | int, int, Sequence[int]]]) -> OpenCvCapture | None:
    import cv2

    for target, api, parameters in attempts:
        capture = cv2.VideoCapture()
        try:
            # Both overloads, (index, ...) and (filename, ...), take the same arguments.
            if capture.open(target, api, parameters):  # type: ignore[call-overload,unused-ignore]
                return OpenCvCapture(capture)
        except cv2.error:
            pass  # this backend does not know the target or the parameters
        capture.release()
    return None


def _plausible(value: float, limit: float) -> float | None:
    return value if math.isfinite(value) and 0 < value <= limit else None
