"""TensorRT, and its sister product TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgepose.doctor.asking import Answer
from edgepose.doctor.finding import Finding
from edgepose.doctor.system import System
from edgepose.jetson import Board, find_board

__all__ = ["check"]

_GROUP = "TensorRT"
_NEWEST_MAJOR = 11


def check(system: System, told: Mapping[str, Answer]) -> list[Finding]:
    """Which version, what it can, or why it does not load."""
    return [_tensorrt(system, told), *_rtx(told)]


def _tensorrt(system: System, told: Mapping[str, Answer]) -> Finding:
    answer = told["tensorrt"]
    if answer.facts:
        return _loaded(answer, told["gpu"].facts.get("cuda"))
    board = find_board(system)
    if not answer.absent:
        return Finding(
            group=_GROUP,
            check="TensorRT",
            level="fail",
            seen=answer.error,
            do=answer.hint,
            blocks=("tensorrt",),
        )
    outside = system.matches("/usr/lib/python3*/dist-packages/tensorrt/__init__.py")
    if outside:
        return Finding(
            group=_GROUP,
            check="TensorRT",
            level="warn",
            seen=f"the system has it ({outside[0].removesuffix('/__init__.py')}), and this Python "
            "does not see it",
            means="this virtual environment was made without the system's packages, or with "
            "another version of Python",
            do="/usr/bin/python3 -m venv --system-site-packages env && "
            "env/bin/pip install edgepose",
            blocks=("tensorrt",),
        )
    return Finding(
        group=_GROUP,
        check="TensorRT",
        level="warn" if board or told["gpu"].facts else "note",
        seen="not installed",
        do=_how(board, answer) if board or told["gpu"].facts else "",
        blocks=("tensorrt",),
    )


def _how(board: Board | None, answer: Answer) -> str:
    if board is None:
        return answer.hint
    return "sudo apt install nvidia-jetpack (never pip: its TensorRT is not for Jetson)"


def _loaded(answer: Answer, driver: Sequence[int] | None) -> Finding:
    facts = answer.facts
    cuda = f" for CUDA {facts['cuda']}" if facts["cuda"] else ""
    seen = f"{facts['version']}{cuda}"
    if driver and facts["cuda"] and int(facts["cuda"].split(".")[0]) > driver[0]:
        return Finding(
            group=_GROUP,
            check="TensorRT",
            level="fail",
            seen=f"{seen}, and the driver runs CUDA up to {driver[0]}.{driver[1]}",
            means="the driver is too old for this TensorRT",
            do=f"update the driver, or install the TensorRT for CUDA {driver[0]}",
            blocks=("tensorrt",),
        )
    major = int(facts["version"].split(".")[0])
    if major > _NEWEST_MAJOR:
        return Finding(
            group=_GROUP,
            check="TensorRT",
            level="note",
            seen=seen,
            means=f"newer than edgepose knows (8.6 to {_NEWEST_MAJOR}): it may work",
        )
    typed = (
        "precision is the graph's"
        if facts["strongly_typed"] or not facts["precision_flags"]
        else "precision is told by builder flags"
    )
    progress = "shows its progress" if facts["progress"] else "shows no progress"
    return Finding(group=_GROUP, check="TensorRT", level="ok", seen=f"{seen}; {typed}, {progress}")


def _rtx(told: Mapping[str, Answer]) -> list[Finding]:
    """Nothing where it is absent: few want it."""
    answer = told["tensorrt_rtx"]
    if answer.absent:
        return []
    if answer.facts:
        return [
            Finding(
                group=_GROUP,
                check="TensorRT-RTX",
                level="ok",
                seen=f"{answer.facts['version']}; builds (--to rtx-engine) without a GPU",
            )
        ]
    return [
        Finding(group=_GROUP, check="TensorRT-RTX", level="warn", seen=answer.error, do=answer.hint)
    ]
