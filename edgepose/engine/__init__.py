"""Building TensorRT and TensorRT-RTX engines from ONNX files."""

from __future__ import annotations

from edgepose.engine.build import BuiltEngine, Progress, build_engine
from edgepose.engine.options import BuildOptions, Profile
from edgepose.engine.prove import ProvenEngine, build_and_prove

__all__ = [
    "BuildOptions",
    "BuiltEngine",
    "Profile",
    "Progress",
    "ProvenEngine",
    "build_and_prove",
    "build_engine",
]
