"""A module as a graph: rewritten, traced, with its spec inside and held to its target's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import torch
from torch import nn

from edgepose.export.fold_io import FoldedIO, folded_spec
from edgepose.export.lint import Lint, Target, ask, choose_opset, lint, refusal
from edgepose.export.metadata import embed_spec
from edgepose.export.rewrites import REWRITES, Applied, Rewrite, rewritten
from edgepose.export.trace import trace
from edgepose.spec import PoseSpec

__all__ = ["Graph", "asked", "linted", "make_graph"]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A graph that is not yet judged by its poses.

    Attributes:
        model: The graph, spec embedded.
        spec: The spec it carries.
        rewrites: Exact rewrites that were applied.
        lint: The graph held to its target's table, passed; None without a target.
    """

    model: onnx.ModelProto
    spec: PoseSpec
    rewrites: tuple[Applied, ...]
    lint: Lint | None = None

    @property
    def opset(self) -> int:
        """Version of the standard operator set."""
        return next(int(o.version) for o in self.model.opset_import if o.domain in ("", "ai.onnx"))


def make_graph(
    module: nn.Module,
    spec: PoseSpec,
    *,
    opset: int | None = None,
    target: Target | None = None,
    fold_io: bool = False,
    rewrites: Sequence[Rewrite] = REWRITES,
) -> Graph:
    """Rewrite and trace a module; the first step of an export, before any judgement.

    Args:
        module: forward((B, 3, H, W) normalised) -> outputs of the names that ``spec`` implies; it
            stays as it is.
        spec: Its spec.
        opset: 17 to 20; by default what suits the target, 18 without one.
        target: Runtime whose table every node is held to.
        fold_io: Put preprocessing and decoding into the graph.
        rewrites: Exact rewrites to apply; () for none.

    Raises:
        InputError: edgepose does not write the operator set, or the target does not read it.
        GraphError: The module cannot be traced to plain operators with a free batch.
        LintError: The target does not read the graph.
    """
    opset = choose_opset(opset, target)
    lean, applied = rewritten(module, rewrites)
    height, width = spec.input_size
    example = torch.zeros(3, height, width)
    if fold_io:
        lean, spec = FoldedIO(lean, spec), folded_spec(spec)
        example = torch.zeros(height, width, 3, dtype=torch.uint8)
    model = trace(lean, example, opset=opset)
    embed_spec(model, spec)
    return linted(Graph(model=model, spec=spec, rewrites=applied), target)


def linted(graph: Graph, target: Target | None) -> Graph:
    """The graph with the lint of its nodes, where there is a target.

    Raises:
        LintError: The target does not read it.
    """
    return graph if target is None else _passed(graph, lint(graph.model, target))


def asked(graph: Graph, file: Path) -> Graph:
    """The graph with what the target itself says of its file, where it is at hand.

    Raises:
        LintError: It refuses the file.
    """
    if graph.lint is None:
        return graph
    return _passed(graph, graph.lint.with_verdict(ask(graph.lint.target, file)))


def _passed(graph: Graph, result: Lint) -> Graph:
    if not result:
        raise refusal(graph.model, result)
    return replace(graph, lint=result)
