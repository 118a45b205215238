"""The zoo: whether its files are what they were when they were measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgepose import zoo
from edgepose.doctor.asking import Answer
from edgepose.doctor.finding import Finding
from edgepose.doctor.system import System
from edgepose.errors import ArtefactError

__all__ = ["check"]

_GROUP = "zoo"
_AGAIN = "pip install --force-reinstall --no-deps edgepose"


def check(system: System, told: Mapping[str, Answer]) -> list[Finding]:
    """The SHA-256 of every file against the one recorded with its figures."""
    try:
        entries = zoo.entries()
    except ArtefactError as error:
        return [Finding(group=_GROUP, check="zoo", level="fail", seen=str(error.what), do=_AGAIN)]
    wrong = []
    files = 0
    for entry in entries:
        for path, field in ((entry.weights, "weights_sha256"), (entry.onnx, "onnx_sha256")):
            if path is not None:
                files += 1
                trouble = _trouble(path, str(entry.figures.get(field)))
                wrong += [f"{path.name} {trouble}"] if trouble else []
    if wrong:
        return [
            Finding(
                group=_GROUP,
                check="files",
                level="fail",
                seen="; ".join(wrong),
                means="what it computes is not what was measured",
                do=_AGAIN,
            )
        ]
    names = ", ".join(entry.name for entry in entries) or "no weights"
    return [Finding(group=_GROUP, check="files", level="ok", seen=f"{names}: {files} files intact")]


def _trouble(path: Path, digest: str) -> str:
    try:
        return "" if zoo.sha256_of(path) == digest else "is not the file that was measured"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
