"""A graph with other nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx

__all__ = ["rebuilt"]


def rebuilt(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    constants: Iterable[onnx.TensorProto],
) -> onnx.ModelProto:
    """A model of the same inputs, outputs and metadata, without weights that nobody reads any more.

    Args:
        model: It stays as it is.
        nodes: All nodes, in order.
        constants: Further constants.
    """
    made = onnx.ModelProto(
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
    )
    made.opset_import.extend(model.opset_import)
    made.functions.extend(model.functions)
    made.metadata_props.extend(model.metadata_props)
    graph = made.graph
    graph.name = model.graph.name
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    graph.initializer.extend(w for w in model.graph.initializer if w.name in used)
    graph.initializer.extend(constants)
    return made
