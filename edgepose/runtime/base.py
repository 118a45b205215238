"""What every runtime offers: the Runner protocol."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

from edgepose.spec import PoseSpec

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Runner"]


class Runner(Protocol):
    """One loaded artefact on one device.

    Attributes:
        spec: The artefact's spec.
        device: The device in force, e.g. ``cpu``.
        max_batch: Largest batch of one call; the estimator splits what is larger.
        buckets: Batch sizes the artefact is fastest at, ascending, or None if any will do. The
            estimator pads to the next bucket.
    """

    spec: PoseSpec
    device: str
    max_batch: int
    buckets: tuple[int, ...] | None

    def infer(self, images: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Run a batch.

        Args:
            images: As :func:`edgepose.crops.to_input` makes them for ``spec``.

        Returns:
            Output name -> array with the same first dimension.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What is really in force: runtime and version, providers, precision, threads."""
        ...

    def close(self) -> None:
        """Free what is held. May be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
