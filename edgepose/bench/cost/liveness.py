"""The most memory that activations need at once, by the graph alone.

A runtime that plans its memory comes close to it: tensors live from the node that writes them to
the last that reads them. See :data:`edgepose.bench.cost.convention.PEAK` for the rules.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx
from onnx import TensorProto, helper

from edgepose.bench.cost.graph import Graph, reads_of
from edgepose.bench.cost.shapes import Shapes

__all__ = ["activation_peak"]

_VIEWS = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
# Applied by the kernel before it, wherever that writes its results.
_ACTIVATIONS = frozenset(
    {"Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu"}
) | {"Sigmoid", "Swish", "Tanh"}
_ELEMENTWISE = _ACTIVATIONS | {
    "Abs",
    "Add",
    "BatchNormalization",
    "Ceil",
    "Cos",
    "Div",
    "Erf",
    "Exp",
    "Floor",
    "Log",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Pow",
    "Reciprocal",
    "Round",
    "Sign",
    "Sin",
    "Sqrt",
    "Sub",
    "Sum",
    "Where",
}
# Kernels in eight bits, as runtimes have them. These read eight bits whatever they write;
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# ... and these where they write eight bits as well.
_BYTE_KERNELS = _ACTIVATIONS | {
    "Add",
    "AveragePool",
    "Concat",
    "Gather",
    "GlobalAveragePool",
    "MaxPool",
    "Mul",
    "Pad",
    "ReduceMean",
    "Resize",
    "Softmax",
    "Split",
    "Transpose",
}
_BITS: dict[int, int] = {
    TensorProto.INT4: 4,
    TensorProto.UINT4: 4,
    TensorProto.FLOAT4E2M1: 4,
}


@dataclass
class _Block:
    """Memory of one or several tensors, one after the other."""

    size: int
    first: int
    last: int
    ours: bool = True
    names: list[str] = field(default_factory=list)


def activation_peak(graph: Graph, shapes: Shapes) -> int | None:
    """Bytes; None where the shape or type of a tensor is unknown, or a node runs other graphs."""
    if any(a.HasField("g") or a.graphs for node in graph.nodes for a in node.attribute):
        return None
    sizes = _sizes(graph, shapes)
    if sizes is None:
        return None
    last = _last_reads(graph)
    eight = _held_in_eight_bits(graph)
    floats = _read_as_floats(graph, eight)
    blocks: list[_Block] = []
    of: dict[str, _Block] = {}

    def begin(name: str, size: int, at: int, *, ours: bool = True) -> None:
        of[name] = _Block(size, at, max(at, last.get(name, at)), ours)
        blocks.append(of[name])

    def join(name: str, block: _Block) -> None:
        block.last = max(block.last, last.get(name, block.last))
        of[name] = block

    for value in graph.inputs:
        begin(value.name, sizes[value.name], 0, ours=False)
    for index, node in enumerate(graph.nodes):
        for position, name in enumerate(node.output):
            if not name:
                continue
            size = sizes[name] if name not in eight else _count(shapes, name)
            taken = position == 0 and not (node.op_type == "DequantizeLinear" and name in floats)
            source = _overwritten(node, index, size, of, eight) if taken else None
            if source is None:
                begin(name, size, index)
            else:
                join(name, source)
    return _highest(blocks)


def _sizes(graph: Graph, shapes: Shapes) -> dict[str, int] | None:
    """Bytes of all activations."""
    names = [i.name for i in graph.inputs]
    names += [name for node in graph.nodes for name in node.output if name]
    if not all(name in shapes.shapes and name in shapes.kinds for name in names):
        return None
    return {n: (_count(shapes, n) * _bits(shapes.kinds[n]) + 7) // 8 for n in names}


def _count(shapes: Shapes, name: str) -> int:
    return math.prod(shapes.shapes[name])


def _bits(kind: int) -> int:
    return _BITS.get(kind) or 8 * int(helper.tensor_dtype_to_np_dtype(kind).itemsize)


def _last_reads(graph: Graph) -> dict[str, int]:
    """The last node that reads each value; outputs of the graph outlive all."""
    last = {name: index for index, node in enumerate(graph.nodes) for name in reads_of(node)}
    end = len(graph.nodes)
    return last | {output.name: end for output in graph.model.graph.output}


def _held_in_eight_bits(graph: Graph) -> set[str]:
    """Values that a kernel writes in eight bits because one Q alone reads them.

    That is so too where an activation, which the kernel applies as it writes, lies between.
    """
    readers = Counter(name for node in graph.nodes for name in set(reads_of(node)))
    readers.update(output.name for output in graph.model.graph.output)
    made = {name for node in graph.nodes for name in node.output}
    held: set[str] = set()
    for node in reversed(graph.nodes):
        name = node.input[0] if node.input else ""
        follows = node.op_type == "QuantizeLinear" or (
            node.op_type in _ACTIVATIONS and node.output[0] in held
        )
        if follows and readers[name] == 1 and name in made:
            held.add(name)
    return held


def _read_as_floats(graph: Graph, eight: set[str]) -> set[str]:
    """Values of which somebody needs the floats: the caller, or a kernel that has no other."""
    floats = {output.name for output in graph.model.graph.output}
    for node in reversed(graph.nodes):
        op = node.op_type
        if op in _VIEWS:
            bytes_do = not floats.intersection(node.output)
        elif op in _BYTE_KERNELS:
            bytes_do = eight.issuperset(filter(None, node.output))
        else:
            bytes_do = op in _PRODUCTS or op == "QuantizeLinear"
        if not bytes_do:
            floats.update(reads_of(node))
    return floats


def _overwritten(
    node: onnx.NodeProto, index: int, size: int, of: Mapping[str, _Block], eight: set[str]
) -> _Block | None:
    """The block that a node's first output shares or takes over."""
    op = node.op_type
    read = [of[name] for name in node.input if name in of]
    if not read:
        return None
    if op in _VIEWS or op == "DequantizeLinear":
        return read[0]  # kernels that compute in eight bits read them as they are
    if op == "QuantizeLinear" and node.input[0] in eight:
        return read[0]
    if op not in _ELEMENTWISE:
        return None
    free = (b for b in read if b.ours and b.last == index and b.size == size)
    return next(free, None)


def _highest(blocks: list[_Block]) -> int:
    changes: Counter[int] = Counter()
    for block in blocks:
        changes[block.first] += block.size
        changes[block.last + 1] -= block.size
    held = peak = 0
    for index in sorted(changes):
        held += changes[index]
        peak = max(peak, held)
    return peak
