"""A graph as the conversions see it: who computes a value, who reads it, and of what type it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import onnx
from onnx import TensorProto

from edgepose.errors import GraphError
from edgepose.export.lint.view import Place, places

__all__ = ["Net"]

_FLOAT = "FP32"


class Net:
    """The nodes of a graph without branches, by their places.

    Args:
        model: The graph; it stays as it is.

    Raises:
        GraphError: It is no valid ONNX, has branches, loops or local functions, or is FP16 already.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.places: Sequence[Place] = places(model)
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
        _refuse(model, self.places)
        self.nodes: Sequence[onnx.NodeProto] = [place.node for place in self.places]
        self.weights: dict[str, TensorProto] = {w.name: w for w in model.graph.initializer}
        self.inputs = [i.name for i in model.graph.input if i.name not in self.weights]
        self.outputs = [o.name for o in model.graph.output]
        self.producer = {name: i for i, node in enumerate(self.nodes) for name in node.output}
        self.readers: dict[str, list[int]] = defaultdict(list)
        for index, node in enumerate(self.nodes):
            for name in dict.fromkeys(node.input):
                self.readers[name].append(index)
        self._types = self.places[0].values.types if self.places else {}

    def is_float(self, name: str) -> bool:
        """Whether a value is FP32."""
        return bool(name) and self._types.get(name) == _FLOAT

    def is_constant(self, name: str) -> bool:
        """Whether a value is a weight."""
        return name in self.weights

    def type_of(self, name: str) -> str:
        """Short type of a value, empty where it is not known."""
        return self._types.get(name, "")

    def float_inputs(self, index: int) -> list[str]:
        """FP32 values that a node reads and that are computed."""
        names = dict.fromkeys(self.nodes[index].input)
        return [n for n in names if self.is_float(n) and not self.is_constant(n)]

    def float_outputs(self, index: int) -> list[str]:
        """FP32 values that a node computes."""
        return [name for name in self.nodes[index].output if self.is_float(name)]

    def before(self, index: int) -> list[int]:
        """Nodes that compute the FP32 values that a node reads."""
        return [self.producer[n] for n in self.float_inputs(index) if n in self.producer]

    def after(self, index: int) -> list[int]:
        """Nodes that read the FP32 values that a node computes."""
        return [i for name in self.float_outputs(index) for i in self.readers[name]]

    def computes_floats(self, index: int) -> bool:
        """Whether a node has to do with FP32 values at all."""
        node = self.nodes[index]
        return any(self.is_float(name) for name in [*node.input, *node.output])


def _refuse(model: onnx.ModelProto, nodes: Iterable[Place]) -> None:
    if model.functions:
        raise GraphError(
            "the graph has local functions", "no conversion looks into them", "inline them first"
        )
    for place in nodes:
        if any(a.HasField("g") or a.graphs for a in place.node.attribute):
            raise GraphError(
                f"the graph branches at {place.node.op_type} node '{place.node.name}'",
                "no conversion looks into branches and loop bodies",
                "export the model without them",
            )
        unknown = [n for n in place.node.output if n and n not in place.values.types]
        if unknown:
            raise GraphError(
                f"the type of '{unknown[0]}' is not known",
                f"{place.node.op_type} node '{place.node.name}' is no operator of ONNX "
                f"{place.opset}",
                "export the model with plain operators",
            )
        halves = [n for n in place.node.output if place.values.types.get(n) == "FP16"]
        if halves:
            raise GraphError(
                "the graph computes in FP16 already",
                f"as {place.node.op_type} node '{place.node.name}' does",
                "convert the FP32 graph it was made from",
            )
