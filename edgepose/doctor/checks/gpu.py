"""The GPU and its driver."""

from __future__ import annotations

from collections.abc import Mapping

from edgepose.doctor.asking import Answer
from edgepose.doctor.finding import Finding, Purpose
from edgepose.doctor.system import System
from edgepose.jetson import find_board

__all__ = ["check"]

_GROUP = "GPU"
_NVIDIA = "0x10de"
_BLOCKS: tuple[Purpose, ...] = ("cuda", "tensorrt")


def check(system: System, told: Mapping[str, Answer]) -> list[Finding]:
    """What the driver says, or why there is none."""
    answer = told["gpu"]
    if answer.facts:
        return [_usable(answer)]
    if find_board(system) is not None:
        return [
            Finding(
                group=_GROUP,
                check="GPU",
                level="fail",
                seen=answer.error,
                means="every Jetson has one: its driver's libraries do not reach this program",
                do="in a container: docker run --runtime nvidia ...; on the board: "
                "sudo apt install nvidia-jetpack",
                blocks=_BLOCKS,
            )
        ]
    if _card(system):
        return [
            Finding(
                group=_GROUP,
                check="GPU",
                level="fail",
                seen=f"an NVIDIA card is built in, and {answer.error}",
                do=answer.hint or "install NVIDIA's driver; in a container: docker run --gpus all",
                blocks=_BLOCKS,
            )
        ]
    return [
        Finding(
            group=_GROUP,
            check="GPU",
            level="note",
            seen="no NVIDIA GPU",
            means="models run on the CPU",
            blocks=_BLOCKS,
        )
    ]


def _usable(answer: Answer) -> Finding:
    facts = answer.facts
    major, minor = facts["compute_capability"]
    cuda = ".".join(str(part) for part in facts["cuda"])
    driver = f"driver {facts['driver']}, " if facts["driver"] else ""
    seen = (
        f"{facts['name']}, compute capability {major}.{minor}, "
        f"{facts['memory_bytes'] / 2**30:.1f} GiB{' shared' if facts['integrated'] else ''}; "
        f"{driver}CUDA up to {cuda}"
    )
    if (major, minor) < (7, 5):
        return Finding(
            group=_GROUP,
            check="GPU",
            level="warn",
            seen=seen,
            means="older than Turing (7.5): recent TensorRT no longer builds for it",
        )
    return Finding(group=_GROUP, check="GPU", level="ok", seen=seen)


def _card(system: System) -> bool:
    """Whether an NVIDIA display controller is on the bus, driver or not."""
    for vendor in system.matches("/sys/bus/pci/devices/*/vendor"):
        kind = system.read(vendor.replace("/vendor", "/class"))
        if system.read(vendor) == _NVIDIA and kind.startswith("0x03"):
            return True
    return False
