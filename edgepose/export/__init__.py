"""From a PyTorch module to a proven ONNX artefact. Needs the export extra."""

from edgepose.export.lint import TARGETS, Finding, Lint, Target
from edgepose.export.parity import FP32, Parity, ParityLimits, TensorError, compare
from edgepose.export.photos import Photo, folder_photos, sample_photos
from edgepose.export.pipeline import (
    ExportResult,
    Graph,
    export_model,
    export_module,
    make_graph,
)
from edgepose.export.rewrites import REWRITES, Applied, Rewrite, rewritten

__all__ = [
    "FP32",
    "REWRITES",
    "TARGETS",
    "Applied",
    "ExportResult",
    "Finding",
    "Graph",
    "Lint",
    "Parity",
    "ParityLimits",
    "Photo",
    "Rewrite",
    "Target",
    "TensorError",
    "compare",
    "export_model",
    "export_module",
    "folder_photos",
    "make_graph",
    "rewritten",
    "sample_photos",
]
