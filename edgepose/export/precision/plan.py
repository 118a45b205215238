"""What of a graph can be read in INT8.

Weighted operations (Conv, ConvTranspose, Gemm, MatMul with a constant): their data from a Q/DQ pair
of one scale, their weights from INT8 numbers with a scale for each output channel. Biases stay
float. Between them nothing is touched: LayerNorm, softmax, sigmoid, GELU, the reductions of GRN and
SRU and the products of attention get no pair. The last weighted operation in front of each output
stays float altogether, for its rounding would be the output's.

An addition that TensorRT can fuse into a convolution (Conv, then Add of a skip) may read its skip
in INT8 too, but only that one: a pair on the convolution's own output would keep the two apart.

Source: NVIDIA's TensorRT documentation, "Explicit Quantization", section "Q/DQ Layer-Placement
Recommendations".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from edgepose.errors import GraphError
from edgepose.export.lint.view import Place, places
from edgepose.export.precision.kept import Kept

__all__ = ["Plan", "Site", "Skip", "make_plan"]

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_PAIRS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
# Scales for each channel, and Q/DQ of them, came with this operator set.
_LEAST_OPSET = 13

Readers = Mapping[str, Sequence[Place]]


@dataclass(frozen=True, kw_only=True)
class Site:
    """A weighted operation that can read INT8.

    Attributes:
        node: The operation.
        data: The activation that it reads.
        channels: That activation's axis of channels.
        weight: The constant that it reads.
        axis: The weight's axis of output channels.
        groups: Of a grouped convolution, else 1.
        result: What it computes; where it feeds a ReLU and nothing else, what that computes.
    """

    node: onnx.NodeProto
    data: str
    channels: int
    weight: str
    axis: int
    groups: int
    result: str

    @property
    def name(self) -> str:
        """Of the node."""
        return str(self.node.name)

    def by_input(self, weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The weight as (g, O / g, C / g, taps), g groups of O outputs and C channels of data.

        A view that shares the weight's memory where that is contiguous.
        """
        if self.node.op_type == "Conv":  # (O, C / g, ...)
            outputs, channels = weight.shape[:2]
            return weight.reshape(self.groups, outputs // self.groups, channels, -1)
        if self.node.op_type == "ConvTranspose":  # (C, O / g, ...)
            channels, outputs = weight.shape[:2]
            grouped = weight.reshape(self.groups, channels // self.groups, outputs, -1)
            return grouped.swapaxes(1, 2)
        rows = weight if self.axis == 0 else weight.T  # (O, C)
        return rows[None, :, :, None]

    def importance(self, weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """(C,) energy of the weights that each channel of the data is multiplied with."""
        energy = (self.by_input(weight).astype(np.float64) ** 2).sum((1, 3))  # (g, C / g)
        return np.asarray(energy.reshape(-1))

    def scaled(
        self, weight: npt.NDArray[np.float32], factors: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """The weight for data whose channels were divided by (C,) factors."""
        copy = np.array(weight, np.float32, order="C")
        self.by_input(copy)[...] *= factors.reshape(self.groups, 1, -1, 1)
        return copy


@dataclass(frozen=True, kw_only=True)
class Skip:
    """The one input of an addition that can be read in INT8.

    Attributes:
        node: The addition's name.
        index: Which of its inputs.
        data: That input.
        trunk: The convolution that computes the other.
        sums: What it computes, the ReLU behind it included.
    """

    node: str
    index: int
    data: str
    trunk: str
    sums: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What can be read in INT8.

    Attributes:
        sites: Weighted operations, in the order of the graph.
        skips: Additions whose skip can go with them.
        left: Weighted operations that stay float, and why.
        outputs: Of the graph.
    """

    sites: tuple[Site, ...]
    skips: tuple[Skip, ...]
    left: tuple[Kept, ...]
    outputs: frozenset[str]


def make_plan(model: onnx.ModelProto) -> Plan:
    """Find the places of a float graph.

    Args:
        model: FP32 graph with named nodes; it stays as it is.

    Raises:
        GraphError: It is quantised already, is not FP32, is of an operator set before 13, or is no
            valid ONNX.
    """
    found = places(model)
    _refuse(found)
    outputs = frozenset(value.name for value in model.graph.output)
    producers = {name: place for place in found for name in place.node.output}
    readers: dict[str, list[Place]] = {}
    for place in found:
        for name in place.node.input:
            readers.setdefault(name, []).append(place)
    own, decoder = _decoder(producers, outputs)
    heads = _heads(producers, own)
    sites, left = [], []
    for place in found:
        if not _has_weight(place):
            continue
        reason = _reason(place, heads, decoder)
        if reason is None:
            sites.append(_site(place, readers, outputs))
        else:
            left.append(Kept.of(place.node, reason))
    return Plan(
        sites=tuple(sites),
        skips=tuple(_skips(found, sites, readers, outputs)),
        left=tuple(left),
        outputs=outputs,
    )


def _refuse(found: Sequence[Place]) -> None:
    """Refuse graphs that cannot be quantised."""
    done = [p.node for p in found if p.node.op_type in _PAIRS or "QLinear" in p.node.op_type]
    if done:
        raise GraphError(
            "the graph is quantised already",
            f"it holds {len(done)} nodes such as {done[0].op_type} '{done[0].name}'",
            "give the FP32 graph: edgepose export MODEL -o FILE.onnx",
        )
    if found and found[0].opset < _LEAST_OPSET:
        raise GraphError(
            f"operator set {found[0].opset} cannot be quantised",
            f"a scale for each channel needs operator set {_LEAST_OPSET}",
            "export the model again with a newer one",
        )
    for place in found:
        kind = place.values.types.get(place.input(1))
        if _has_weight(place) and kind != "FP32":
            raise GraphError(
                "the graph is not FP32",
                f"{place.node.op_type} '{place.node.name}' has weights of {kind}",
                "quantise the FP32 graph; --precision int8-fp16 makes the rest FP16 afterwards",
            )


def _has_weight(place: Place) -> bool:
    """Whether it multiplies what it reads with a constant; two activations are attention's."""
    weighted = place.node.op_type in _WEIGHTED
    return weighted and not place.constant(0) and place.constant(1)


def _reason(place: Place, heads: frozenset[str], decoder: frozenset[str]) -> str | None:
    """Why it stays float; None where it need not."""
    if place.node.output[0] in heads:
        return "the last weighted operation in front of an output"
    if place.node.output[0] in decoder:
        return "a part of the decoder"
    if place.node.op_type == "MatMul" and len(place.values.shapes[place.input(1)]) != 2:
        return "its weights are several matrices"
    if place.attribute("transA", 0):
        return "it reads its data transposed"
    return None


def _decoder(
    producers: Mapping[str, Place], outputs: frozenset[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """The model's own outputs, and what a decoder in the graph computes of them.

    It begins where the largest value of a map is looked for, and may have matrices of its own
    (DARK's blur).
    """
    behind = _upstream(producers, outputs)
    maps = {producers[n].node.input[0] for n in behind if producers[n].node.op_type == "ArgMax"}
    if not maps:
        return outputs, frozenset()
    return frozenset(maps), frozenset(behind - _upstream(producers, maps))


def _heads(producers: Mapping[str, Place], outputs: Iterable[str]) -> frozenset[str]:
    """What the last weighted operation on the way to each output computes."""
    heads: set[str] = set()
    stack, seen = list(outputs), set()
    while stack:
        name = stack.pop()
        if name not in producers or name in seen:
            continue
        seen.add(name)
        if _has_weight(producers[name]):
            heads.add(name)
        else:
            stack.extend(producers[name].node.input)
    return frozenset(heads)


def _upstream(producers: Mapping[str, Place], names: Iterable[str]) -> set[str]:
    """Computed values that ``names`` depend on, themselves included."""
    stack, seen = list(names), set()
    while stack:
        name = stack.pop()
        if name in producers and name not in seen:
            seen.add(name)
            stack.extend(producers[name].node.input)
    return seen


def _site(place: Place, readers: Readers, outputs: frozenset[str]) -> Site:
    node = place.node
    convolves = node.op_type in ("Conv", "ConvTranspose")
    rows = node.op_type == "Conv" or (node.op_type == "Gemm" and place.attribute("transB", 0))
    return Site(
        node=node,
        data=node.input[0],
        channels=1 if convolves else -1,
        weight=node.input[1],
        axis=0 if rows else 1,
        groups=int(place.attribute("group", 1)),
        result=_through_relu(node.output[0], readers, outputs),
    )


def _through_relu(name: str, readers: Readers, outputs: frozenset[str]) -> str:
    """What the one ReLU behind a value computes, else the value."""
    behind = readers.get(name, ())
    if len(behind) == 1 and name not in outputs and behind[0].node.op_type == "Relu":
        return str(behind[0].node.output[0])
    return name


def _skips(
    found: Sequence[Place], sites: Sequence[Site], readers: Readers, outputs: frozenset[str]
) -> Iterable[Skip]:
    """Additions of what a convolution computes and of another value of that shape."""
    convolutions = {
        site.node.output[0]: site.name
        for site in sites
        if site.node.op_type in ("Conv", "ConvTranspose")
    }
    depths = _depths(found)
    for place in found:
        node = place.node
        if node.op_type != "Add" or place.constant(0) or place.constant(1):
            continue
        alone = [
            index
            for index, name in enumerate(node.input)
            if name in convolutions and len(readers[name]) == 1 and name not in outputs
        ]
        if not alone or not _same_shape(place):
            continue
        # Of two convolutions, the one behind the longer way does the addition.
        trunk = max(alone, key=lambda index: depths[node.input[index]])
        total = node.output[0]
        yield Skip(
            node=node.name,
            index=1 - trunk,
            data=node.input[1 - trunk],
            trunk=convolutions[node.input[trunk]],
            sums=frozenset({total, _through_relu(total, readers, outputs)}),
        )


def _same_shape(addition: Place) -> bool:
    """Whether both sides have the same extents; the free one is the batch."""
    first, second = (addition.values.shapes.get(name) for name in addition.node.input)
    return first is not None and second is not None and first[1:] == second[1:]


def _depths(found: Sequence[Place]) -> dict[str, int]:
    """The longest way from the input to each value, in nodes."""
    depths: dict[str, int] = {}
    for place in found:
        depth = 1 + max((depths.get(name, 0) for name in place.node.input), default=0)
        depths.update(dict.fromkeys(place.node.output, depth))
    return depths
