"""A graph made ready for counting: only what runs, and what of it is constant.

Weights in other files stay there, so that graphs of any size are read in no time; only the small
constants among them, which may be the sizes that shapes depend on, are brought in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, external_data_helper, helper, inliner

from edgepose.errors import GraphError
from edgepose.export.lint import load

__all__ = ["Constant", "Graph", "attribute", "domain_of", "read_graph", "reads_of"]

# Numbers up to which a constant may be a shape rather than a weight.
_SMALL = 4096
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}
) | {"RandomUniformLike"}


@dataclass(frozen=True)
class Constant:
    """An initialiser, or what a Constant node holds.

    Attributes:
        name: Its name.
        kind: ONNX's number for its element type.
        shape: Its shape.
    """

    name: str
    kind: int
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The part of a graph that a runtime computes.

    Attributes:
        path: Its file.
        model: As read, local functions written out, without weights of other files.
        nodes: Those that an output depends on and that depend on an input, in order.
        folded: Those that an output depends on and no input: a runtime computes them at load.
        makers: The node of every value of ``folded``.
        constants: Initialisers and Constant nodes by name.
        opset: Version of the standard operator set.
    """

    path: Path
    model: onnx.ModelProto
    nodes: tuple[onnx.NodeProto, ...]
    folded: tuple[onnx.NodeProto, ...]
    makers: Mapping[str, onnx.NodeProto]
    constants: Mapping[str, Constant]
    opset: int

    def constant(self, name: str) -> bool:
        """Whether a value is known without any input."""
        return name in self.constants or name in self.makers

    @property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        """What is fed; in old graphs the initialisers are listed as inputs, too."""
        return [i for i in self.model.graph.input if i.name not in self.constants]


def read_graph(path: Path) -> Graph:
    """Read a file.

    Raises:
        GraphError: It is missing, no ONNX, or points at data outside its folder.
    """
    model = load(path)
    if model.functions:
        model = inliner.inline_local_functions(model)
    _bring_small(model, path)
    graph = model.graph
    constants = {
        tensor.name: Constant(tensor.name, tensor.data_type, tuple(tensor.dims))
        for tensor in graph.initializer
    }
    for sparse in graph.sparse_initializer:
        values = sparse.values
        constants[values.name] = Constant(values.name, values.data_type, tuple(values.dims))
    live = _live(graph)
    nodes, folded = [], []
    known = set(constants)
    for node in live:
        if node.op_type == "Constant" and domain_of(node) == "":
            constants[node.output[0]] = _held(node)
            known.add(node.output[0])
        elif node.op_type not in _RANDOM and known.issuperset(reads_of(node)):
            folded.append(node)
            known.update(node.output)
        else:
            nodes.append(node)
    versions = [int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")]
    return Graph(
        path=path,
        model=model,
        nodes=tuple(nodes),
        folded=tuple(folded),
        makers={name: node for node in folded for name in node.output if name},
        constants=constants,
        opset=max(versions, default=0),
    )


def domain_of(node: onnx.NodeProto) -> str:
    """The node's operator set, empty for the standard one."""
    return "" if node.domain == "ai.onnx" else str(node.domain)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Value of an attribute; strings as ``str``."""
    for found in node.attribute:
        if found.name == name:
            value = helper.get_attribute_value(found)
            return value.decode() if isinstance(value, bytes) else value
    return default


def reads_of(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads, from inside its branches and bodies too; names made there excluded."""
    yield from filter(None, node.input)
    for found in node.attribute:
        for inner in [found.g] if found.HasField("g") else found.graphs:
            made = {i.name for i in inner.input} | {t.name for t in inner.initializer}
            made |= {name for within in inner.node for name in within.output}
            for within in inner.node:
                yield from (name for name in reads_of(within) if name not in made)
            yield from (o.name for o in inner.output if o.name not in made)


def _live(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    wanted = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(reads_of(node))
    return kept[::-1]


def _held(node: onnx.NodeProto) -> Constant:
    name = str(node.output[0])
    for found in node.attribute:
        if found.name == "value":
            return Constant(name, found.t.data_type, tuple(found.t.dims))
        if found.name == "sparse_value":
            values = found.sparse_tensor.values
            return Constant(name, values.data_type, tuple(values.dims))
        if found.name in ("value_float", "value_floats"):
            return Constant(name, TensorProto.FLOAT, (len(found.floats) or 1,))
        if found.name in ("value_int", "value_ints"):
            return Constant(name, TensorProto.INT64, (len(found.ints) or 1,))
    return Constant(name, TensorProto.STRING, (1,))


def _bring_small(model: onnx.ModelProto, path: Path) -> None:
    """Read the small constants of other files, in place."""
    small = [
        tensor
        for tensor in _tensors(model.graph)
        if tensor.data_location == TensorProto.EXTERNAL and math.prod(tensor.dims) <= _SMALL
    ]
    for tensor in small:
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        except Exception as error:  # onnx's checks raise classes of C++
            place = {e.key: e.value for e in tensor.external_data}.get("location", "?")
            raise GraphError(
                f"{path} lacks its data",
                f"'{tensor.name}' lies in {place}: {str(error).strip()}",
                "copy that file beside it",
            ) from error
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _tensors(graph: onnx.GraphProto) -> Iterable[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from (found.t for found in node.attribute if found.HasField("t"))
