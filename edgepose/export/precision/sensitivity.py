"""What each block of a graph costs in INT8, and which blocks to leave in float.

The graph is calibrated once, on one half of the people. Then each block is quantised alone, and the
poses that come out on the other half are compared with FP32's. No photo is in both halves.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgepose.crops import unapply_affines
from edgepose.errors import InputError
from edgepose.estimator import Estimator
from edgepose.evaluate import Predictions, coco_metrics, oks, pose_scores, ranking_threshold
from edgepose.export.precision.blocks import blocks_of
from edgepose.export.precision.calibration import Calibration
from edgepose.export.precision.int8 import Calibrated, Form, Ranges, calibrate
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.spec import PoseSpec

__all__ = ["Cost", "Row", "Sensitivity", "Step", "choose", "measure", "unannotated"]

Progress = Callable[[str], None]

# COCO's areas are of the person's outline, which fills about half of its box.
_AREA_OF_BOX = 0.53
# Enough to rank blocks by; the whole graph is judged on all people of the measuring half.
_PEOPLE_FOR_BLOCKS = 128
# Below it, one person more or less moves AP by more than anybody's budget.
_PEOPLE_FOR_AP = 64


@dataclass(frozen=True, kw_only=True)
class Cost:
    """How far the poses of a quantised graph are from FP32's.

    Attributes:
        oks: Mean OKS between the two.
        ap_drop: AP lost, in percent of 100; None where the people are not annotated.
    """

    oks: float
    ap_drop: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        drop = None if self.ap_drop is None else round(self.ap_drop, 2)
        return {"oks": round(self.oks, 5), "ap_drop": drop}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One block.

    Attributes:
        block: Its module, or where it lies.
        nodes: Names of its operations.
        cost: Of quantising it alone.
    """

    block: str
    nodes: tuple[str, ...]
    cost: Cost


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of :func:`choose`.

    Attributes:
        excluded: Blocks in float.
        cost: Of quantising all others.
    """

    excluded: tuple[str, ...]
    cost: Cost


@dataclass(kw_only=True)
class Sensitivity:
    """What each block costs.

    Attributes:
        rows: Blocks, the most costly first.
        whole: The cost of quantising them all.
        fp32_ap: AP of the FP32 graph on the measuring people; None where they are not annotated.
        calibrating: People that the ranges are from.
        measuring: People that the costs are from.
        steps: What :func:`choose` went through.
        calibrated: The graph with the ranges that all of this was measured with.
    """

    rows: tuple[Row, ...]
    whole: Cost
    fp32_ap: float | None
    calibrating: int
    measuring: int
    calibrated: Calibrated
    steps: list[Step] = field(default_factory=list)
    bench: _Bench = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "people": {"calibrating": self.calibrating, "measuring": self.measuring},
            "fp32_ap": None if self.fp32_ap is None else round(self.fp32_ap, 2),
            "whole": self.whole.to_dict(),
            "blocks": [
                {"block": row.block, "nodes": len(row.nodes), **row.cost.to_dict()}
                for row in self.rows
            ],
            "steps": [
                {"excluded": list(step.excluded), **step.cost.to_dict()} for step in self.steps
            ],
        }


def measure(
    model: onnx.ModelProto,
    calibration: Calibration,
    spec: PoseSpec,
    *,
    blocks: Mapping[str, Collection[str]] | None = None,
    form: Form = "tensorrt",
    ranges: Ranges | None = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """Quantise each block alone.

    Args:
        model: FP32 graph; it stays as it is.
        calibration: People; half of them are measured on, and AP is taken if they are annotated.
        spec: The graph's.
        blocks: Names of operations by block; by default some 16 blocks of modules.
        form: As for :func:`edgepose.export.precision.int8.to_int8`.
        ranges: Likewise.
        progress: Told of each step.

    Raises:
        GraphError: As :func:`edgepose.export.precision.int8.to_int8` does.
        InputError: An operation of ``blocks`` does not exist.
        DatasetError: All people are from one photo.
        MissingDependency: The people are annotated and pycocotools is not installed.
    """
    say = progress or (lambda step: None)
    first, second = calibration.halves()
    say(f"calibrating on {len(first)} people, to measure on {len(second)} others")
    calibrated = calibrate(model, first.batches(spec), form=form, ranges=ranges)
    sites = calibrated.sites
    chosen = blocks_of(sites) if blocks is None else {n: tuple(b) for n, b in blocks.items()}
    everything = {site.name for site in sites}
    _check_names(chosen, everything)
    bench = _Bench(model, calibrated, second, spec)
    some = _Bench(model, calibrated, second.first(_PEOPLE_FOR_BLOCKS), spec)
    rows = []
    for number, (block, nodes) in enumerate(chosen.items(), 1):
        cost = some.cost(exclude=everything - set(nodes))
        say(f"block {number} of {len(chosen)}, {block}: OKS {cost.oks:.4f}")
        rows.append(Row(block=block, nodes=nodes, cost=cost))
    whole = bench.cost(exclude=())
    say(f"all blocks: OKS {whole.oks:.4f}")
    return Sensitivity(
        rows=tuple(sorted(rows, key=lambda row: row.cost.oks)),
        whole=whole,
        fp32_ap=bench.ap,
        calibrating=len(first),
        measuring=len(second),
        calibrated=calibrated,
        bench=bench,
    )


def choose(
    sensitivity: Sensitivity, max_ap_drop: float, progress: Progress | None = None
) -> tuple[str, ...]:
    """Exclude the most costly blocks, one after the other, until the budget holds.

    The whole graph is measured again after each; the steps stay in ``sensitivity.steps``.

    Args:
        sensitivity: What :func:`measure` found.
        max_ap_drop: AP that may be lost, in percent of 100.
        progress: Told of each step.

    Returns:
        Names of the operations to leave in float, for
        :func:`edgepose.export.precision.int8.to_int8`.

    Raises:
        InputError: The people are not annotated or too few, or the budget holds only with nothing
            in INT8.
    """
    say = progress or (lambda step: None)
    cost = sensitivity.whole
    if cost.ap_drop is None:
        raise unannotated(max_ap_drop)
    if sensitivity.measuring < _PEOPLE_FOR_AP:
        raise InputError(
            f"--max-ap-drop {max_ap_drop:g} cannot be kept",
            f"an AP of {sensitivity.measuring} people, half of those in --calib, tells nothing",
            f"give --calib at least {2 * _PEOPLE_FOR_AP} people; 500 are better",
        )
    excluded: list[Row] = []
    while True:
        names = tuple(row.block for row in excluded)
        sensitivity.steps.append(Step(excluded=names, cost=cost))
        say(f"{len(names)} blocks in float: AP drops by {cost.ap_drop:.2f}")
        if cost.ap_drop is not None and cost.ap_drop <= max_ap_drop:
            return tuple(node for row in excluded for node in row.nodes)
        excluded.append(sensitivity.rows[len(excluded)])
        if len(excluded) == len(sensitivity.rows):
            raise InputError(
                f"--max-ap-drop {max_ap_drop:g} cannot be kept",
                f"with all blocks but one in float, AP still drops by {cost.ap_drop:.2f}",
                "allow more, or use --precision fp16",
            )
        cost = sensitivity.bench.cost(exclude=[n for row in excluded for n in row.nodes])


def _check_names(blocks: Mapping[str, Collection[str]], known: Collection[str]) -> None:
    for block, nodes in blocks.items():
        unknown = [name for name in nodes if name not in known]
        if unknown:
            raise InputError(f"block '{block}' names no operation that can be INT8: {unknown[0]}")


def unannotated(max_ap_drop: float) -> InputError:
    """What to say of a budget in AP for people that nobody annotated."""
    return InputError(
        f"--max-ap-drop {max_ap_drop:g} cannot be kept",
        "the people to calibrate on are not annotated, so that there is no AP",
        "give --calib a COCO-format folder with keypoints, or leave --max-ap-drop out",
    )


class _Bench:
    """People to measure on, and FP32's poses of them."""

    def __init__(
        self, model: onnx.ModelProto, calibrated: Calibrated, people: Calibration, spec: PoseSpec
    ) -> None:
        self._calibrated = calibrated
        self._people = people
        self._spec = spec
        sizes = people.boxes[:, 2:] - people.boxes[:, :2]
        self._areas = sizes.prod(1) * _AREA_OF_BOX
        self._reference, scores = self._poses(model)
        self.ap = self._ap(self._reference, scores)

    def cost(self, exclude: Collection[str]) -> Cost:
        """Of the graph with all operations quantised but those."""
        keypoints, scores = self._poses(self._calibrated.build(exclude).model)
        similar = oks(keypoints, self._reference, self._areas, self._spec.keypoints.sigmas)
        ap = self._ap(keypoints, scores)
        return Cost(
            oks=float(np.mean(similar)),
            ap_drop=None if self.ap is None or ap is None else self.ap - ap,
        )

    def _poses(
        self, model: onnx.ModelProto
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """(N, K, 2) in picture pixels and (N, K) scores."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            onnx.save(model, path)
            with Estimator(OnnxRunner(path, self._spec)) as estimator:
                keypoints, scores = estimator.infer_crops(self._people.crops)
        return unapply_affines(keypoints, self._people.affines), scores

    def _ap(
        self, keypoints: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]
    ) -> float | None:
        truth = self._people.truths
        if truth is None:
            return None
        ranks = pose_scores(scores, threshold=ranking_threshold(self._spec.output))
        found = Predictions(truth.image_ids, keypoints, ranks)
        return coco_metrics(truth, found, self._spec.keypoints.sigmas).ap
