"""What the doctor says: one finding a fact, and what of edgepose each makes impossible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PURPOSES", "Finding", "Level", "Purpose"]

Level = Literal["ok", "note", "warn", "fail"]
Purpose = Literal["cpu", "cuda", "tensorrt", "camera", "export"]

PURPOSES: dict[Purpose, str] = {
    "cpu": "run models on the CPU",
    "cuda": "run them on the GPU through onnxruntime",
    "tensorrt": "build and run TensorRT engines",
    "camera": "read a camera of this machine",
    "export": "export models to ONNX",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        group: What it belongs to, e.g. ``memory``.
        check: What was looked at.
        level: ``ok``; ``note`` for what is absent or worth knowing and harms nobody; ``warn`` for
            what slows down or will go wrong; ``fail`` for what does not work.
        seen: What was found.
        means: What follows from it; nothing where that is plain.
        do: What to type; nothing where nothing need be done.
        blocks: What is impossible because of it.
    """

    group: str
    check: str
    level: Level
    seen: str
    means: str = ""
    do: str = ""
    blocks: tuple[Purpose, ...] = ()
