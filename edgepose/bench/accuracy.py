"""Accuracy of an artefact on a COCO-layout folder, as a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgepose.bench.records import BenchRecord, describe_artefact
from edgepose.estimator import Estimator
from edgepose.evaluate import CocoKeypoints, CocoResult, evaluate

__all__ = ["accuracy_record", "measure_accuracy"]

Progress = Callable[[int, int], None]


def accuracy_record(
    name: str,
    estimator: Estimator,
    dataset: CocoKeypoints,
    flips: Sequence[bool],
    command: str,
    *,
    batch: int | None = None,
    progress: Progress | None = None,
) -> BenchRecord:
    """Measure and record; see :func:`measure_accuracy`."""
    results = measure_accuracy(estimator, dataset, flips, batch=batch, progress=progress)
    return BenchRecord(
        kind="accuracy",
        command=command,
        artefact=describe_artefact(estimator, name),
        runner=estimator.runner.describe(),
        protocol={"metric": "COCO keypoint AP and AR by pycocotools, percent", "set": dataset.name},
        results=[result.to_dict() for result in results],
    )


def measure_accuracy(
    estimator: Estimator,
    dataset: CocoKeypoints,
    flips: Sequence[bool],
    *,
    batch: int | None = None,
    progress: Progress | None = None,
) -> list[CocoResult]:
    """One result a protocol.

    Args:
        estimator: The loaded artefact.
        dataset: The photos.
        flips: Flip test off, on, or both, in the order wanted.
        batch: Persons in one call.
        progress: Called with (persons done, persons in all), all protocols together.

    Raises:
        DatasetError: As :func:`edgepose.evaluate.evaluate`.
    """
    results = []
    for turn, flip in enumerate(flips):

        def report(done: int, total: int, turn: int = turn) -> None:
            if progress is not None:
                progress(turn * total + done, len(flips) * total)

        results.append(evaluate(estimator, dataset, flip=flip, batch=batch, progress=report))
    return results
