"""Whether an engine finds the poses that PyTorch found, and those of the file it was built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.gpu.child import Tell
from benchmarks.gpu.opened import limits_of, onnx_file, open_bundle
from benchmarks.gpu.people import StoredRunner, nudged_runners, read_people, strips
from edgepose.parity import Parity, compare
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.runtime.tensorrt import TensorRTRunner

__all__ = ["run"]


def run(task: Mapping[str, Any], tell: Tell) -> None:
    """Compare at every batch size of the profile, and tell after each."""
    bundle, model = open_bundle(task)
    people = read_people(bundle.path(model.people))
    onnx = onnx_file(bundle, model, task["precision"])
    limits = limits_of(model, task["precision"])
    verdicts: list[dict[str, Any]] = []
    with TensorRTRunner(task["engine"]) as engine, OnnxRunner(onnx) as file:
        for batch in task["profile"]:
            photos = strips(people.crops, batch, model.spec)
            stored = StoredRunner(model.spec, people.crops, people.found)
            swayed = nudged_runners(people, model.spec)
            torch = compare(stored, engine, photos, limits, swayed)
            verdicts.append(_row("PyTorch FP32", batch, torch))
            verdicts.append(_row("its ONNX file", batch, compare(file, engine, photos, limits)))
            # Each batch may run in another way from its second call on, as a captured graph.
            stored = StoredRunner(model.spec, people.crops, people.found)
            swayed = nudged_runners(people, model.spec)
            again = compare(stored, engine, photos, limits, swayed)
            verdicts.append(_row("PyTorch FP32, second time", batch, again))
            tell.found(
                {
                    "passed": all(v["parity"]["passed"] for v in verdicts),
                    "verdicts": verdicts,
                    "runner": engine.describe(),
                    "weights": model.weights,
                    "judged": "poses and tensors" if model.trained else "tensors alone",
                }
            )


def _row(against: str, batch: int, parity: Parity) -> dict[str, Any]:
    return {"against": against, "batch": batch, "parity": parity.to_dict()}
