"""Latency of artefacts by batch size: the bare network, and the whole way from image to poses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from edgepose.bench.hardware import load_average
from edgepose.bench.records import BenchRecord, describe_artefact
from edgepose.bench.scenes import Scene
from edgepose.bench.statistics import summary
from edgepose.bench.timing import Cell, Samples, Schedule, measure
from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.errors import InputError
from edgepose.estimator import Estimator

__all__ = ["STAGES", "latency_records", "network_cell", "poses_cell"]

STAGES = {
    "network": "runner.infer on a batch that is cropped and normalised already",
    "poses": "estimator(image, boxes): crop, normalise, infer, decode, map back",
}


def network_cell(name: str, estimator: Estimator, scene: Scene, batch: int) -> Cell:
    """The bare network on a prepared batch."""
    spec = estimator.spec
    affines = box_affines(scene.people(batch), spec.input_size, spec.padding)
    images = to_input(warp_crops(scene.image, affines, spec.input_size), spec)
    return Cell(name, partial(estimator.runner.infer, images))


def poses_cell(name: str, estimator: Estimator, scene: Scene, batch: int) -> Cell:
    """The whole way from image and boxes to poses."""
    return Cell(name, partial(estimator, scene.image, scene.people(batch)))


def latency_records(
    estimators: Mapping[str, Estimator],
    scene: Scene,
    batches: Sequence[int],
    command: str,
    schedule: Schedule | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[BenchRecord]:
    """Time all artefacts together, batch by batch in shuffled rounds; one record each.

    Args:
        estimators: Artefact name -> estimator.
        scene: The picture and its people.
        batches: Batch sizes.
        command: The command that makes the records again.
        schedule: How often; the default of :class:`~edgepose.bench.timing.Schedule`.
        progress: Called with (visits done, visits in all).

    Raises:
        InputError: An artefact takes no batch of that size.
    """
    schedule = schedule or Schedule()
    cells = []
    for name, estimator in estimators.items():
        for batch in batches:
            _check_batch(name, estimator, batch)
            cells.append(network_cell(f"{name} network {batch}", estimator, scene, batch))
            cells.append(poses_cell(f"{name} poses {batch}", estimator, scene, batch))
    before = load_average()
    samples = measure(cells, schedule, progress)
    protocol: dict[str, Any] = {
        "stages": STAGES,
        "scene": scene.source,
        "timed_together": list(estimators),
        "schedule": schedule.to_dict(),
        "load_before": before,
    }
    return [
        BenchRecord(
            kind="latency",
            command=command,
            artefact=describe_artefact(estimator, name),
            runner=estimator.runner.describe(),
            protocol=protocol,
            results=[
                _row(stage, batch, samples[f"{name} {stage} {batch}"])
                for batch in batches
                for stage in STAGES
            ],
        )
        for name, estimator in estimators.items()
    ]


def _check_batch(name: str, estimator: Estimator, batch: int) -> None:
    runner = estimator.runner
    fits = batch <= runner.max_batch and (runner.buckets is None or batch in runner.buckets)
    if not fits:
        sizes = f"batches of {', '.join(map(str, runner.buckets))}" if runner.buckets else ""
        raise InputError(
            f"{name} cannot be timed at batch {batch}",
            f"it takes {sizes or f'at most {runner.max_batch} people'}",
            "choose another --batch",
        )


def _row(stage: str, batch: int, milliseconds: Samples) -> dict[str, Any]:
    return {
        "stage": stage,
        "batch": batch,
        "milliseconds": summary(milliseconds),
        "persons_per_second": round(batch / float(np.median(milliseconds)) * 1000, 2),
        "samples_ms": [[round(float(v), 4) for v in visit] for visit in milliseconds],
    }
