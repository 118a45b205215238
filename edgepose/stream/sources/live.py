"""Cameras and network streams: newest frame first, never a queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

from edgepose.errors import EdgeposeError, SourceError
from edgepose.poses import Frame
from edgepose.stream.sources.base import Source
from edgepose.stream.sources.capture import Capture, quiet_opencv
from edgepose.stream.sources.mailbox import Closed, Mailbox

__all__ = ["LiveSource"]

_JOIN_S = 1.0
# The opener has the same limit by itself; with a little more time its own words come first.
_GRACE_S = 1.0


class LiveSource(Source):
    """A live source, drained by a thread of its own into a mailbox for one frame.

    A consumer slower than the source gets the newest frame each time and never falls behind; what
    it missed is counted in ``dropped``. ``Frame.index`` counts all frames, so that gaps show.

    The thread alone touches the capture, from opening to closing: Ctrl-C works while a camera does
    not answer, and nothing is released under a running read.

    Args:
        name: What to call it, without credentials.
        opener: Opens the capture, or raises SourceError.
        open_timeout_s: Longest wait for ``opener``.
        stall_s: Longest wait for a frame.

    Raises:
        SourceError: It cannot be opened.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], Capture],
        *,
        open_timeout_s: float = 10.0,
        stall_s: float = 10.0,
    ) -> None:
        super().__init__(name, live=True)
        self._opener = opener
        self._stall_s = stall_s
        self._mailbox: Mailbox[Frame] = Mailbox()
        self._stop = threading.Event()
        self._settled = threading.Event()
        self._unopened: BaseException | None = None
        self._failure: BaseException | None = None
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._drain, name=f"source {name}", daemon=True)
        self._thread.start()
        answered = self._settled.wait(open_timeout_s + _GRACE_S)
        self._check_opened()
        if not answered:
            self.close()
            raise SourceError(
                f"cannot open {name}", f"it did not answer within {open_timeout_s:g} s"
            )

    def _check_opened(self) -> None:
        if self._unopened is not None:
            # Its thread is ending. A program that ends before it, in FFmpeg's code, is aborted.
            self._thread.join(_GRACE_S)
            raise self._unopened

    @property
    def dropped(self) -> int:
        """See :class:`Source`."""
        return self._mailbox.overwritten

    def age(self, frame: Frame) -> float | None:
        """See :class:`Source`."""
        return time.monotonic() - self._started - frame.time_s

    def __iter__(self) -> Iterator[Frame]:
        """See :class:`Source`. A live source has no end of its own: it ends with SourceError."""
        while True:
            try:
                yield self._mailbox.take(self._stall_s)
            except Closed:
                if self._failure is not None:
                    raise self._failure from None
                return
            except TimeoutError:
                raise SourceError(
                    f"{self.name} stalled", f"no frame came for {self._stall_s:g} s"
                ) from None

    def close(self) -> None:
        """See :class:`Source`. A read that blocks is left to its own timeout."""
        self._stop.set()
        self._thread.join(_JOIN_S)

    def _drain(self) -> None:
        """Body of the thread. Every way out closes the mailbox."""
        try:
            with quiet_opencv(), closing(self._open()) as capture:
                self._read(capture)
        except BaseException as error:  # handed to the consumer, in its own thread
            self._failure = error
        finally:
            self._mailbox.close()

    def _open(self) -> Capture:
        """Open, and let the constructor go on: what breaks later is for who reads the frames."""
        try:
            capture = self._opener()
            self.fps = capture.fps
            self._started = time.monotonic()
            return capture
        except BaseException as error:
            self._unopened = error
            raise
        finally:
            self._settled.set()

    def _read(self, capture: Capture) -> None:
        index = 0
        while not self._stop.is_set():
            image = capture.read()
            if image is None:
                raise _ended(self.name, index)
            self._mailbox.put(Frame(image, index, time.monotonic() - self._started, self.name))
            index += 1


def _ended(name: str, frames: int) -> EdgeposeError:
    if frames == 0:
        return SourceError(
            f"{name} gives no frames",
            "it opens, but its first frame cannot be read",
            "see whether another program holds it, or whether it needs a user and password",
        )
    return SourceError(
        f"{name} broke off",
        f"no frame could be read after {frames} frames (connection lost, or the sender stopped)",
        "start again when it is back; what was written so far is kept",
    )
