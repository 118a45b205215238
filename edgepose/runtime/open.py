"""From a file to the runner for it."""

from __future__ import annotations

from pathlib import Path

from edgepose.errors import GraphError
from edgepose.runtime.base import Runner
from edgepose.spec import PoseSpec

__all__ = ["SUFFIXES", "default_device", "open_runner"]

_DEVICES = {".onnx": "cpu", ".engine": "cuda"}
SUFFIXES = tuple(_DEVICES)


def default_device(path: str | Path) -> str:
    """Where a file runs if nobody says: ``cpu`` for ``.onnx``, ``cuda`` for ``.engine``.

    Raises:
        GraphError: It is neither.
    """
    path = Path(path)
    if path.suffix not in _DEVICES:
        raise GraphError(
            f"{path} is not an .onnx or .engine file",
            f"its suffix is '{path.suffix}'",
            "weights become an artefact with: edgepose export MODEL --weights FILE",
        )
    return _DEVICES[path.suffix]


def open_runner(
    path: str | Path,
    spec: PoseSpec | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> Runner:
    """Open an artefact: ``.onnx`` with onnxruntime, ``.engine`` with TensorRT.

    Args:
        path: The file.
        spec: For a foreign graph that carries none; a provenance of its own stays in force.
        device: For ``.onnx`` a row of :data:`edgepose.runtime.providers.DEVICES`, for ``.engine``
            ``cuda`` or ``cuda:N``; :func:`default_device` by default.
        threads: Threads inside one operator; engines have none.

    Raises:
        ArtefactError: The file cannot be used.
        DeviceError: The device is not available.
        MissingDependency: What runs it is not installed.
    """
    path = Path(path)
    usual = default_device(path)
    device = device or usual
    if path.suffix == ".engine":
        from edgepose.runtime.tensorrt import TensorRTRunner

        return TensorRTRunner(path, spec=spec, device=device)
    from edgepose.runtime.onnxruntime import OnnxRunner

    return OnnxRunner(path, spec=spec, device=device, threads=threads)
