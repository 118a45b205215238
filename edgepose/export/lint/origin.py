"""From which PyTorch module a node comes.

torch's exporter writes the module path of every node into its metadata, together with stack traces
that name files of the machine; simplification drops all of it but keeps the names of nodes. So the
nodes are named after their modules first: ``decoder.0.unpool(MaxUnpool2d)/MaxPool_31``. The names
stay in the file, where they also serve TensorRT's layer inspector and every profiler.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

__all__ = ["Origin", "name_by_module", "name_strays", "origin_of", "short_name"]

_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"
# What edgepose puts around the module that is exported, in its attribute `module`.
_WRAPPERS = frozenset({"edgepose.export.trace._Ordered", "edgepose.export.fold_io.FoldedIO"})
_NAME = re.compile(r"(?P<path>[^()]*)\((?P<kind>\w+)\)/(?P<short>\w+)")


@dataclass(frozen=True)
class Origin:
    """A module of the model.

    Attributes:
        path: Dotted, from the model that was exported; empty for the model itself.
        kind: Its class.
    """

    path: str
    kind: str

    def __str__(self) -> str:
        return f"{self.path} ({self.kind})" if self.path else f"the model itself ({self.kind})"


def origin_of(name: str) -> Origin | None:
    """The module in a node's name; None for nodes of other exporters."""
    found = _NAME.fullmatch(name)
    return Origin(found["path"], found["kind"]) if found else None


def short_name(name: str) -> str:
    """A node's name without its module."""
    found = _NAME.fullmatch(name)
    return found["short"] if found else name


def name_by_module(graph: onnx.GraphProto) -> dict[str, Origin]:
    """Name the nodes of a fresh export after the modules in their metadata.

    Returns:
        The module that every value comes from.
    """
    origins = {}
    for index, node in enumerate(graph.node):
        origin = _recorded(node)
        if origin is not None:
            node.name = _name(origin, node, index)
            origins.update(dict.fromkeys(node.output, origin))
    return origins


def name_strays(graph: onnx.GraphProto, origins: Mapping[str, Origin]) -> None:
    """Name the nodes that simplification made, or that are of no module.

    They are named after the module that their values came from before, else after the one that
    takes them, else after the one that feeds them.

    Args:
        graph: The simplified graph.
        origins: What :func:`name_by_module` gave for it.
    """
    named = [(node, origin) for node in graph.node if (origin := origin_of(node.name))]
    known = dict(origins)
    for node, origin in named:
        known.update(dict.fromkeys(node.output, origin))
    takers = {value: origin for node, origin in reversed(named) for value in node.input}
    for index, node in enumerate(graph.node):
        if origin_of(node.name) is None:
            near = (
                _first(known, node.output)
                or _first(takers, node.output)
                or _first(known, node.input)
            )
            if near is not None:
                # A letter that no other number has: the bare number may be taken.
                node.name = _name(near, node, f"s{index}")
                known.update(dict.fromkeys(node.output, near))


def _first(origins: Mapping[str, Origin], names: Iterable[str]) -> Origin | None:
    return next((origins[name] for name in names if name and name in origins), None)


def _name(origin: Origin, node: onnx.NodeProto, index: int | str) -> str:
    return f"{origin.path}({origin.kind})/{node.op_type}_{index}"


def _recorded(node: onnx.NodeProto) -> Origin | None:
    """The innermost module that the exporter noted, seen from the exported model."""
    noted = {p.key: p.value for p in node.metadata_props if p.key in (_SCOPES, _CLASSES)}
    if len(noted) < 2:
        return None
    # Both lists go from the root inwards; the last entry is the traced operation itself.
    scopes, classes = (ast.literal_eval(noted[key])[:-1] for key in (_SCOPES, _CLASSES))
    if not scopes or scopes[0]:
        return None  # made by the exporter, of no module
    path = f"{scopes[-1]}."
    for kind in classes:
        if kind in _WRAPPERS:
            path = path.removeprefix("module.")
    return Origin(path.rstrip("."), str(classes[-1]).rpartition(".")[2])
