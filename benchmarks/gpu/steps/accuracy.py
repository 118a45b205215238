"""COCO's AP of an engine, beside what is on record of the weights."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.absent import Absent
from benchmarks.gpu.bundle import Bundle, Model
from benchmarks.gpu.child import Tell
from benchmarks.gpu.opened import open_bundle
from edgepose.errors import require
from edgepose.estimator import Estimator
from edgepose.evaluate import CocoKeypoints, evaluate_protocols
from edgepose.runtime.tensorrt import TensorRTRunner

__all__ = ["AP_DROP", "run"]

# Largest loss of AP, in points, against the model in FP32.
AP_DROP = {"fp32": 0.1, "fp16": 0.1, "int8": 1.0, "int8-fp16": 1.0}


def run(task: Mapping[str, Any], tell: Tell) -> None:
    """Measure without and with the flip test, and tell."""
    bundle, model = open_bundle(task)
    if not model.trained:
        raise Absent(
            f"a set of trained weights of {model.name}",
            f"it has {model.weights}; random weights find no poses, and their AP says nothing",
        )
    require("pycocotools", "eval")
    dataset = CocoKeypoints.load(_folder(bundle))
    with Estimator(TensorRTRunner(task["engine"])) as estimator:
        results = evaluate_protocols(estimator, dataset, (False, True))
        rows = [_beside(result.to_dict(), model, AP_DROP[task["precision"]]) for result in results]
        judged = [row["passed"] for row in rows if row["passed"] is not None]
        tell.found(
            {
                "passed": all(judged) if judged else None,
                "figures": rows,
                "runner": estimator.runner.describe(),
            }
        )


def _beside(figures: dict[str, Any], model: Model, most: float) -> dict[str, Any]:
    """A result with the model's own AP by the same protocol, where that was measured."""
    known = [m.ap for m in model.spec.provenance.measured if m.protocol == figures["label"]]
    if not known:
        return figures | {"model_ap": None, "drop": None, "passed": None}
    ap = figures["metrics"]["ap"]
    drop = None if ap is None else round(known[0] - ap, 3)
    passed = drop is not None and drop <= most
    return figures | {"model_ap": known[0], "drop": drop, "limit": most, "passed": passed}


def _folder(bundle: Bundle) -> Path:
    """The COCO folder, unpacked once.

    Raises:
        Absent: The bundle has none, or its part was not carried.
    """
    if bundle.manifest.coco is None:
        raise Absent("a COCO folder", "the bundle was prepared without --coco")
    archive = bundle.path(bundle.manifest.coco)
    folder = bundle.work / "coco"
    stamp = folder / "unpacked.json"
    digest = bundle.manifest.files[bundle.manifest.coco].sha256
    if not stamp.is_file() or json.loads(stamp.read_text()) != digest:
        with tarfile.open(archive) as file:
            for member in file:
                target = (folder / member.name).resolve()
                if not member.isfile() or not target.is_relative_to(folder.resolve()):
                    raise Absent("a COCO folder", f"its archive holds '{member.name}'")
                target.parent.mkdir(parents=True, exist_ok=True)
                source = file.extractfile(member)
                if source is not None:
                    target.write_bytes(source.read())
        stamp.write_text(json.dumps(digest))
    return folder
