"""Shape and type of every tensor for one person: inferred, and where that ends, tried out.

ONNX's inference knows most shapes once the input's are fixed. The rest (operators of other domains,
sizes computed on the way) comes from running the graph in onnxruntime on two different inputs. A
size that is not the same for both depends on the picture, and nothing is said of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, shape_inference

from edgepose.bench.cost.graph import Graph
from edgepose.errors import GraphError
from edgepose.spec import PoseSpec

__all__ = ["Shapes", "find_shapes"]

Shape = tuple[int, ...]

# Weights of more numbers tell inference nothing, and copying them costs memory.
_READABLE = 4096


@dataclass
class Shapes:
    """What is known of tensors.

    Attributes:
        shapes: By name.
        kinds: ONNX's number for the element type, by name.
        batch: Persons that they are for.
        failed: Why the rest could not be tried out, where it could not.
    """

    shapes: dict[str, Shape] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    batch: int = 1
    failed: str | None = None


def find_shapes(graph: Graph, spec: PoseSpec | None) -> Shapes:
    """Find out.

    Args:
        graph: The graph.
        spec: Says how large the input is, where the graph leaves that open.
    """
    sizes, batch = _input_sizes(graph, spec)
    found = Shapes(batch=batch)
    for constant in graph.constants.values():
        found.shapes[constant.name] = constant.shape
        found.kinds[constant.name] = constant.kind
    try:
        _note(_inferred(graph, sizes).graph, found)
    except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
        found.failed = f"shapes cannot be inferred ({str(error).strip().splitlines()[0]})"
    unknown = [
        name
        for node in (*graph.folded, *graph.nodes)
        for name in node.output
        if name and (name not in found.shapes or name not in found.kinds)
    ]
    if unknown:
        _try_out(graph, unknown, sizes, found)
    return found


def _input_sizes(
    graph: Graph, spec: PoseSpec | None
) -> tuple[dict[str, tuple[int | None, ...]], int]:
    """Shape of every input for the smallest batch, and that batch."""
    sizes: dict[str, tuple[int | None, ...]] = {}
    batch, symbols = 1, dict[str, int]()
    for index, value in enumerate(graph.inputs):
        dims = list(value.type.tensor_type.shape.dim)
        shape = [d.dim_value if d.HasField("dim_value") else None for d in dims]
        if index == 0 and shape:
            batch = shape[0] or 1
            shape = _filled(shape, batch, spec)
            named = zip(dims, shape, strict=True)
            symbols = {d.dim_param: size for d, size in named if d.dim_param and size}
        elif shape:
            shape = [
                size if size is not None else symbols.get(d.dim_param)
                for d, size in zip(dims, shape, strict=True)
            ]
            shape[0] = shape[0] or batch
        sizes[value.name] = tuple(shape)
    return sizes, batch


def _filled(shape: list[int | None], batch: int, spec: PoseSpec | None) -> list[int | None]:
    known: tuple[int | None, ...] = (batch, *(None,) * (len(shape) - 1))
    if spec is not None and len(shape) == 4:
        height, width = spec.input_size
        nchw = spec.layout == "nchw"
        known = (batch, 3, height, width) if nchw else (batch, height, width, 3)
    return [size or other for size, other in zip(shape, known, strict=True)]


def _inferred(graph: Graph, sizes: Mapping[str, tuple[int | None, ...]]) -> onnx.ModelProto:
    """The live graph without heavy weights, every value's type and shape noted."""
    light = onnx.ModelProto(ir_version=graph.model.ir_version)
    light.opset_import.extend(graph.model.opset_import)
    light.graph.name = "graph"
    light.graph.node.extend(_in_order(graph))
    for value in graph.inputs:
        kind = value.type.tensor_type.elem_type
        light.graph.input.append(helper.make_tensor_value_info(value.name, kind, sizes[value.name]))
    for output in graph.model.graph.output:
        light.graph.output.append(onnx.ValueInfoProto(name=output.name))
    for weight in graph.model.graph.initializer:
        inside = weight.data_location != TensorProto.EXTERNAL
        if inside and math.prod(weight.dims) <= _READABLE:
            light.graph.initializer.append(weight)
        else:
            light.graph.input.append(
                helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
            )
    return shape_inference.infer_shapes(light, data_prop=True)


def _in_order(graph: Graph) -> Iterable[onnx.NodeProto]:
    kept = {name for node in (*graph.folded, *graph.nodes) for name in node.output}
    kept |= set(graph.constants)
    return (node for node in graph.model.graph.node if kept.intersection(node.output))


def _note(graph: onnx.GraphProto, found: Shapes) -> None:
    for value in [*graph.input, *graph.output, *graph.value_info]:
        tensor = value.type.tensor_type
        if tensor.elem_type:
            found.kinds.setdefault(value.name, tensor.elem_type)
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            found.shapes.setdefault(value.name, tuple(d.dim_value for d in tensor.shape.dim))


def _try_out(
    graph: Graph,
    unknown: list[str],
    sizes: Mapping[str, tuple[int | None, ...]],
    found: Shapes,
) -> None:
    """Add what two runs agree on, or why there is nothing to add."""
    fed = {value.name: value.type.tensor_type.elem_type for value in graph.inputs}
    open_axes = [name for name, shape in sizes.items() if None in shape]
    if open_axes:
        found.failed = f"the size of its input '{open_axes[0]}' is open, and no spec tells it"
        return
    try:
        first, second = _two_runs(graph, unknown, fed, sizes)
    except (GraphError, OSError, TypeError, KeyError) as error:
        found.failed = f"onnxruntime cannot run the graph to see ({error})"
        return
    for name in unknown:
        one, other = first[name], second[name]
        if isinstance(one, np.ndarray) and one.shape == other.shape:
            found.shapes.setdefault(name, one.shape)
            found.kinds.setdefault(name, helper.np_dtype_to_tensor_dtype(one.dtype))


def _two_runs(
    graph: Graph,
    wanted: list[str],
    fed: Mapping[str, int],
    sizes: Mapping[str, tuple[int | None, ...]],
) -> tuple[dict[str, Any], dict[str, Any]]:
    # Not at the top: it loads onnxruntime, which most graphs are counted without.
    from edgepose.export.precision.session import Session

    model = graph.model
    if any(w.data_location == TensorProto.EXTERNAL for w in model.graph.initializer):
        model = onnx.load(graph.path)
    session = Session(model, wanted, fed)
    random = np.random.default_rng(0)

    def image(name: str, scale: float) -> npt.NDArray[Any]:
        noise = random.random(tuple(size or 1 for size in sizes[name]))
        return (noise * scale).astype(helper.tensor_dtype_to_np_dtype(fed[name]))

    blank = session.run({name: image(name, 0) for name in session.inputs})
    return blank, session.run({name: image(name, 100) for name in session.inputs})
