"""What the builder may be told, checked before anything takes long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from edgepose.errors import InputError
from edgepose.trt.sidecar import HARDWARE_LEVELS, Profile

__all__ = ["DEFAULT_PROFILES", "BuildOptions", "Profile"]

DEFAULT_PROFILES = (Profile(1, 4, 16),)


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How an engine is built. Precision is none of it: that lies in the ONNX file.

    Attributes:
        profiles: Batch sizes, one entry per optimisation profile. Left out: 1 to 16, best at 4, or
            the graph's own batch where that is fixed.
        workspace_mib: Most scratch memory that a layer may use, in MiB; TensorRT's own choice (all
            of the GPU) if left out. On a Jetson that memory is everybody's: 1024 is kind there.
        optimization_level: 0 (quick build) to 5 (tries everything); TensorRT's own 3 if left out.
        timing_cache: File that remembers how fast kernels were on this GPU, for the next build;
            made if absent. Not for TensorRT-RTX, which times nothing.
        version_compatible: Run on later versions of TensorRT too, somewhat slower. TensorRT alone.
        hardware_compatibility: ``none``, ``ampere_plus`` (any GPU from Ampere on; not on a Jetson)
            or ``same_compute_capability`` (from 10.13). TensorRT alone.
        compute_capabilities: GPU generations to build for, e.g. ``("8.6", "8.9")``; Ampere and
            later if left out. TensorRT-RTX alone.
        dla_core: Build for that DLA core of a Jetson Orin; what it cannot run goes to the GPU.
        tf32: Let FP32 layers round their inputs to TF32 (10 bits of mantissa): faster, and no
            longer FP32. Off by default, other than in TensorRT.
        external_tactics: Let cuBLAS and cuDNN lend kernels, where the version can; TensorRT's own
            choice if left out. False where those libraries are not installed.
    """

    profiles: tuple[Profile, ...] | None = None
    workspace_mib: int | None = None
    optimization_level: int | None = None
    timing_cache: str | None = None
    version_compatible: bool = False
    hardware_compatibility: str = "none"
    compute_capabilities: tuple[str, ...] = ()
    dla_core: int | None = None
    tf32: bool = False
    external_tactics: bool | None = None

    def __post_init__(self) -> None:
        for profile in self.profiles or ():
            _check_profile(profile)
        if self.profiles is not None and not self.profiles:
            raise InputError("no batch sizes were given", None, _BATCH_HINT)
        _check_range("workspace_mib", self.workspace_mib, 1, 2**24)
        _check_range("optimization_level", self.optimization_level, 0, 5)
        _check_range("dla_core", self.dla_core, 0, 15)
        if self.hardware_compatibility not in HARDWARE_LEVELS:
            raise InputError(
                f"unknown hardware_compatibility '{self.hardware_compatibility}'",
                f"known are {', '.join(HARDWARE_LEVELS)}",
            )
        for text in self.compute_capabilities:
            if not re.fullmatch(r"\d+\.\d", text):
                raise InputError(f"'{text}' is no compute capability", "they look like 8.6 or 12.0")

    def chosen(self) -> dict[str, Any]:
        """The options but the profiles that differ from the defaults, in JSON types."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "profiles"}
        defaults = {f.name: f.default for f in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value != defaults[name]
        }

    @classmethod
    def from_settings(
        cls, settings: Mapping[str, Any], batch: tuple[int, int, int] | None = None
    ) -> BuildOptions:
        """Options as a recipe holds them: see :class:`edgepose.recipes.EngineSettings`.

        Args:
            settings: Name -> value.
            batch: Smallest, usual and largest; see ``profiles`` if left out.

        Raises:
            InputError: There is no such option, or a value is out of range.
        """
        unknown = sorted(settings.keys() - {f.name for f in fields(cls) if f.name != "profiles"})
        if unknown:
            raise InputError(f"the engine's builder has no option '{unknown[0]}'")
        profiles = None if batch is None else (Profile(*batch),)
        return cls(profiles=profiles, **settings)


_BATCH_HINT = "give smallest, usual and largest batch: --batch 1,4,16"


def _check_profile(profile: Profile) -> None:
    sizes = f"{profile.min},{profile.opt},{profile.max}"
    if profile.min < 1:
        raise InputError(f"the batch sizes {sizes} begin below 1", None, _BATCH_HINT)
    if not profile.min <= profile.opt <= profile.max:
        raise InputError(
            f"the batch sizes {sizes} are out of order",
            f"smallest {profile.min}, usual {profile.opt}, largest {profile.max}",
            _BATCH_HINT,
        )


def _check_range(name: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise InputError(f"{name} is {value}", f"it goes from {low} to {high}")
