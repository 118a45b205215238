"""Which nodes of a graph FP16 is no good for, and why.

FP16 has 11 binary digits and ends at 65504; below 6e-5 it loses digits, and at 6e-8 everything.
Products of matrices live with that, since their errors average out, and they are where the time
goes. What does not:

* Norms, softmax and sums over maps. A sum loses its small terms, a square overflows or vanishes.
* The arithmetic that belongs to them: squares and scales that lead to a sum alone, roots and
  quotients of sums, and everything between one sum and the next (x - mean of a LayerNorm that is
  written out).
* Decisions: comparisons, and what leads straight to them. Of two values that FP16 makes equal the
  first one wins every time. Choosing itself (Where, MaxPool) is exact in any type.
* The decoder of a graph that has one: positions to a hundredth of a cell, indices to 3072.
* Index arithmetic: FP16 counts to 2048.
* Whatever leaves the range of FP16 on real people, and weights that lose their digits in it.

What only moves values, or acts on each alone, follows its neighbours: it stays in FP32 between
nodes that do, so that nothing is rounded on the way and cast for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt
from onnx import defs, numpy_helper

from edgepose.errors import GraphError
from edgepose.export.lint.view import Place
from edgepose.export.precision.net import Net
from edgepose.export.precision.ranges import Range
from edgepose.export.precision.session import read_weight

__all__ = ["MOVES", "QUANTISERS", "fp16_slots", "kept_nodes"]

LARGEST = 65504.0
# Calibration does not see everybody.
MARGIN = 4.0
# The largest value of a tensor where its unit in the last place, 2^-24 from here down, is no more
# than 2^-13 of it: as good as FP16 ever is, with the margin of overflow.
SMALLEST = 2.0**-11
# Rounding to 11 digits changes a tensor by 2^-12 to 2^-11 of its norm.
_ROUNDING = 2.0**-9
# A scale may be off by no more than the step that it stands for, 1/127 of its range.
_SCALE_ROUNDING = 2.0**-7


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


QUANTISERS = _names("QuantizeLinear DequantizeLinear")
PRODUCTS = _names("Conv ConvTranspose Gemm MatMul Einsum")
# Not BatchNormalization: at work it is a product and a sum.
_NORMS = _names(
    "GroupNormalization InstanceNormalization LayerNormalization LpNormalization LRN "
    "MeanVarianceNormalization RMSNormalization"
)
_SOFTMAXES = _names("LogSoftmax Softmax")
_SUMS = _names(
    "CumSum GlobalAveragePool GlobalLpPool ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp "
    "ReduceMean ReduceProd ReduceSum ReduceSumSquare"
)
_STEEP = _names("Exp Log Reciprocal")
_DECISIONS = _names("Equal Greater GreaterOrEqual Less LessOrEqual")
_PICKS = _names("ArgMax ArgMin NonMaxSuppression TopK")
_ARITHMETIC = _names("Abs Add Clip Div Exp Log Max Mean Min Mul Neg Pow Reciprocal Sqrt Sub")
_MAXIMA = _names("MaxPool ReduceMax ReduceMin")
_LARGEST_OF = _names("Max Min")
MOVES = _MAXIMA | _names(
    "Cast Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Identity Pad Reshape "
    "Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze Where"
)
_PLAIN = _ARITHMETIC | MOVES
_FOLLOWING = _PLAIN | _names(
    "Ceil Elu Erf Floor Gelu HardSigmoid HardSwish LeakyRelu PRelu Relu Round Selu Sigmoid Sign "
    "Softplus Tanh"
)

Reasons = dict[int, str]


def kept_nodes(net: Net, ranges: Mapping[str, Range]) -> Reasons:
    """Nodes that stay in FP32, by their places, with the reason.

    Raises:
        GraphError: A range is missing, or a weight is not in memory.
    """
    reasons: Reasons = {}
    seen = _complete(net, ranges)
    for rule in (
        _without_fp16,
        _by_operator,
        _preparation,
        _decoder,
        _decisions,
        _indices,
        _around_sums,
        lambda net, reasons: _out_of_range(net, reasons, seen),
        _rounded_weights,
        _leading_to,
        _following,
    ):
        rule(net, reasons)
    return dict(sorted(reasons.items()))


def fp16_slots(place: Place, opset: int) -> tuple[list[bool], list[bool]] | None:
    """Which inputs and outputs of a node may be FP16; None where ONNX does not define it so.

    Some inputs are FP32 in any case, such as the scales of Resize.
    """
    schema = place.schema()
    if schema is None or place.node.domain not in ("", "ai.onnx"):
        return None
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}

    def may(formals: Iterable[defs.OpSchema.FormalParameter], names: Iterable[str]) -> list[bool]:
        formals = list(formals)
        kinds = [formals[min(i, len(formals) - 1)].type_str for i, _ in enumerate(names)]
        return ["tensor(float16)" in allowed.get(kind, {kind}) for kind in kinds]

    node, types = place.node, place.values.types
    inputs, outputs = may(schema.inputs, node.input), may(schema.outputs, node.output)
    read = [may for may, name in zip(inputs, node.input, strict=True) if types.get(name) == "FP32"]
    made = [
        may for may, name in zip(outputs, node.output, strict=True) if types.get(name) == "FP32"
    ]
    return (inputs, outputs) if all(made) and (any(read) or not read) else None


def _keep(reasons: Reasons, index: int, why: str) -> None:
    reasons.setdefault(index, why)


# Rules, in the order in which their reasons are told.


def _without_fp16(net: Net, reasons: Reasons) -> None:
    for index, place in enumerate(net.places):
        if net.computes_floats(index) and fp16_slots(place, net.opset) is None:
            if place.node.op_type in QUANTISERS:
                raise GraphError(
                    f"{place.node.op_type} node '{place.node.name}' cannot be FP16",
                    f"the graph is of operator set {net.opset}, and Q/DQ have FP16 from 19 on",
                    "quantise a graph of operator set 19 or 20: --opset 19; "
                    "or leave the rest in FP32: --precision int8",
                )
            _keep(reasons, index, "ONNX defines it without FP16")


def _by_operator(net: Net, reasons: Reasons) -> None:
    told = [
        (_NORMS, "normalises: a mean of squares"),
        (_SOFTMAXES, "softmax: a sum of exponentials"),
        (_SUMS, "sums over many values"),
        (_STEEP, "steep: it makes large errors of small ones"),
        (_DECISIONS, "decides by comparing"),
        (_PICKS, "decides by comparing"),
    ]
    for index, node in enumerate(net.nodes):
        for operators, why in told:
            if node.op_type in operators and net.computes_floats(index):
                _keep(reasons, index, why)


def _preparation(net: Net, reasons: Reasons) -> None:
    """From bytes to the first product."""
    pictures = [name for name in net.inputs if not net.is_float(name)]
    for index in _downstream(net, pictures, lambda i: net.nodes[i].op_type in _FOLLOWING):
        if net.computes_floats(index):
            _keep(reasons, index, "prepares the picture")


def _decoder(net: Net, reasons: Reasons) -> None:
    """All that is computed from the maps whose largest values are looked for."""
    for index, node in enumerate(net.nodes):
        if node.op_type not in _PICKS:
            continue
        maps = node.input[0]
        while (maker := net.producer.get(maps)) is not None and (
            net.nodes[maker].op_type in MOVES and net.is_float(net.nodes[maker].input[0])
        ):
            maps = net.nodes[maker].input[0]
        tail = _downstream(net, [maps], lambda _: True)
        # What decides inside a network has layers behind it.
        if not any(_is_layer(net, i) for i in tail):
            for behind in tail:
                if net.computes_floats(behind):
                    _keep(reasons, behind, "decodes the poses")
        _keep(reasons, index, "decides by comparing")


def _decisions(net: Net, reasons: Reasons) -> None:
    """What leads to a comparison: moved, picked, scaled, and the product that computes it."""
    for index, node in enumerate(net.nodes):
        if node.op_type not in _DECISIONS:
            continue
        waiting = net.before(index)
        known = set(waiting)
        while waiting:
            source = waiting.pop()
            kind = net.nodes[source].op_type
            scaled = kind in _ARITHMETIC and len(net.float_inputs(source)) == 1
            if kind in MOVES | _LARGEST_OF or scaled:
                _keep(reasons, source, "leads to a comparison")
                further = [i for i in net.before(source) if i not in known]
                waiting += further
                known.update(further)
            elif kind in PRODUCTS and _only_compared(net, source):
                _keep(reasons, source, "computes what is compared")


def _only_compared(net: Net, product: int) -> bool:
    """Whether a product serves a decision alone: its result is moved, and compared or chosen."""
    return all(net.nodes[i].op_type in MOVES | _DECISIONS for i in net.after(product))


def _indices(net: Net, reasons: Reasons) -> None:
    for index, node in enumerate(net.nodes):
        if node.op_type == "Cast" and net.float_outputs(index):
            kind = net.type_of(node.input[0])
            if kind.startswith(("INT", "UINT")):
                _keep(reasons, index, "index arithmetic: FP16 counts to 2048")


def _around_sums(net: Net, reasons: Reasons) -> None:
    sums = [i for i, node in enumerate(net.nodes) if node.op_type in _SUMS]

    def plain(index: int) -> bool:
        return net.nodes[index].op_type in _PLAIN

    behind = set(_downstream(net, [n for i in sums for n in net.float_outputs(i)], plain))
    ahead = _upstream(net, sums, plain)
    for index in sorted(behind & ahead):
        _keep(reasons, index, "between two sums")
    cluster = {*sums, *(i for i, why in reasons.items() if why == "between two sums")}
    cluster |= {i for i, why in reasons.items() if why.startswith("index arithmetic")}
    for index, node in enumerate(net.nodes):
        before = net.before(index)
        computed = len(before) == len(net.float_inputs(index)) > 0
        if node.op_type in _ARITHMETIC and computed and cluster.issuperset(before):
            cluster.add(index)
            _keep(reasons, index, "arithmetic on sums")


def _out_of_range(net: Net, reasons: Reasons, seen: Mapping[str, Range]) -> None:
    for name, found in seen.items():
        touching = [*net.readers[name], *([net.producer[name]] if name in net.producer else [])]
        if found.reach * MARGIN > LARGEST:
            why = f"'{name}' reaches {found.reach:.3g}, FP16 ends at {LARGEST:g}"
        elif 0 < found.reach < SMALLEST:
            why = f"'{name}' stays below {found.reach:.1g}, where FP16 has few digits"
        else:
            continue
        for index in touching:
            if net.nodes[index].op_type not in QUANTISERS:
                _keep(reasons, index, why)


def _rounded_weights(net: Net, reasons: Reasons) -> None:
    faults: dict[str, str] = {}
    for index, node in enumerate(net.nodes):
        if index in reasons:
            continue
        for name in node.input:
            if net.is_constant(name) and net.is_float(name):
                if name not in faults:
                    allowed = _SCALE_ROUNDING if node.op_type in QUANTISERS else _ROUNDING
                    faults[name] = _fault(read_weight(net.weights[name]), allowed)
                if not faults[name]:
                    continue
                why = f"its weight '{name}' {faults[name]}"
                if node.op_type == "DequantizeLinear":
                    for reader in net.after(index):
                        _keep(reasons, reader, why)
                _keep(reasons, index, why)


def _fault(weight: npt.NDArray[np.float32], allowed: float) -> str:
    """What FP16 does to a weight; empty where it changes it by no more than is allowed."""
    finite = weight[np.isfinite(weight)].astype(np.float64)
    if not finite.size:
        return ""
    largest = float(np.abs(finite).max())
    if largest > LARGEST:
        return f"reaches {largest:.3g}, FP16 ends at {LARGEST:g}"
    lost = float(np.linalg.norm(finite - finite.astype(np.float16)))
    if lost > allowed * float(np.linalg.norm(finite)):
        return f"is too small for FP16: at most {largest:.1g}"
    return ""


def _leading_to(net: Net, reasons: Reasons) -> None:
    """Arithmetic whose results go to kept nodes alone: squares, scales, masks."""
    for index in reversed(range(len(net.nodes))):
        readers = net.after(index)
        if (
            net.nodes[index].op_type in _ARITHMETIC
            and readers
            and all(i in reasons for i in readers)
            and not any(name in net.outputs for name in net.float_outputs(index))
        ):
            _keep(reasons, index, f"leads to {net.nodes[readers[0]].op_type} alone")


def _following(net: Net, reasons: Reasons) -> None:
    """What lies between kept nodes."""
    wanted: set[int] = set()
    for index in reversed(range(len(net.nodes))):
        if net.nodes[index].op_type not in _FOLLOWING:
            continue
        ends = [n for n in net.float_outputs(index) if not net.readers[n] and n not in net.outputs]
        if net.float_outputs(index) and not ends:
            readers = net.after(index)
            if all(i in reasons or i in wanted for i in readers):
                wanted.add(index)
    for index in sorted(wanted):
        before = net.before(index)
        computed = len(before) == len(net.float_inputs(index)) > 0
        if computed and all(i in reasons for i in before):
            _keep(reasons, index, "between nodes in FP32")
    for index, node in enumerate(net.nodes):
        before = net.before(index)
        if node.op_type in _MAXIMA and before and all(i in reasons for i in before):
            _keep(reasons, index, "smaller to cast behind than before it")


# What the rules stand on.


def _complete(net: Net, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Ranges of all activations; of what Q/DQ makes of them, where it was not seen itself."""
    seen: dict[str, Range] = {}
    computed = [n for i in range(len(net.nodes)) for n in net.float_outputs(i)]
    for name in [*(n for n in net.inputs if net.is_float(n)), *computed]:
        if name in ranges:
            seen[name] = ranges[name]
        elif (scale := _scale(net, name)) is not None:
            seen[name] = Range(-128 * scale, 127 * scale)
    missing = [name for name in computed if name not in seen]
    if missing:
        raise GraphError(
            f"the range of '{missing[0]}' is not known",
            f"{len(missing)} of {len(computed)} tensors were not measured",
            "measure them on the graph that is converted, or the one that it was quantised from",
        )
    return seen


