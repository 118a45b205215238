"""Optional packages: which are there, and what each is for. None is imported."""

from __future__ import annotations

from collections.abc import Mapping

from edgepose.doctor.asking import Answer
from edgepose.doctor.finding import Finding
from edgepose.doctor.system import System

__all__ = ["EXTRAS", "check"]

_GROUP = "extras"
# Extra of pyproject.toml -> what it is for, and its packages.
EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "export": (
        "exporting models to ONNX",
        ("torch", "onnx", "onnxscript", "onnxslim", "safetensors"),
    ),
    "eval": ("measuring COCO AP", ("pycocotools",)),
    "train": ("training", ("torch", "safetensors", "matplotlib", "pycocotools")),
}


def check(system: System, told: Mapping[str, Answer]) -> list[Finding]:
    """Each extra, by the versions of its packages."""
    return [_extra(system, name, what, names) for name, (what, names) in EXTRAS.items()]


def _extra(system: System, extra: str, what: str, packages: tuple[str, ...]) -> Finding:
    versions = {name: system.version(name) for name in packages}
    missing = [name for name, version in versions.items() if version is None]
    if not missing:
        seen = ", ".join(f"{name} {version}" for name, version in versions.items())
        return Finding(group=_GROUP, check=extra, level="ok", seen=f"{what}: {seen}")
    return Finding(
        group=_GROUP,
        check=extra,
        level="note",
        seen=f"not for {what}: {', '.join(missing)} missing",
        do=f'pip install "edgepose[{extra}]"',
        blocks=("export",) if extra == "export" else (),
    )
