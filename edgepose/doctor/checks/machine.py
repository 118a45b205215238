"""What machine this is: system, Python, and for a Jetson its board and JetPack."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgepose.doctor.asking import Answer
from edgepose.doctor.finding import Finding
from edgepose.doctor.system import System
from edgepose.jetson import Board, find_board

__all__ = ["check"]

_GROUP = "system"
# Integer dot products: Intel's and AMD's two kinds, ARM's, and ARM's matrix products.
_INT8_FLAGS = ("avx512_vnni", "avx_vnni", "asimddp", "i8mm")


def check(system: System, told: Mapping[str, Answer]) -> list[Finding]:
    """System, Python, container, board, JetPack."""
    found = [_operating_system(system), _python(system), *_cpu(system)]
    if system.exists("/.dockerenv") or system.exists("/run/.containerenv"):
        found.append(
            Finding(
                group=_GROUP,
                check="container",
                level="note",
                seen="this is a container",
                means="it has the GPU, cameras and memory that it was started with, no more",
            )
        )
    board = find_board(system)
    if board is not None:
        found += [_board(board), _jetpack(board)]
    return found


def _operating_system(system: System) -> Finding:
    release = system.read("/etc/os-release")
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)', release, re.MULTILINE)
    kernel = system.read("/proc/sys/kernel/osrelease")
    name = match[1] if match else system.kind
    seen = ", ".join(part for part in (name, system.machine, kernel and f"kernel {kernel}") if part)
    return Finding(group=_GROUP, check="system", level="ok", seen=seen)


def _python(system: System) -> Finding:
    return Finding(group=_GROUP, check="Python", level="ok", seen=system.python)


def _cpu(system: System) -> list[Finding]:
    """The CPU, and whether INT8 may pay on it."""
    text = system.read("/proc/cpuinfo")
    fields: dict[str, str] = dict(re.findall(r"^(\w[\w ]*?)\s*: (.*)$", text, re.MULTILINE))
    if not fields:
        return []
    name = fields.get("model name", system.machine)
    cores = len(re.findall(r"^processor\s*:", text, re.MULTILINE))
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    dots = [flag for flag in _INT8_FLAGS if flag in flags]
    found = f"INT8 dot products ({', '.join(dots)})" if dots else "no INT8 dot products"
    means = "" if dots else "INT8 is not faster than FP32 here"
    return [
        Finding(
            group=_GROUP,
            check="CPU",
            level="ok" if dots else "note",
            seen=f"{name}, {cores} {'core' if cores == 1 else 'cores'}, {found}",
            means=means,
        )
    ]


def _board(board: Board) -> Finding:
    if not board.recipe:
        return Finding(
            group=_GROUP,
            check="board",
            level="note",
            seen=board.model,
            means="edgepose has no recipe for this board",
        )
    return Finding(
        group=_GROUP,
        check="board",
        level="ok",
        seen=f"{board.model}; the recipe to begin with is {board.recipe}",
    )


def _jetpack(board: Board) -> Finding:
    if not board.l4t:
        return Finding(
            group=_GROUP,
            check="JetPack",
            level="note",
            seen="not told (/etc/nv_tegra_release is missing)",
            means="usual inside a container: ask on the board itself",
        )
    seen = f"JetPack {board.jetpack or 'unknown'} (L4T {board.l4t})"
    if board.out_of_range:
        upgrade = (
            "use the CPU here; this module gets no JetPack 6"
            if board.module in ("xavier", "nano or TX2")
            else "flash JetPack 6.2 or later: https://developer.nvidia.com/embedded/jetpack"
        )
        return Finding(
            group=_GROUP,
            check="JetPack",
            level="fail",
            seen=seen,
            means="its TensorRT (8.5 or older) and Python (3.8 or older) are out of edgepose's "
            "range, which begins with TensorRT 8.6 and JetPack 6",
            do=upgrade,
            blocks=("tensorrt",),
        )
    if not board.tensorrt:
        return Finding(
            group=_GROUP,
            check="JetPack",
            level="note",
            seen=seen,
            means="a release that edgepose does not know by number; nothing speaks against it",
        )
    return Finding(
        group=_GROUP,
        check="JetPack",
        level="ok",
        seen=f"{seen}, which carries TensorRT {board.tensorrt}",
    )
