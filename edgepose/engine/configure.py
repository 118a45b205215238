"""The builder's configuration from the options, on whatever version is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgepose.errors import DeviceError, InputError, OutputError
from edgepose.files import write_bytes
from edgepose.trt.api import TensorRT

__all__ = ["configure", "keep_timings"]

Note = Callable[[str], None]
_MIB = 2**20


def configure(
    trt: TensorRT, builder: Any, config: Any, options: Mapping[str, Any], note: Note
) -> None:
    """Set everything that :class:`edgepose.engine.options.BuildOptions` can ask.

    Args:
        trt: The TensorRT.
        builder: Its builder.
        config: Changed.
        options: Those that differ from the defaults.
        note: Told what the user should know.

    Raises:
        InputError: This version has no such option, or a file cannot be read.
        DeviceError: There is no such DLA core.
    """
    # The inspector tells precisions only of engines built with details.
    config.profiling_verbosity = trt.enum("ProfilingVerbosity", "DETAILED")
    tf32 = trt.enum("BuilderFlag", "TF32")
    if options.get("tf32"):
        config.set_flag(tf32)
    else:
        config.clear_flag(tf32)
    if "workspace_mib" in options:
        pool = trt.enum("MemoryPoolType", "WORKSPACE")
        config.set_memory_pool_limit(pool, options["workspace_mib"] * _MIB)
    if "optimization_level" in options:
        config.builder_optimization_level = options["optimization_level"]
    if options.get("version_compatible"):
        config.set_flag(trt.enum("BuilderFlag", "VERSION_COMPATIBLE"))
    _set_tactics(trt, config, options)
    _set_hardware(trt, config, options)
    _set_dla(trt, builder, config, options)
    if "timing_cache" in options:
        _load_timings(config, Path(options["timing_cache"]), note)


def _set_tactics(trt: TensorRT, config: Any, options: Mapping[str, Any]) -> None:
    wanted = options.get("external_tactics")
    if wanted is None and options.get("version_compatible"):
        wanted = False  # the lean runtime inside such an engine has neither library
    if wanted is None:
        return
    if not trt.external_tactics:
        if wanted:
            raise InputError(
                f"{trt.title} has no external_tactics", "they went with version 11", "leave it out"
            )
        return
    mask = sum(1 << int(trt.enum("TacticSource", n)) for n in ("CUBLAS", "CUBLAS_LT", "CUDNN"))
    sources = config.get_tactic_sources()
    config.set_tactic_sources(sources | mask if wanted else sources & ~mask)


def _set_hardware(trt: TensorRT, config: Any, options: Mapping[str, Any]) -> None:
    level = options.get("hardware_compatibility", "none")
    if level not in trt.hardware_levels:
        raise InputError(
            f"{trt.title} has no hardware_compatibility '{level}'",
            f"it has {', '.join(trt.hardware_levels)}",
        )
    if level != "none":
        config.hardware_compatibility_level = trt.enum("HardwareCompatibilityLevel", level.upper())
    wanted = options.get("compute_capabilities", [])
    unknown = [text for text in wanted if text not in trt.compute_capabilities]
    if unknown:
        known = ", ".join(trt.compute_capabilities) or "none without its GPU"
        raise InputError(f"{trt.title} cannot build for {', '.join(unknown)}", f"it knows {known}")
    if wanted:
        config.num_compute_capabilities = len(wanted)
        for index, text in enumerate(wanted):
            kind = trt.enum("ComputeCapability", "SM" + text.replace(".", ""))
            if not config.set_compute_capability(kind, index):
                raise InputError(f"{trt.title} cannot build for {text}")


def _set_dla(trt: TensorRT, builder: Any, config: Any, options: Mapping[str, Any]) -> None:
    core = options.get("dla_core")
    if core is None:
        return
    if core >= builder.num_DLA_cores:
        raise DeviceError(
            f"there is no DLA core {core}",
            f"{trt.title} finds {builder.num_DLA_cores} here; TensorRT 10.8 to 11.3 has no DLA at "
            "all, nor have Orin Nano and Thor",
            "leave dla_core out to build for the GPU",
        )
    config.default_device_type = trt.enum("DeviceType", "DLA")
    config.DLA_core = core
    config.set_flag(trt.enum("BuilderFlag", "GPU_FALLBACK"))


def _load_timings(config: Any, path: Path, note: Note) -> None:
    """Give the builder a timing cache; one of another GPU or version is begun anew."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise InputError(f"cannot read {path}", error.strerror or str(error)) from error
    cache = config.create_timing_cache(data)
    if cache is None or not config.set_timing_cache(cache, False):
        note(f"{path} is of another GPU or TensorRT, and is written anew")
        config.set_timing_cache(config.create_timing_cache(b""), False)


def keep_timings(config: Any, options: Mapping[str, Any], note: Note) -> None:
    """Write the timing cache back; that it cannot be is no reason to lose the engine."""
    if "timing_cache" not in options:
        return
    cache = config.get_timing_cache()
    try:
        write_bytes(options["timing_cache"], bytes(memoryview(cache.serialize())))
    except OutputError as error:
        note(f"the timing cache was not kept: {error.what}, {error.why}")
