"""OpenCV: which build, and whether it reaches cameras and streams."""

from __future__ import annotations

from collections.abc import Mapping

from edgepose.doctor.asking import Answer
from edgepose.doctor.finding import Finding
from edgepose.doctor.system import System
from edgepose.jetson import find_board

__all__ = ["check", "has_gstreamer"]

_GROUP = "OpenCV"
# They all write to the same folder.
_PACKAGES = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
_SYSTEMS = "pip uninstall -y opencv-python opencv-python-headless; sudo apt install python3-opencv"


def has_gstreamer(told: Mapping[str, Answer]) -> bool:
    """Whether OpenCV was built with GStreamer."""
    built = told["opencv"].facts.get("built", {})
    return str(built.get("GStreamer", "")).startswith("YES")


def check(system: System, told: Mapping[str, Answer]) -> list[Finding]:
    """Version and origin, packages that clash, GStreamer, FFmpeg, windows."""
    answer = told["opencv"]
    jetson = find_board(system) is not None
    if not answer.facts:
        return [_broken(system, answer, jetson)]
    built = answer.facts["built"]
    packages = [name for name in _PACKAGES if system.version(name)]
    found = [
        Finding(
            group=_GROUP,
            check="OpenCV",
            level="ok",
            seen=f"{answer.facts['version']} ({packages[0] if packages else 'of the system'})",
        )
    ]
    if len(packages) > 1:
        found.append(
            Finding(
                group=_GROUP,
                check="packages",
                level="warn",
                seen=" and ".join(packages),
                means="they write to the same folder: which one runs was decided by the order in "
                "which they were installed",
                do=f"pip uninstall -y {' '.join(packages)} && pip install {packages[0]}",
            )
        )
    found.append(_gstreamer(told, jetson, bool(packages)))
    if not str(built.get("FFMPEG", "")).startswith("YES"):
        found.append(
            Finding(
                group=_GROUP,
                check="FFmpeg",
                level="note" if has_gstreamer(told) else "warn",
                seen="not in this OpenCV",
                means="" if has_gstreamer(told) else "video files and RTSP streams cannot be read",
            )
        )
    found.append(_windows(built))
    return found


def _broken(system: System, answer: Answer, jetson: bool) -> Finding:
    means, do = "nothing runs without it", "pip install opencv-python"
    if _wants_older_numpy(system, answer.error):
        means = "it was compiled for NumPy 1, and this Python has NumPy 2"
        do = "pip install 'numpy<2'"
    elif jetson:
        do = (
            "sudo apt install python3-opencv, and make the environment with "
            "python3 -m venv --system-site-packages"
        )
    elif ".so" in answer.error:
        do = "apt install libgl1 libglib2.0-0, or pip install opencv-python-headless instead"
    return Finding(
        group=_GROUP,
        check="OpenCV",
        level="fail",
        seen=answer.error,
        means=means,
        do=do,
        blocks=("cpu", "camera"),
    )


def _wants_older_numpy(system: System, error: str) -> bool:
    words = ("multiarray", "_ARRAY_API", "compiled using NumPy 1", "compiled against ABI")
    newer = not (system.version("numpy") or "1").startswith("1.")
    return newer and any(word in error for word in words)


def _gstreamer(told: Mapping[str, Answer], jetson: bool, wheel: bool) -> Finding:
    if has_gstreamer(told):
        version = told["opencv"].facts["built"]["GStreamer"]
        return Finding(group=_GROUP, check="GStreamer", level="ok", seen=version)
    if not jetson:
        return Finding(
            group=_GROUP,
            check="GStreamer",
            level="note",
            seen="not in this OpenCV (the wheels from PyPI have none)",
            means="files, USB cameras and RTSP work without it",
        )
    return Finding(
        group=_GROUP,
        check="GStreamer",
        level="warn",
        seen="not in this OpenCV" + (": a wheel from PyPI hides the system's" if wheel else ""),
        means="CSI cameras and the hardware decoder are out of reach; files, USB and RTSP work",
        do=_SYSTEMS if wheel else "sudo apt install python3-opencv",
    )


def _windows(built: Mapping[str, str]) -> Finding:
    kinds = ("QT", "GTK+", "GTK", "Win32 UI", "Cocoa")
    shown = built.get("GUI", "")
    shown = "" if shown.upper() in ("", "NONE") else shown
    shown = shown or next((k for k in kinds if built.get(k, "").startswith("YES")), "")
    if shown:
        return Finding(group=_GROUP, check="windows", level="ok", seen=shown)
    return Finding(
        group=_GROUP,
        check="windows",
        level="note",
        seen="none in this OpenCV",
        means="--show cannot open one; --save and --jsonl work",
    )
