"""Accuracy of an artefact: found in its own process, judged here.

The process that holds the artefact runs :func:`predict_job`, which only finds poses and writes them
to a file; :func:`load_measured` reads it and :func:`accuracy_sections` judges, where the artefact
is not needed any more and pycocotools cannot disturb what is being measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import edgepose
from edgepose.errors import InputError, SpecError
from edgepose.estimator import Estimator
from edgepose.evaluate import (
    CocoKeypoints,
    CocoTask,
    MpiiPoses,
    PckhTask,
    Predicted,
    PredictionStore,
    coco_task,
    pckh_task,
    predict,
)
from edgepose.evaluate.predict import Progress
from edgepose.evaluate.store import read_arrays, write_arrays
from edgepose.spec import PoseSpec
from edgepose.zoo import sha256_of

__all__ = [
    "Evaluation",
    "Measured",
    "accuracy_sections",
    "load_measured",
    "predict_job",
]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One set of people to measure accuracy on, the same for all artefacts.

    Attributes:
        coco: COCO-layout folder; this or ``mpii``.
        mpii: Folder in MPII's layout, for PCKh.
        detections: File of detected boxes for the photos of ``coco``; the annotated ones by
            default.
        box_threshold: Detected boxes with a lower score are dropped.
        flips: Flip test off, on, or both.
        limit: Only so many photos, the first.
        batch: Persons in one call; by default what the runner takes, at most 32.
    """

    coco: str | None = None
    mpii: str | None = None
    detections: str | None = None
    box_threshold: float = 0.0
    flips: tuple[bool, ...] = (False,)
    limit: int | None = None
    batch: int | None = None

    def __post_init__(self) -> None:
        if (self.coco is None) == (self.mpii is None):
            raise ValueError("an evaluation is of a COCO folder or of an MPII folder")
        if self.detections is not None and self.coco is None:
            raise ValueError("detections are for the photos of a COCO folder")
        if not self.flips or len(set(self.flips)) != len(self.flips):
            raise ValueError(f"flips {self.flips}: off, on, or both")

    def task(self, spec: PoseSpec) -> CocoTask | PckhTask:
        """What a model of that spec has to do; reads the annotations.

        Raises:
            DatasetError: As :meth:`CocoKeypoints.load`, :func:`coco_task`, :meth:`MpiiPoses.load`
                and :func:`pckh_task`.
        """
        if self.mpii is not None:
            return pckh_task(MpiiPoses.load(self.mpii), spec, self.limit)
        dataset = CocoKeypoints.load(str(self.coco), spec.keypoints)
        return coco_task(dataset, spec, self.detections, self.box_threshold, self.limit)

    def job(
        self, out: str | Path, *, store: str | Path | None = None, sha256: str | None = None
    ) -> dict[str, Any]:
        """What :func:`predict_job` takes, JSON-ready.

        Args:
            out: File (npz) that the poses are written to.
            store: File (npz) that keeps them meanwhile, so that a process that is killed loses
                seconds of work. Removed once ``out`` is written.
            sha256: Digest of the weights, for a PyTorch model; of a file it is read.
        """
        facts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return facts | {
            "flips": list(self.flips),
            "out": str(out),
            "store": None if store is None else str(store),
            "sha256": sha256,
        }


@dataclass(frozen=True)
class Measured:
    """The poses of one artefact, and by what to judge them.

    Attributes:
        spec: Of the artefact.
        task: Whom it looked for.
        predicted: What it found, one for each protocol.
        seconds: How long that took, all protocols together.
        resumed: Persons that an earlier run had left done; ``seconds`` is of the others.
    """

    spec: PoseSpec
    task: CocoTask | PckhTask
    predicted: tuple[Predicted, ...]
    seconds: float
    resumed: int = 0


