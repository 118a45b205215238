"""The cost of an artefact as its record holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgepose.bench.cost.checking import check
from edgepose.bench.cost.convention import CONVENTION
from edgepose.bench.cost.figures import Cost
from edgepose.bench.cost.sources import engine_cost, onnx_cost, torch_cost
from edgepose.errors import EdgeposeError, MissingDependency
from edgepose.models import REGISTRY
from edgepose.spec import PoseSpec

__all__ = ["Source", "cost_section"]

_COCO = 17


@dataclass(frozen=True)
class Source:
    """What is to be counted.

    Attributes:
        artefact: The file, or for PyTorch the registry name.
        kind: What it is.
        spec: The spec in force.
    """

    artefact: str | Path
    kind: Literal["onnx", "engine", "torch"]
    spec: PoseSpec | None = None


def cost_section(
    source: Source,
    latency: Mapping[str, Any] | None = None,
    roof: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Count an artefact and hold its speed against the roof.

    Args:
        source: The artefact.
        latency: The record's latency section, whose network stage gives the speed; None where it
            was not measured.
        roof: As :func:`edgepose.bench.cost.roof` gives it; None where it was not measured.

    Returns:
        The section; ``{"unavailable": why}`` where nothing can be counted.
    """
    try:
        cost = _counted(source)
    except EdgeposeError as error:
        return {"unavailable": str(error)}
    torch_gmacs, notes = _beside_torch(cost)
    return {
        "convention": CONVENTION,
        "gmacs": cost.gmacs,
        "params": cost.params,
        "activation_peak_bytes": cost.activation_peak_bytes,
        "activation_peak_means": cost.peak_means,
        "batch": cost.batch,
        "layers": [layer.to_dict() for layer in cost.layers],
        "counted_on": cost.counted_on,
        "torch_gmacs": torch_gmacs,
        "uncounted": [entry.to_dict() for entry in cost.uncounted],
        "notes": [*_warnings(cost), *cost.notes, *notes],
        "roof": None if roof is None else dict(roof),
        "achieved": _achieved(cost, latency, roof),
    }


def _counted(source: Source) -> Cost:
    if source.kind == "torch":
        return torch_cost(_sized(str(source.artefact), source.spec))
    if source.kind == "engine":
        return engine_cost(source.artefact)
    return onnx_cost(source.artefact, source.spec)


def _sized(name: str, spec: PoseSpec | None) -> str:
    """The name with the size in force: a bare one means that of the weights."""
    if "@" in name or spec is None:
        return name
    return f"{name}@{spec.input_size[0]}x{spec.input_size[1]}"


def _beside_torch(cost: Cost) -> tuple[float | None, list[str]]:
    """What PyTorch's counter says of the model, and how the two compare."""
    if cost.counted_on == "torch":
        return cost.gmacs, []
    base = (cost.model or "").partition("@")[0]
    if cost.model is None or base not in REGISTRY:
        return None, ["It is no model of edgepose's registry, so PyTorch counts nothing beside it."]
    if cost.keypoints != _COCO:
        return None, [f"PyTorch's count is for {_COCO} keypoints, not for {cost.keypoints}."]
    try:
        torch = torch_cost(cost.model)
    except MissingDependency as error:
        return None, [f"Not checked against PyTorch's counter: {error.what}."]
    except EdgeposeError as error:
        return None, [f"Not checked against PyTorch's counter: {error}."]
    if cost.uncounted:
        return torch.gmacs, ["Not compared with PyTorch's counter, since the count is not whole."]
    return torch.gmacs, check(cost, torch).sentences()


def _warnings(cost: Cost) -> list[str]:
    if not cost.uncounted:
        return []
    count, first = len(cost.uncounted), cost.uncounted[0]
    nodes = "one node is" if count == 1 else f"{count} nodes are"
    return [f"The count is TOO LOW: {nodes} not in it, {'' if count == 1 else 'first '}{first}."]


def _achieved(
    cost: Cost, latency: Mapping[str, Any] | None, roof: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """GFLOP/s of the network stage at its median, and the share of the roof."""
    if cost.uncounted:
        return []  # a speed in operations that nobody has counted
    peak = (roof or {}).get("gflops")
    rows = []
    for cell in (latency or {}).get("cells", ()):
        if cell["stage"] != "network":
            continue
        speed = 2 * cost.gmacs * cell["batch"] / (cell["milliseconds"]["p50"] / 1e3)
        share = round(speed / peak, 4) if peak else None
        rows.append({"batch": cell["batch"], "gflops": round(speed, 2), "share": share})
    return rows
