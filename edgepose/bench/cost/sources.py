"""Counting whatever an artefact is: an ONNX file, the file an engine was built from, a model."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from edgepose.bench.cost.figures import Cost
from edgepose.errors import EngineError, require
from edgepose.spec import PoseSpec
from edgepose.trt import sidecar as sidecars
from edgepose.zoo import sha256_of

__all__ = ["engine_cost", "onnx_cost", "torch_cost"]


def onnx_cost(path: str | Path, spec: PoseSpec | None = None) -> Cost:
    """Count an ONNX graph.

    Shapes are those for one person, or for the one batch that the graph takes. What cannot be
    counted is named in ``uncounted``, never passed over.

    Args:
        path: Any ONNX file: of any exporter, precision and size.
        spec: Of a foreign graph, whose input may be of open size; overrides the one inside.

    Raises:
        MissingDependency: The export extra is not installed.
        GraphError: The file is missing, no ONNX, or lacks its data.
        SpecError: The spec inside is damaged.
    """
    require("onnx", "export")
    counting = require("edgepose.bench.cost.counting", "export")
    cost: Cost = counting.count_onnx(Path(path), spec)
    return cost


def engine_cost(engine: str | Path) -> Cost:
    """Count the ONNX file that an engine was built from; an engine itself tells no multiply-adds.

    The file is looked for where the sidecar says that it was, then beside the engine.

    Args:
        engine: The engine, its sidecar beside it.

    Raises:
        EngineError: The sidecar cannot be read, or that very file is not on this machine.
        MissingDependency: As for :func:`onnx_cost`.
    """
    engine = Path(engine)
    sidecar = sidecars.read(engine)
    source = Path(sidecar.onnx)
    candidates = [source, engine.parent / source.name]
    present = [path for path in candidates if path.is_file()]
    for path in present:
        if sha256_of(path) == sidecar.onnx_sha256:
            return onnx_cost(path, sidecar.spec)
    why = (
        f"{present[0]} has changed since"
        if present
        else f"{source.name} is neither where it was nor beside the engine"
    )
    raise EngineError(
        f"the multiply-adds of {engine.name} cannot be counted",
        f"they are counted on the ONNX file that it was built from, and {why}",
        f"put the {source.name} that it was built from beside it",
    )


@lru_cache(maxsize=64)
def torch_cost(name: str) -> Cost:
    """Count a registry model with PyTorch's own counter; nothing is computed.

    Args:
        name: ``model`` or ``model@HxW``.

    Raises:
        InputError: The model is unknown, or cannot take that size.
        MissingDependency: The export extra is not installed.
    """
    require("torch", "export")
    counted: Cost = require("edgepose.bench.cost.eager", "export").count_torch(name)
    return counted