def predict_job(
    estimator: Estimator, job: Mapping[str, Any], progress: Progress | None = None
) -> dict[str, Any]:
    """Find the poses and write them to ``job["out"]``.

    Without a digest of the artefact (random weights) nothing is kept meanwhile: nobody could tell
    whose poses those are.

    Args:
        estimator: The loaded artefact.
        job: From :meth:`Evaluation.job`.
        progress: Called with (persons done, persons in all).

    Returns:
        JSON-ready: the file written, persons, seconds, how many persons were taken over.

    Raises:
        DatasetError: As :meth:`Evaluation.task`; or a photo is not the one annotated.
        ImageError: A photo is damaged.
        OutputError: A file cannot be written.
    """
    facts = {name: job[name] for name in Evaluation.__dataclass_fields__}
    evaluation = Evaluation(**facts | {"flips": tuple(job["flips"])})
    task = evaluation.task(estimator.spec)
    digest = job["sha256"] or _file_digest(estimator)
    store = None
    if job["store"] is not None and digest is not None:
        key = {
            "edgepose": edgepose.__version__,
            "artefact": digest,
            "spec": estimator.spec.to_dict(),
            "runner": estimator.runner.describe(),
            "people": task.people.sha256,
            "flips": list(evaluation.flips),
        }
        store = PredictionStore(job["store"], key)
    begun = time.perf_counter()
    found = predict(
        estimator,
        task.people,
        flips=evaluation.flips,
        batch=evaluation.batch,
        progress=progress,
        store=store,
    )
    seconds = time.perf_counter() - begun
    resumed = 0 if store is None else store.resumed
    _write(job["out"], estimator.spec, task, found, seconds, resumed)
    if store is not None:
        store.discard()
    return {
        "out": job["out"],
        "persons": len(task.people),
        "seconds": round(seconds, 3),
        "resumed": resumed,
    }


def load_measured(evaluation: Evaluation, out: str | Path) -> Measured:
    """What :func:`predict_job` wrote, with the annotations it has to be judged by.

    Raises:
        InputError: The file is absent, damaged, or of other people.
        DatasetError: As :meth:`Evaluation.task`.
    """
    arrays = read_arrays(out)
    try:
        spec = PoseSpec.from_json(str(arrays["spec"]))
        facts = json.loads(str(arrays["facts"]))
        keypoints, scores = arrays["keypoints"], arrays["scores"]
    except (KeyError, ValueError, SpecError) as error:
        raise InputError(f"cannot read {out}", f"it holds no poses of a job ({error})") from error
    task = evaluation.task(spec)
    if facts["people"] != task.people.sha256 or facts["flips"] != list(evaluation.flips):
        raise InputError(
            f"the poses in {out} are not of these people",
            "the annotations, the detections or the protocol changed since they were found",
            "measure again",
        )
    predicted = [
        Predicted(task.people, *each)
        for each in zip(evaluation.flips, keypoints, scores, strict=True)
    ]
    return Measured(spec, task, tuple(predicted), facts["seconds"], facts["resumed"])


def accuracy_sections(measured: Measured) -> list[dict[str, Any]]:
    """Label, metrics and protocol for each protocol, as they stand in a record.

    Raises:
        MissingDependency: pycocotools is not installed (COCO only).
    """
    task = measured.task
    results = [
        task.judge(found, measured.spec) if isinstance(task, CocoTask) else task.judge(found)
        for found in measured.predicted
    ]
    # One pass finds the poses of all protocols, so that its time is that of all of them.
    took = {"seconds": round(measured.seconds, 3), "resumed_persons": measured.resumed}
    return [result.to_dict() | took for result in results]


def _write(
    out: str,
    spec: PoseSpec,
    task: CocoTask | PckhTask,
    found: Sequence[Predicted],
    seconds: float,
    resumed: int,
) -> None:
    facts = {
        "people": task.people.sha256,
        "flips": [each.flip for each in found],
        "seconds": seconds,
        "resumed": resumed,
    }
    write_arrays(
        out,
        {
            "spec": np.array(spec.to_json()),
            "facts": np.array(json.dumps(facts)),
            "keypoints": np.stack([each.keypoints for each in found]),
            "scores": np.stack([each.scores for each in found]),
        },
    )


def _file_digest(estimator: Estimator) -> str | None:
    path = getattr(estimator.runner, "path", None)
    return sha256_of(path) if isinstance(path, Path) else None
