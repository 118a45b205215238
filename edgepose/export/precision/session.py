"""A graph in onnxruntime, straight from memory: whole, in parts, and from any tensor to any other.

Weights go to onnxruntime as arrays beside the message, so that a graph of any size can be opened,
again and again with other outputs, without being written out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgepose.errors import GraphError

__all__ = ["Session", "Slices", "read_weight"]

Array = npt.NDArray[Any]

# Fewer bytes stay in the message: shapes and axes have to be known while the graph is read.
_SMALL = 2**12
# Nodes of a slice. With 32, the tensors of a slice are a twelfth of those of a usual graph.
_SLICE = 32


class Session:
    """A graph that computes some tensors from others.

    Args:
        model: The graph; it stays as it is.
        outputs: Tensors to compute, of any place in the graph.
        fed: Element type of every tensor that is given; what else would compute it is left out.

    Raises:
        GraphError: onnxruntime cannot run it, or its weights are not in memory.
    """

    def __init__(
        self, model: onnx.ModelProto, outputs: Sequence[str], fed: Mapping[str, int]
    ) -> None:
        self._outputs = list(outputs)
        light, weights = _light(model, self._outputs, fed)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # What is constant is folded; kernels that join nodes would compute in other types.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        # An arena keeps what it once held, each session its own.
        options.enable_cpu_mem_arena = False
        # onnxruntime does not keep the arrays alive.
        self._weights = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(values)
            for name, values in weights.items()
        }
        if weights:
            options.add_external_initializers(list(weights), list(self._weights.values()))
        try:
            self._session = onnxruntime.InferenceSession(
                light.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own classes share no base but Exception
            raise GraphError("onnxruntime cannot run the graph", _first_line(error)) from error
        self.inputs = tuple(i.name for i in self._session.get_inputs())

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name.

        Args:
            values: At least what the outputs depend on.

        Raises:
            GraphError: onnxruntime fails on them.
        """
        fed = {name: values[name] for name in self.inputs}
        try:
            computed = self._session.run(self._outputs, fed)
        except Exception as error:  # as above
            raise GraphError("the graph failed", _first_line(error)) from error
        return dict(zip(self._outputs, computed, strict=True))


class Slices:
    """A graph that gives the tensors inside it, few at a time.

    onnxruntime keeps all outputs until it is done, which for all activations of a large graph are
    gigabytes. So the graph runs in slices, each from the tensors that the ones before leave to it.

    Args:
        model: The graph, of one input; it stays as it is.
        wanted: Tensors to give.
    """

    def __init__(self, model: onnx.ModelProto, wanted: Collection[str]) -> None:
        self._model = model
        self._input = input_name(model)
        self._wanted = frozenset(wanted)
        nodes = model.graph.node
        self._parts = [nodes[i : i + _SLICE] for i in range(0, len(nodes), _SLICE)]
        self._sessions: list[Session | None] = [None] * len(self._parts)
        self._last = {
            name: index
            for index, part in enumerate(self._parts)
            for node in part
            for name in _reads(node)
        }

    def run(self, images: Array) -> Iterator[dict[str, Array]]:
        """The wanted tensors of one slice after the other, the graph's input first.

        Args:
            images: For the graph's input.

        Raises:
            GraphError: onnxruntime cannot run the graph.
        """
        alive = {self._input: images}
        if self._input in self._wanted:
            yield dict(alive)
        for index, part in enumerate(self._parts):
            session = self._session(index, part, alive)
            if session is None:
                continue
            computed = session.run(alive)
            alive = {
                name: values
                for name, values in {**alive, **computed}.items()
                if self._last.get(name, -1) > index
            }
            yield {name: values for name, values in computed.items() if name in self._wanted}

    def _session(
        self, index: int, part: Sequence[onnx.NodeProto], alive: Mapping[str, Array]
    ) -> Session | None:
        """Opened when first needed: only then are the types of what it is fed known."""
        outputs = [
            name
            for node in part
            for name in node.output
            if name and (name in self._wanted or self._last.get(name, -1) > index)
        ]
        if outputs and self._sessions[index] is None:
            fed = {
                name: helper.np_dtype_to_tensor_dtype(values.dtype)
                for name, values in alive.items()
            }
            self._sessions[index] = Session(self._model, outputs, fed)
        return self._sessions[index]


def input_name(model: onnx.ModelProto) -> str:
    """Name of a graph's one input.

    Raises:
        GraphError: It has several, or none.
    """
    weights = {weight.name for weight in model.graph.initializer}
    names = [str(value.name) for value in model.graph.input if value.name not in weights]
    if len(names) != 1:
        raise GraphError(f"the graph has {len(names)} inputs", "a pose graph takes one")
    return names[0]


def read_weight(weight: TensorProto) -> Array:
    """A weight as an array.

    Raises:
        GraphError: It lies in another file.
    """
    if weight.data_location == TensorProto.EXTERNAL:
        raise GraphError(
            f"the weight '{weight.name}' is not in memory",
            "it lies in a file beside the graph",
            "load the graph together with its data: onnx.load(path) does",
        )
    if weight.raw_data and weight.data_type == TensorProto.FLOAT:
        # Without the copy that to_array makes.
        return np.frombuffer(weight.raw_data, "<f4").reshape(tuple(weight.dims))
    return np.asarray(numpy_helper.to_array(weight))


def _light(
    model: onnx.ModelProto, outputs: Sequence[str], fed: Mapping[str, int]
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The graph between the tensors without its heavy weights, and those."""
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(_between(model.graph.node, outputs, fed))
    used = {name for node in graph.node for name in _reads(node)}
    known = {i.name: i for i in model.graph.input}
    graph.input.extend(
        known.get(name) or helper.make_tensor_value_info(name, kind, None)
        for name, kind in fed.items()
        if name in used
    )
    weights = {}
    for weight in model.graph.initializer:
        if weight.name not in used:
            continue
        if len(weight.raw_data) < _SMALL or weight.data_type != TensorProto.FLOAT:
            graph.initializer.append(weight)
            continue
        weights[weight.name] = read_weight(weight)
        stub = graph.initializer.add(name=weight.name, data_type=weight.data_type)
        stub.dims.extend(weight.dims)
        stub.data_location = TensorProto.EXTERNAL
        stub.external_data.add(key="location", value="memory")
    known = {o.name: o for o in model.graph.output}
    graph.output.extend(known.get(name) or onnx.ValueInfoProto(name=name) for name in outputs)
    return light, weights


def _between(
    nodes: Sequence[onnx.NodeProto], outputs: Sequence[str], fed: Collection[str]
) -> list[onnx.NodeProto]:
    """What computes the outputs from what is fed, in the order of the graph."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(_computing(node, fed))
            wanted.update(name for name in _reads(node) if name not in fed)
    return kept[::-1]


def _computing(node: onnx.NodeProto, fed: Collection[str]) -> onnx.NodeProto:
    """A node that does not compute what is fed, but others of its outputs."""
    if not any(name in fed for name in node.output):
        return node
    other = onnx.NodeProto()
    other.CopyFrom(node)
    other.output[:] = [f"{name}/unused" if name in fed else name for name in node.output]
    return other


def _reads(node: onnx.NodeProto) -> Iterable[str]:
    """What a node reads, its branches and bodies included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            for inner in graph.node:
                yield from _reads(inner)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
