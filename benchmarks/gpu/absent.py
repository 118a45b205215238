"""The error for what a measurement needs and this machine does not have."""

from __future__ import annotations

from edgepose.errors import EdgeposeError

__all__ = ["Absent"]


class Absent(EdgeposeError):
    """Something is not here, so that a step or a contender has nothing to measure.

    It is written down as such, with the reason, and nothing is called failed for it.
    """

    exit_code = 4

    def __init__(self, what: str, because: str, hint: str | None = None) -> None:
        super().__init__(f"{what} is not here", because, hint)
