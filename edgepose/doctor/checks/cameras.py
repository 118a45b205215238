"""Cameras of this machine, and whether this user may open them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgepose.doctor.asking import Answer
from edgepose.doctor.checks.opencv import has_gstreamer
from edgepose.doctor.finding import Finding
from edgepose.doctor.system import System
from edgepose.jetson import find_board

__all__ = ["check"]

_GROUP = "cameras"
_CSI = "vi-output"  # the Jetson capture unit; such cameras speak raw Bayer to all but NVIDIA's


def check(system: System, told: Mapping[str, Answer]) -> list[Finding]:
    """Every capture device, and the one finding that there is none."""
    if system.kind != "Linux":
        return [
            Finding(group=_GROUP, check="cameras", level="note", seen="only looked for on Linux")
        ]
    devices = [path for path in system.matches("/dev/video*") if path[10:].isdigit()]
    cameras = [path for path in devices if _captures(system, path)]
    if not cameras:
        return [
            Finding(
                group=_GROUP,
                check="cameras",
                level="note",
                seen="none (no capture device /dev/videoN)",
                means="files and streams from the network need none",
                blocks=("camera",),
            )
        ]
    found = [_camera(system, told, path) for path in cameras]
    if all("camera" in finding.blocks for finding in found):
        return found
    # One that works is enough.
    return [replace(finding, blocks=()) for finding in found]


def _captures(system: System, device: str) -> bool:
    """A UVC camera has a second device for its metadata: the one whose index is not 0."""
    index = system.number(f"/sys/class/video4linux/{device[5:]}/index")
    return index in (0, None)


def _camera(system: System, told: Mapping[str, Answer], device: str) -> Finding:
    name = system.read(f"/sys/class/video4linux/{device[5:]}/name")
    seen = f"{device} {name}".strip()
    if not system.may_use(system.root / device[1:]):
        return Finding(
            group=_GROUP,
            check="camera",
            level="warn",
            seen=f"{seen}: not for this user",
            means="devices of cameras belong to the group video",
            do='sudo usermod -aG video "$USER", then log in again; in a container: '
            f"docker run --device {device} --group-add video",
            blocks=("camera",),
        )
    if _CSI in name and find_board(system) is not None and not has_gstreamer(told):
        return Finding(
            group=_GROUP,
            check="camera",
            level="warn",
            seen=f"{seen}: a CSI camera",
            means="only NVIDIA's GStreamer source reads it, and this OpenCV has no GStreamer",
            do="see OpenCV above",
            blocks=("camera",),
        )
    return Finding(group=_GROUP, check="camera", level="ok", seen=seen)
