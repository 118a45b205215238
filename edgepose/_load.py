"""The front door: from a name or a file to an estimator."""

from __future__ import annotations

from pathlib import Path

from edgepose.errors import ArtefactError
from edgepose.estimator import Estimator
from edgepose.runtime.open import SUFFIXES, default_device, open_runner
from edgepose.spec import PoseSpec
from edgepose.zoo import ZooEntry, find

__all__ = ["load"]


def load(
    artefact: str | Path,
    *,
    device: str | None = None,
    threads: int | None = None,
    spec: PoseSpec | None = None,
) -> Estimator:
    """Load an artefact and make an estimator of it.

    Args:
        artefact: An ``.onnx`` or ``.engine`` file, or the name of a zoo model that comes with an
            ONNX file (``mitpose-lite``, ``mitpose-lite@128x96``).
        device: Where it runs, such as ``cuda:1``; by default ``cpu`` for ONNX, ``cuda`` for an
            engine. See :func:`edgepose.runtime.open.open_runner`.
        threads: Threads inside one operator; the runtime's choice by default.
        spec: For a foreign graph that carries no spec.

    Returns:
        An :class:`Estimator`: ``pose(image, boxes) -> Poses``.

    Raises:
        ArtefactError: No such file or name, or one that cannot be used.
        DeviceError: The device is not available.
        MissingDependency: What runs it is not installed.
    """
    return Estimator(open_runner(_file(artefact), spec=spec, device=device, threads=threads))


def _file(artefact: str | Path) -> Path:
    path = Path(artefact)
    if path.suffix in SUFFIXES:
        return path
    if path.is_file():
        default_device(path)  # says what is wrong with it
    entry = find(str(artefact))
    if entry.onnx is None:
        raise ArtefactError(
            f"'{entry.name}' comes as weights, not as a ready ONNX file",
            None,
            f"edgepose export {entry.name} -o {entry.model}.onnx, then use {entry.model}.onnx",
        )
    return _present(entry, entry.onnx)


def _present(entry: ZooEntry, path: Path) -> Path:
    if not path.is_file():
        raise ArtefactError(
            f"the zoo's file {path} is missing",
            f"{entry.name} is listed, but its file is not on this machine",
            "reinstall edgepose",
        )
    return path
