"""A mailbox with room for one letter: the newest."""

from __future__ import annotations

import threading
import time
from typing import Generic, TypeVar

__all__ = ["Closed", "Mailbox"]

T = TypeVar("T")


class Closed(Exception):
    """Nothing will come any more."""


class Mailbox(Generic[T]):
    """Hands the newest item from one thread to another; an item nobody took is overwritten.

    That is what keeps a slow consumer fresh: it can be late by one item, never by a queue of them.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self._overwritten = 0

    @property
    def overwritten(self) -> int:
        """Items that were replaced before anyone took them."""
        return self._overwritten

    def put(self, item: T) -> None:
        """Leave an item, in place of one still lying there."""
        with self._changed:
            if self._item is not None:
                self._overwritten += 1
            self._item = item
            self._changed.notify_all()

    def close(self) -> None:
        """Announce that nothing more will come. An item still lying there can be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, timeout_s: float) -> T:
        """The newest item, waiting for it if there is none.

        Raises:
            Closed: There is none and none will come.
            TimeoutError: None came in time.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._item is None:
                if self._closed:
                    raise Closed
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._changed.wait(left)
            item, self._item = self._item, None
            return item
