"""From a PyTorch module to a proven ONNX artefact. Needs the export extra."""

from edgepose.export.lint import TARGETS, Finding, Lint, Target
from edgepose.export.pipeline import (
    ExportResult,
    Graph,
    export_model,
    export_module,
    make_graph,
)
from edgepose.export.rewrites import REWRITES, Applied, Rewrite, rewritten

__all__ = [
    "REWRITES",
    "TARGETS",
    "Applied",
    "ExportResult",
    "Finding",
    "Graph",
    "Lint",
    "Rewrite",
    "Target",
    "export_model",
    "export_module",
    "make_graph",
    "rewritten",
]
