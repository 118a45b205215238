"""Asking the target itself, where it is at hand and needs no GPU."""

from __future__ import annotations

from pathlib import Path

from edgepose.errors import GraphError, require
from edgepose.export.lint import rtx
from edgepose.export.lint.targets import Target
from edgepose.export.lint.verdict import Complaint, Verdict
from edgepose.runtime.onnxruntime import open_session

__all__ = ["ask"]


def ask(target: Target, path: Path) -> Verdict | None:
    """What the runtime itself says of a file; None where it is not here or cannot say.

    TensorRT proper cannot be asked: without a GPU its parser does not start.

    Args:
        target: The runtime.
        path: An ONNX file.

    Raises:
        GraphError: TensorRT-RTX died of the file, or never finished.
    """
    if target.name == "trt-rtx" and rtx.installed():
        return rtx.parser_verdict(path)
    if target.name == "ort":
        return _onnxruntime(path)
    return None


def _onnxruntime(path: Path) -> Verdict:
    name = f"onnxruntime {require('onnxruntime', None).__version__}"
    try:
        open_session(path, "cpu", threads=1)
    except GraphError as error:
        return Verdict(name, supported=False, complaints=(Complaint("", "", error.why or ""),))
    return Verdict(name, supported=True)
