"""The two packages that hold device memory for TensorRT: PyCUDA and NVIDIA's cuda-bindings."""

from __future__ import annotations

from collections.abc import Mapping

from edgepose.doctor.asking import Answer
from edgepose.doctor.finding import Finding
from edgepose.doctor.system import System

__all__ = ["check"]

_GROUP = "CUDA in Python"
_PACKAGES = {"pycuda": "pycuda", "cuda_bindings": "cuda-bindings"}


def check(system: System, told: Mapping[str, Answer]) -> list[Finding]:
    """Whether one of them loads. The finding that neither does stands alone."""
    driver = told["gpu"].facts.get("cuda")
    found = []
    for question, package in _PACKAGES.items():
        answer = told[question]
        if answer.facts:
            found.append(_loaded(package, answer.facts["version"], driver))
        elif not answer.absent:
            found.append(_broken(package, answer.error, driver))
    if any(finding.level in ("ok", "warn") for finding in found):
        return found
    missing = Finding(
        group=_GROUP,
        check="pycuda or cuda-bindings",
        level="warn" if driver else "note",
        seen="neither loads" if found else "neither is installed",
        means="TensorRT's engines need one of them to hold device memory",
        do=_install(driver) if driver else "",
        blocks=("tensorrt",),
    )
    return [*found, missing]


def _loaded(package: str, version: str, driver: tuple[int, int] | None) -> Finding:
    major = int(version.split(".")[0]) if version[:1].isdigit() else 0
    # PyCUDA is compiled against the CUDA that is there; the bindings are of one major version.
    if package == "cuda-bindings" and driver is not None and major > driver[0]:
        return Finding(
            group=_GROUP,
            check=package,
            level="fail",
            seen=f"{version}, and the driver runs CUDA up to {driver[0]}.{driver[1]}",
            means="bindings of a newer major version than the driver's do not work with it",
            do=_install(driver),
        )
    return Finding(group=_GROUP, check=package, level="ok", seen=version)


def _broken(package: str, error: str, driver: tuple[int, int] | None) -> Finding:
    if driver is None:
        return Finding(
            group=_GROUP,
            check=package,
            level="note",
            seen=f"installed, and does not load: {error}",
            means="to be expected without a driver",
        )
    return Finding(
        group=_GROUP,
        check=package,
        level="fail",
        seen=f"installed, and does not load: {error}",
        do=f"pip install --force-reinstall --no-cache-dir {package}, or {_install(driver)}",
    )


def _install(driver: tuple[int, int]) -> str:
    major = driver[0]
    version = (
        "'cuda-bindings>=12.9,<13'" if major < 13 else f"'cuda-bindings>={major},<{major + 1}'"
    )
    return f"pip install {version}"
