"""How much of the time is left, and what still fits into it."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Budget"]

# A step that takes nearly all the time that was given would never be begun otherwise.
_WHOLE = 0.8
_LEAST = 1.0


class Budget:
    """Time for a run.

    What a step takes is a guess made elsewhere; how wrong the guesses of its kind were on this
    machine so far corrects the next ones.

    Args:
        seconds: All of it.
        clock: Seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = seconds
        self._end = clock() + seconds
        self._pace: dict[str, float] = {}

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self._end - self._clock())

    def expected(self, kind: str, guess: float) -> float:
        """What a step of that kind will take."""
        return guess * self._pace.get(kind, 1.0)

    def allows(self, expected: float) -> bool:
        """Whether a step that takes so long may begin."""
        return self.left >= max(_LEAST, min(expected, _WHOLE * self._all))

    def took(self, kind: str, guess: float, seconds: float) -> None:
        """A step of that kind ended."""
        self._pace[kind] = seconds / guess
