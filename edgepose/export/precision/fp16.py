"""An FP32 graph as one that computes in FP16 wherever that is good enough.

A strongly typed TensorRT (the only one from version 11 on) computes in the types of the graph, so
that precision is decided here and nowhere else: :mod:`edgepose.export.precision.fp16_rules` says
which nodes stay in FP32, and this module retypes the others.

Every value has one type, that of the node that computes it, and keeps its name. Where it is wanted
in the other type, one Cast behind that node makes it so for all who want it. So no value is cast
back and forth. (The converters at hand cast the result of every blocked node to FP16 and back:
between a square and the sum that it is blocked for, it overflows all the same.)

Q/DQ pairs: Q takes the type of what it reads and DQ that of who reads it, so that neither needs a
Cast, which would keep TensorRT from fusing them with the product between. Their scales are of the
same type: ONNX ties a scale to Q's input and DQ's output up to operator set 22, onnxruntime beyond
it, and in a strongly typed TensorRT a DQ gives what its scale is: an FP32 scale would make an FP32
product of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgepose.export.lint.origin import origin_of
from edgepose.export.precision.fp16_rules import QUANTISERS, fp16_slots, kept_nodes
from edgepose.export.precision.kept import Kept
from edgepose.export.precision.net import Net
from edgepose.export.precision.ranges import Range
from edgepose.export.precision.session import read_weight

__all__ = ["Fp16", "Kept", "to_fp16"]

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
_SUFFIX: dict[int, str] = {FLOAT: "fp32", HALF: "fp16"}


@dataclass(frozen=True)
class Fp16:
    """A converted graph.

    Attributes:
        model: The graph; its inputs and outputs have the types they had.
        kept: Nodes that compute in FP32, in the order of the graph.
        casts: Number of Casts that were put in.
    """

    model: onnx.ModelProto
    kept: tuple[Kept, ...]
    casts: int


def to_fp16(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> Fp16:
    """Convert a graph to FP16.

    Args:
        model: FP32 graph, with Q/DQ pairs or without; it stays as it is.
        ranges: What :func:`edgepose.export.precision.ranges.tensor_ranges` saw in it, or in the
            graph that it was quantised from.

    Raises:
        GraphError: It is no valid ONNX, branches, is FP16 already, has Q/DQ pairs below operator
            set 19, or tensors whose range was not measured; its weights are in another file.
    """
    net = Net(model)
    reasons = kept_nodes(net, ranges)
    converted, casts = _Typing(net, frozenset(reasons)).graph()
    return Fp16(
        model=converted,
        kept=tuple(
            Kept.of(net.nodes[index], why)
            for index, why in reasons.items()
            if net.nodes[index].op_type not in QUANTISERS
        ),
        casts=casts,
    )


class _Typing:
    """Gives every node its type.

    Args:
        net: The graph.
        kept: Nodes that stay in FP32.
    """

    def __init__(self, net: Net, kept: frozenset[int]) -> None:
        self._net = net
        self._kept = kept
        # The type of every FP32 value, in the new graph, under its old name.
        self._type: dict[str, int] = {name: FLOAT for name in net.inputs if net.is_float(name)}
        self._wanted: dict[str, dict[int, None]] = {}
        self._taken = {n for node in net.nodes for n in [*node.input, *node.output, node.name]}

    def graph(self) -> tuple[onnx.ModelProto, int]:
        """The new graph, and the number of its new Casts."""
        reads = self._types()
        nodes: list[onnx.NodeProto] = []
        for name in self._net.inputs:
            nodes += self._copies(name, None)
        for index, node in enumerate(self._net.nodes):
            other = onnx.NodeProto()
            other.CopyFrom(node)
            self._retype(other, index)
            other.input[:] = [
                self._name(name, reads[index].get(position))
                for position, name in enumerate(node.input)
            ]
            other.output[:] = [self._made(name) for name in node.output]
            nodes.append(other)
            for name in node.output:
                nodes += self._copies(name, other)
        casts = len([n for n in nodes if n.op_type == "Cast"]) - len(
            [n for n in self._net.nodes if n.op_type == "Cast"]
        )
        return self._model(nodes), casts

    # Types

    def _types(self) -> list[dict[int, int]]:
        """For every node, the type of each of its FP32 inputs, by position."""
        reads = []
        dequantised = self._dequantised()
        for index, place in enumerate(self._net.places):
            node = place.node
            own = self._own_type(index, dequantised)
            slots = fp16_slots(place, self._net.opset) if own == HALF else None
            types = {}
            for position, name in enumerate(node.input):
                if self._net.is_float(name):
                    fits = slots is None or slots[0][position]
                    types[position] = own if fits else FLOAT
                    if node.op_type == "Cast":  # takes anything
                        types[position] = self._type.get(name, FLOAT)
                    self._wanted.setdefault(name, {})[types[position]] = None
            for name in self._net.float_outputs(index):
                self._type[name] = own
            reads.append(types)
        for name in self._net.outputs:
            if self._net.is_float(name):
                self._wanted.setdefault(name, {})[FLOAT] = None
        for node in self._net.nodes:
            if node.op_type == "DequantizeLinear":  # each of its types has a scale of its own
                kinds = self._wanted.get(node.output[0], {})
                self._wanted.setdefault(node.input[1], {}).update(kinds)
        return reads

    def _own_type(self, index: int, dequantised: frozenset[int]) -> int:
        node = self._net.nodes[index]
        if node.op_type == "QuantizeLinear":
            return FLOAT if index in self._kept else self._type[node.input[0]]
        if node.op_type == "DequantizeLinear":
            return HALF if index in dequantised else FLOAT
        return FLOAT if index in self._kept else HALF

    def _dequantised(self) -> frozenset[int]:
        """DQ nodes that somebody reads in FP16."""
        return frozenset(
            index
            for index, node in enumerate(self._net.nodes)
            if node.op_type == "DequantizeLinear"
            and index not in self._kept
            and any(i not in self._kept for i in self._net.after(index))
        )

    # Names

    def _made(self, name: str) -> str:
        """What the node that computes a value calls it: an output of the graph is FP32."""
        halved = self._type.get(name) == HALF and name in self._net.outputs
        return self._label(name, HALF) if halved else name

    def _name(self, name: str, kind: int | None) -> str:
        """A value in the wanted type."""
        if kind is None:
            return name
        if self._net.is_constant(name):
            return name if kind == FLOAT or FLOAT not in self._wanted[name] else f"{name}_fp16"
        if kind == self._type[name]:
            return self._made(name)
        return name if name in self._net.outputs else self._label(name, kind)

    def _label(self, name: str, kind: int) -> str:
        label = f"{name}_{_SUFFIX[kind]}"
        while label in self._taken:
            label += "_"
        return label

    # Nodes

    def _copies(self, name: str, maker: onnx.NodeProto | None) -> list[onnx.NodeProto]:
        """A value in the type that it was not computed in, if anybody wants that."""
        kind = self._type.get(name)
        others = [wanted for wanted in self._wanted.get(name, ()) if wanted != kind]
        if kind is None or not others:
            return []
        (other,) = others
        copy = self._name(name, other)
        if maker is not None and maker.op_type == "DequantizeLinear":
            # Once more, since a Cast behind it would keep it from the product.
            again = onnx.NodeProto()
            again.CopyFrom(maker)
            again.name = f"{maker.name}_{_SUFFIX[other]}"
            again.input[1] = self._name(self._net.nodes[self._net.producer[name]].input[1], other)
            again.output[:] = [copy]
            return [again]
        origin = None if maker is None else origin_of(maker.name)
        module = "" if origin is None else f"{origin.path}({origin.kind})/"
        short = "".join(c if c.isalnum() else "_" for c in name)
        return [
            helper.make_node(
                "Cast",
                [self._made(name)],
                [copy],
                name=f"{module}Cast_{short}_{_SUFFIX[other]}",
                to=other,
            )
        ]

    def _retype(self, node: onnx.NodeProto, index: int) -> None:
        """Attributes that say the type of a result."""
        if not any(self._type.get(name) == HALF for name in node.output):
            return
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype", "output_dtype") and attribute.i == FLOAT:
                attribute.i = HALF
            elif attribute.HasField("t") and attribute.t.data_type == FLOAT:
                attribute.t.CopyFrom(_halved(attribute.t, attribute.t.name))
        if node.op_type == "ConstantOfShape" and not node.attribute:
            node.attribute.append(
                helper.make_attribute("value", numpy_helper.from_array(np.zeros(1, np.float16)))
            )

    def _model(self, nodes: Iterable[onnx.NodeProto]) -> onnx.ModelProto:
        source = self._net.model
        model = onnx.ModelProto()
        for field, value in source.ListFields():
            if field.name == "graph":
                continue
            if field.name in ("opset_import", "metadata_props"):
                getattr(model, field.name).extend(value)
            else:
                setattr(model, field.name, value)
        graph = model.graph
        graph.name, graph.doc_string = source.graph.name, source.graph.doc_string
        graph.metadata_props.extend(source.graph.metadata_props)
        graph.node.extend(nodes)
        graph.input.extend(source.graph.input)
        graph.output.extend(source.graph.output)
        for value in source.graph.value_info:
            known = graph.value_info.add()
            known.CopyFrom(value)
            known.name = self._made(value.name)
            if self._type.get(value.name) == HALF:
                known.type.tensor_type.elem_type = HALF
        for weight in source.graph.initializer:
            wanted = self._wanted.get(weight.name, {})
            if FLOAT in wanted or not wanted:
                graph.initializer.append(weight)
            if HALF in wanted:
                graph.initializer.append(_halved(weight, self._name(weight.name, HALF)))
        return model


def _halved(weight: TensorProto, name: str) -> TensorProto:
    # The rules keep nodes in FP32 whose weights overflow; infinity stays infinity.
    halved: TensorProto = numpy_helper.from_array(read_weight(weight).astype(np.float16), name)
    return halved
