"""From a PyTorch module to a proven ONNX artefact. Needs the export extra."""

from edgepose.export.artefact import ExportResult
from edgepose.export.graph import Graph, make_graph
from edgepose.export.lint import TARGETS, Finding, Lint, Target
from edgepose.export.pipeline import export_file, export_model, export_module
from edgepose.export.precision.convert import Conversion
from edgepose.export.rewrites import REWRITES, Applied, Rewrite, rewritten

__all__ = [
    "REWRITES",
    "TARGETS",
    "Applied",
    "Conversion",
    "ExportResult",
    "Finding",
    "Graph",
    "Lint",
    "Rewrite",
    "Target",
    "export_file",
    "export_model",
    "export_module",
    "make_graph",
    "rewritten",
]
