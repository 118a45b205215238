"""Graphs with large weights, up to those that one file cannot hold.

Simplification, shape inference and the checker pass a graph on as bytes, several times over. So the
heavy weights of a large graph are set aside before it becomes a message: they stand in it as
further inputs, and come back when the graph is finished. That saves time and most of the memory.
What is lost is the folding of operations on constants of that size, of which the exporter leaves
none.

An ONNX file is one protobuf message, and protobuf writes none of more than 2 GiB. Beyond that the
weights go into a second file, named after its content: ``MODEL.onnx.<digest>.data``. Two files
cannot be renamed at once, but this way they need not be: the data is in place before the graph that
names it, an older graph keeps its own data until it is replaced, and no graph ever reads another's.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir
from onnx import external_data_helper

from edgepose.errors import GraphError
from edgepose.files import atomic_path

__all__ = [
    "DATA_DIGEST_KEY",
    "drop_other_weights",
    "put_back",
    "refuse_large",
    "set_aside",
    "weights_beside",
]

# From this total on the heavy weights are set aside, each of so many bytes or more.
LARGE = 2**28
HEAVY = 2**20
# The most that weights may take in one file; the rest of protobuf's 2 GiB is for all else.
ONE_FILE = 2**31 - 2**26
# A tensor of fewer bytes always stays in the file: constants that the operators need to be known.
SMALL = 2**10
# Runtimes map weights into memory, which begins at pages.
PAGE = 4096
DATA_DIGEST_KEY = "edgepose.data_sha256"

Weights = dict[str, onnx_ir.TensorProtocol]


def set_aside(model: onnx_ir.Model) -> Weights:
    """Make the heavy weights of a large graph its inputs.

    Args:
        model: A fresh export, changed in place.

    Returns:
        Those weights by their names; none of a graph that is not large.
    """
    initialisers = model.graph.initializers
    sizes = {n: v.const_value.nbytes for n, v in initialisers.items() if v.const_value is not None}
    if sum(sizes.values()) <= LARGE:
        return {}
    weights: Weights = {}
    for name in [name for name, size in sizes.items() if size >= HEAVY]:
        value = initialisers.pop(name)
        tensor = value.const_value
        if tensor is None:
            raise AssertionError("only values with a tensor have a size")
        value.const_value = None
        value.type = onnx_ir.TensorType(tensor.dtype)
        value.shape = onnx_ir.Shape(tensor.shape.numpy())
        model.graph.inputs.append(value)
        weights[name] = tensor
    return weights


def put_back(model: onnx.ModelProto, weights: Weights) -> None:
    """Undo :func:`set_aside` on the graph that was made of the model, in place."""
    graph = model.graph
    kept = [i for i in graph.input if i.name not in weights]
    used = [i.name for i in graph.input if i.name in weights]
    del graph.input[:]
    graph.input.extend(kept)
    for name in used:
        tensor = graph.initializer.add()
        onnx_ir.serde.serialize_tensor_into(tensor, weights[name])
        tensor.name = name


def refuse_large(model: onnx.ModelProto) -> None:
    """Refuse to convert a graph whose weights one file cannot hold.

    Raises:
        GraphError: It is such a graph.
    """
    held = sum(len(weight.raw_data) for weight in model.graph.initializer)
    if held > ONE_FILE:
        raise GraphError(
            f"a graph with {held / 2**30:.1f} GiB of weights cannot be converted",
            "FP16 and INT8 are made in one protobuf message, which holds 2 GiB",
            "leave --precision out",
        )


@contextlib.contextmanager
def weights_beside(model: onnx.ModelProto, out: Path) -> Iterator[Path | None]:
    """Move the weights of a graph into a file of their own, if they do not fit into one.

    The graph then refers to that file, and its metadata holds the file's SHA-256, so that the
    graph's own digest covers both. If the block fails, the file is removed again.

    Args:
        model: Changed in place.
        out: Where the graph will lie.

    Yields:
        The file, complete and beside ``out``; None where one file is enough.

    Raises:
        OutputError: It cannot be written.
    """
    if sum(len(weight.raw_data) for weight in model.graph.initializer) <= ONE_FILE:
        yield None
        return
    weights = [w for w in model.graph.initializer if len(w.raw_data) >= SMALL]
    digest = hashlib.sha256()
    for part in _parts(weights):
        digest.update(part)
    data = out.parent / f"{out.name}.{digest.hexdigest()[:16]}.data"
    older = data.exists()
    with atomic_path(data) as temporary, temporary.open("wb") as file:
        file.writelines(_parts(weights))
    try:
        _refer(weights, data.name)
        model.metadata_props.add(key=DATA_DIGEST_KEY, value=digest.hexdigest())
        yield data
    except BaseException:
        if not older:
            data.unlink(missing_ok=True)
        raise


def drop_other_weights(out: Path, data: Path | None) -> None:
    """Remove the weights of graphs that lay at ``out`` before, now that none refers to them."""
    name = re.compile(re.escape(out.name) + r"\.[0-9a-f]{16}\.data")
    for file in out.parent.iterdir():
        if file != data and name.fullmatch(file.name):
            with contextlib.suppress(OSError):  # it is in nobody's way
                file.unlink()


def _parts(weights: list[onnx.TensorProto]) -> Iterator[bytes]:
    """The content of the file: every tensor's bytes, filled up to whole pages."""
    for weight in weights:
        yield weight.raw_data
        yield bytes(-len(weight.raw_data) % PAGE)


def _refer(weights: list[onnx.TensorProto], location: str) -> None:
    offset = 0
    for weight in weights:
        length = len(weight.raw_data)
        external_data_helper.set_external_data(weight, location, offset, length)
        weight.ClearField("raw_data")
        offset += length + -length % PAGE
