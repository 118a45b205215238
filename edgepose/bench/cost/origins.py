"""From which PyTorch module the nodes of a graph come, whoever exported it.

edgepose names nodes after their modules. Other exporters keep the names of weights
(``backbone.stem.0.conv.weight``), which say it of every layer that has some; a product of two
activations then belongs to the innermost module around what feeds it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from edgepose.bench.cost.graph import Constant, Graph
from edgepose.export.lint.origin import Origin, origin_of

__all__ = ["origins_of"]

# What is exported inside a wrapper has its attribute `module` in front.
_PARAMETER = re.compile(r"(?P<wrapper>(?:module\.)*)(?P<path>(?:\w+\.)*)[A-Za-z_]\w*")


def origins_of(
    graph: Graph, parameters: Sequence[Sequence[Constant]], products: Collection[int]
) -> list[Origin | None]:
    """The module of each of ``graph.nodes``; its class is empty where only weights tell.

    Args:
        graph: The graph.
        parameters: Of each node, as :func:`edgepose.bench.cost.parameters.parameters_of` has them.
        products: Indices of the nodes that multiply matrices.
    """
    found: list[Origin | None] = []
    near: dict[str, str | None] = {value.name: None for value in graph.inputs}
    for index, (node, own) in enumerate(zip(graph.nodes, parameters, strict=True)):
        origin = origin_of(node.name) or _of_weights(own)
        if origin is None and not (own and index in products):
            origin = _around([near[n] for n in node.input if n in near], index in products)
        found.append(origin)
        near.update(dict.fromkeys(node.output, None if origin is None else origin.path))
    return found


def _of_weights(own: Sequence[Constant]) -> Origin | None:
    for constant in own:
        match = _PARAMETER.fullmatch(constant.name)
        if match is not None and (match["wrapper"] or match["path"]):
            return Origin(match["path"].rstrip("."), "")
    return None


def _around(feeds: Sequence[str | None], every: bool) -> Origin | None:
    """The innermost module around what feeds a node, around every one of them if asked."""
    known = [path for path in feeds if path is not None]
    if not known or (every and len(known) < len(feeds)):
        return None
    shared = []
    for names in zip(*(path.split(".") for path in known), strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return Origin(".".join(shared), "") if shared else None
