"""What a step was told, opened: the bundle, its model, its engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.absent import Absent
from benchmarks.gpu.bundle import Bundle, Graph, Model
from edgepose.parity import FP16, FP32, INT8, ParityLimits

__all__ = ["limits_of", "onnx_file", "open_bundle"]

_LIMITS = {"fp32": FP32, "fp16": FP16, "int8": INT8, "int8-fp16": INT8}


def open_bundle(task: Mapping[str, Any]) -> tuple[Bundle, Model]:
    """The bundle and the model that a task is about."""
    bundle = Bundle([Path(folder) for folder in task["bundle"]], Path(task["work"]))
    return bundle, bundle.model(task["model"])


def onnx_file(bundle: Bundle, model: Model, precision: str) -> Path:
    """A model's ONNX file, put together.

    Raises:
        Absent: It could not be made, or was not carried.
    """
    graph: Graph = model.graphs[precision]
    if graph.file is None:
        raise Absent(f"{model.name} in {precision}", graph.words)
    return bundle.path(graph.file)


def limits_of(model: Model, precision: str) -> ParityLimits:
    """What is still the same pose; of random weights, tensors alone are judged."""
    limits = _LIMITS[precision]
    return limits if model.trained else limits.speed_only()
