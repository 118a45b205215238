"""One interruption is obeyed; those that follow find it busy with leaving things in order."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["one_interruption"]

# What a terminal, a service manager and a lost connection send.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def one_interruption() -> Iterator[None]:
    """While the block runs, the first signal to stop is a KeyboardInterrupt, and the only one.

    Whoever presses Ctrl-C twice must not lose what was measured while it is being written.
    """
    if threading.current_thread() is not threading.main_thread():  # no signals arrive there
        yield
        return
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            sys.stderr.write("writing what was measured; a moment, please\n")
            return
        asked = True
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