def _scale(net: Net, name: str) -> float | None:
    """The largest scale of what is dequantised."""
    maker = net.producer.get(name)
    if maker is None or net.nodes[maker].op_type != "DequantizeLinear":
        return None
    scale = net.weights.get(net.nodes[maker].input[1])
    return None if scale is None else float(numpy_helper.to_array(scale).max())


def _is_layer(net: Net, index: int) -> bool:
    """Whether a node is a layer of the network; a product with a constant may be a blur."""
    return net.nodes[index].op_type in PRODUCTS - {"MatMul"}


def _downstream(net: Net, names: Iterable[str], through: Callable[[int], bool]) -> list[int]:
    """Nodes that read the values, or what such nodes compute, as long as ``through`` holds."""
    reached = set(names)
    found = []
    for index, node in enumerate(net.nodes):
        if reached.intersection(node.input) and through(index):
            reached.update(node.output)
            found.append(index)
    return found


def _upstream(net: Net, targets: Iterable[int], through: Callable[[int], bool]) -> set[int]:
    """Nodes that compute what the targets read, as long as ``through`` holds."""
    wanted = {name for index in targets for name in net.float_inputs(index)}
    found = set()
    for index in reversed(range(len(net.nodes))):
        if wanted.intersection(net.nodes[index].output) and through(index):
            wanted.update(net.float_inputs(index))
            found.add(index)
    return found
