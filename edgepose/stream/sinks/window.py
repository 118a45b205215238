"""A window on the screen."""

from __future__ import annotations

import os
import sys

from edgepose.errors import MissingDependency
from edgepose.stream.sinks.base import Result, Sink

__all__ = ["WindowSink"]

_ESCAPE = 27


class WindowSink(Sink):
    """Shows the annotated frames; ``q``, Escape or closing the window ends the run.

    Args:
        title: Of the window.
        hold: Wait for a key after each frame (pictures), instead of going on at once.

    Raises:
        MissingDependency: No screen, or an OpenCV built without windows.
    """

    target = None

    def __init__(self, title: str, *, hold: bool = False) -> None:
        import cv2

        if sys.platform == "linux" and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            # OpenCV's Qt does not report this, it aborts the process.
            raise MissingDependency(
                "--show needs a screen",
                "neither DISPLAY nor WAYLAND_DISPLAY is set",
                "log in on the desktop or use ssh -X; without a screen: --save OUT.mp4",
            )
        self._title = title
        self._hold = hold
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error as error:
            raise MissingDependency(
                "--show needs an OpenCV with windows",
                "this one is built without them (headless)",
                "pip uninstall opencv-python-headless && pip install --force-reinstall "
                "opencv-python",
            ) from error

    def write(self, result: Result) -> bool:
        """See :class:`Sink`."""
        import cv2

        cv2.imshow(self._title, result.drawing)
        while True:
            key = cv2.waitKey(50 if self._hold else 1) & 0xFF
            closed = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
            if closed or key in (ord("q"), _ESCAPE):
                return False
            if not self._hold or key != 0xFF:
                return True

    def close(self) -> None:
        """See :class:`Sink`."""
        import contextlib

        import cv2

        with contextlib.suppress(cv2.error):
            cv2.destroyWindow(self._title)
