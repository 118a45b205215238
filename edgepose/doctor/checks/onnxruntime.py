"""onnxruntime, its packages that exclude each other, and the providers that come into force."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgepose.doctor.asking import Answer
from edgepose.doctor.finding import Finding
from edgepose.doctor.system import System
from edgepose.jetson import find_board
from edgepose.runtime.providers import DEVICES

__all__ = ["check"]

_GROUP = "onnxruntime"
# They all write to the same folder.
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")
_CPU, _CUDA = DEVICES["cpu"].provider, DEVICES["cuda"].provider
_NO_WHEEL = (
    "PyPI has no GPU wheel for ARM: build an engine (--to engine), or take a wheel for your "
    "JetPack from https://pypi.jetson-ai-lab.io"
)


def check(system: System, told: Mapping[str, Answer]) -> list[Finding]:
    """Version, packages, providers."""
    answer = told["onnxruntime"]
    installed = {name: v for name in _PACKAGES if (v := system.version(name))}
    found = _clash(installed, gpu=bool(told["gpu"].facts))
    if not answer.facts:
        return [
            *found,
            Finding(
                group=_GROUP,
                check="onnxruntime",
                level="fail",
                seen=answer.error,
                means="nothing runs without it",
                do="pip install --force-reinstall onnxruntime",
                blocks=("cpu", "cuda"),
            ),
        ]
    providers: dict[str, list[str]] = answer.facts["providers"]
    # Of several, none can be told to be the one that runs.
    package = "" if len(installed) > 1 else next((n for n in installed if n != "onnxruntime"), "")
    version = answer.facts["version"] + (f" ({package})" if package else "")
    trouble = providers.get(_CPU, [])
    found.insert(
        0,
        Finding(
            group=_GROUP,
            check="onnxruntime",
            level="fail" if trouble else "ok",
            seen=trouble[0] if trouble else version,
            blocks=("cpu",) if trouble else (),
        ),
    )
    return [*found, *_cuda(system, told, providers), *_others(told, providers)]


def _clash(installed: dict[str, str], gpu: bool) -> list[Finding]:
    if len(installed) < 2:
        return []
    wanted = "onnxruntime-gpu" if gpu else "onnxruntime"
    return [
        Finding(
            group=_GROUP,
            check="packages",
            level="warn",
            seen=" and ".join(f"{name} {version}" for name, version in installed.items()),
            means="they write to the same folder: which one runs was decided by the order in "
            "which they were installed",
            do=f"pip uninstall -y {' '.join(installed)} && pip install --no-deps {wanted}",
        )
    ]


def _cuda(
    system: System, told: Mapping[str, Answer], providers: dict[str, list[str]]
) -> list[Finding]:
    gpu = bool(told["gpu"].facts)
    if _CUDA not in providers:
        jetson = find_board(system) is not None
        return [
            Finding(
                group=_GROUP,
                check="CUDA provider",
                level="note",
                seen="not in this onnxruntime",
                do=(_NO_WHEEL if jetson else DEVICES["cuda"].install) if gpu else "",
                blocks=("cuda",),
            )
        ]
    if not providers[_CUDA]:
        return [Finding(group=_GROUP, check="CUDA provider", level="ok", seen="comes into force")]
    trouble, do = providers[_CUDA]
    return [
        Finding(
            group=_GROUP,
            check="CUDA provider",
            level="fail" if gpu else "note",
            seen=f"does not come into force: {trouble}",
            do=(do or "update the driver") if gpu else "",
            blocks=("cuda",),
        )
    ]


def _others(told: Mapping[str, Answer], providers: dict[str, list[str]]) -> list[Finding]:
    """TensorRT's provider, and any that edgepose does not choose by itself."""
    found = []
    for provider, trouble in providers.items():
        if provider in (_CPU, _CUDA):
            continue
        name = f"{provider.removesuffix('ExecutionProvider')} provider"
        if not trouble:
            found.append(Finding(group=_GROUP, check=name, level="ok", seen="comes into force"))
            continue
        wanted = re.search(r"libnvinfer\.so\.(\d+)", trouble[0])
        present = told["tensorrt"].facts.get("version")
        found.append(
            Finding(
                group=_GROUP,
                check=name,
                level="warn" if wanted and present else "note",
                seen=f"does not come into force: {trouble[0]}",
                means=f"this onnxruntime wants TensorRT {wanted[1]}, and {present} is installed; "
                "engines of edgepose do not mind"
                if wanted and present
                else "",
                do=trouble[1] if told["gpu"].facts else "",
            )
        )
    return found
