"""Counting an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from edgepose.bench.cost.convention import PEAK
from edgepose.bench.cost.figures import Cost, Layer, Uncounted
from edgepose.bench.cost.graph import Constant, Graph, read_graph
from edgepose.bench.cost.liveness import activation_peak
from edgepose.bench.cost.macs import Call, Uncountable, macs_of
from edgepose.bench.cost.origins import origins_of
from edgepose.bench.cost.parameters import parameters_of
from edgepose.bench.cost.shapes import Shapes, find_shapes
from edgepose.export.lint.origin import Origin, short_name
from edgepose.export.metadata import read_record, read_spec
from edgepose.spec import METADATA_KEY, PoseSpec

__all__ = ["count_onnx"]


def count_onnx(path: Path, spec: PoseSpec | None) -> Cost:
    """See :func:`edgepose.bench.cost.onnx_cost`."""
    graph = read_graph(path)
    spec = spec or _embedded(graph.model)
    shapes = find_shapes(graph, spec)
    macs = [_macs(node, graph, shapes) for node in graph.nodes]
    parameters = parameters_of(graph)
    # What cannot be counted may be a product, too.
    products = {index for index, count in enumerate(macs) if count}
    origins = origins_of(graph, parameters, products)
    layers, uncounted = [], []
    for index, own in enumerate(_first_readers(parameters)):
        node, count = graph.nodes[index], macs[index]
        name = short_name(node.name) or f"{node.op_type}_{index}"
        params = sum(constant.count for constant in own)
        known = 0 if isinstance(count, str) else count
        layer = _layer(node, name, known, params, origins[index], shapes)
        if isinstance(count, str):
            uncounted.append(Uncounted(name=name, op=node.op_type, module=layer.module, why=count))
        if params or known:
            layers.append(layer)
    peak = activation_peak(graph, shapes)
    return Cost(
        counted_on="onnx",
        layers=tuple(layers),
        activation_peak_bytes=peak,
        peak_means=PEAK if peak is not None else _no_peak(graph, shapes),
        uncounted=tuple(uncounted),
        notes=tuple(_notes(shapes)),
        batch=shapes.batch,
        model=None if spec is None else f"{spec.model}@{spec.input_size[0]}x{spec.input_size[1]}",
        keypoints=None if spec is None else len(spec.keypoints),
        rewrites=_rewrites(read_record(graph.model)),
    )


def _embedded(model: onnx.ModelProto) -> PoseSpec | None:
    if any(entry.key == METADATA_KEY for entry in model.metadata_props):
        return read_spec(model)
    return None


def _macs(node: onnx.NodeProto, graph: Graph, shapes: Shapes) -> int | str:
    """Multiply-adds of a batch, or why nobody knows."""
    try:
        return macs_of(Call(node, shapes.shapes), graph.opset)
    except Uncountable as error:
        return (
            f"{error}; {shapes.failed}" if shapes.failed and _unknown(node, shapes) else str(error)
        )


def _unknown(node: onnx.NodeProto, shapes: Shapes) -> bool:
    return any(n not in shapes.shapes for n in (*node.input, *node.output) if n)


def _first_readers(parameters: Sequence[Sequence[Constant]]) -> list[list[Constant]]:
    """Of each node, the parameters that no node before it reads."""
    seen: set[str] = set()
    found = []
    for read in parameters:
        found.append([constant for constant in read if constant.name not in seen])
        seen.update(constant.name for constant in read)
    return found


def _layer(
    node: onnx.NodeProto,
    name: str,
    macs: int,
    params: int,
    origin: Origin | None,
    shapes: Shapes,
) -> Layer:
    return Layer(
        name=name,
        op=node.op_type,
        shape=shapes.shapes.get(node.output[0]),
        macs=macs if shapes.batch == 1 else macs / shapes.batch,
        params=params,
        path=None if origin is None else origin.path,
        kind=origin.kind or None if origin else None,
    )


def _rewrites(record: dict[str, Any]) -> tuple[str, ...] | None:
    # A file that was converted from another one lists none, whatever that one's export applied.
    return tuple(str(entry["name"]) for entry in record.get("rewrites") or ()) or None


def _no_peak(graph: Graph, shapes: Shapes) -> str:
    inner = any(a.HasField("g") or a.graphs for node in graph.nodes for a in node.attribute)
    why = "it holds branches or loops" if inner else shapes.failed or "the size of a tensor is open"
    return f"The activation peak of this graph is unknown: {why}."


def _notes(shapes: Shapes) -> list[str]:
    if shapes.batch == 1:
        return []
    return [
        f"The graph takes batches of {shapes.batch} and no others: shapes and the activation peak "
        "are for that many persons, multiply-adds for one of them."
    ]
