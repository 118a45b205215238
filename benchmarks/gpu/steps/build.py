"""One engine: built, its log kept, and asked in which precision its layers really are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.child import Tell
from benchmarks.gpu.opened import onnx_file, open_bundle
from edgepose.engine import BuildOptions, build_engine

__all__ = ["precision_verdict", "run"]

_SAY_EVERY_S = 10.0
_COMPUTING = ("fp32", "fp16", "bf16", "int8", "fp8")


def run(task: Mapping[str, Any], tell: Tell) -> None:
    """Build and tell."""
    bundle, model = open_bundle(task)
    onnx, product = onnx_file(bundle, model, task["precision"]), task["product"]
    settings = dict(task["settings"])
    if product == "tensorrt":
        timings = Path(task["engine"]).parent / "timings.cache"
        timings.parent.mkdir(parents=True, exist_ok=True)
        settings.setdefault("timing_cache", str(timings))
    else:
        settings.pop("external_tactics", None)  # that product has no such thing
    low, usual, high = task["profile"]
    options = BuildOptions.from_settings(settings, (low, usual, high))
    shown = time.monotonic()

    def progress(phase: str, step: int, of: int) -> None:
        nonlocal shown
        if time.monotonic() - shown > _SAY_EVERY_S:
            shown = time.monotonic()
            tell.say(f"  {phase} {step}{f' of {of}' if of else ''}")

    built = build_engine(onnx, task["engine"], options, progress, product)
    side = built.sidecar
    passed, shares = precision_verdict(task["precision"], side.layers)
    tell.found(
        {
            "passed": passed,
            "engine_sha256": side.engine_sha256,
            "engine_bytes": side.engine_bytes,
            "precision": side.precision,
            "layers": None if side.layers is None else dict(side.layers),
            "layer_shares": shares,
            "build": dict(side.build),
            "options": dict(side.options),
            "profiles": [[p.min, p.opt, p.max] for p in side.profiles],
            "weights": model.weights,
            "notes": list(built.notes),
        }
    )


def precision_verdict(
    precision: str, layers: Mapping[str, Any] | None
) -> tuple[bool | None, dict[str, float]]:
    """Whether layers run in the precision that was asked for, and the share of each precision.

    Each precision named must occur among the layers that compute, and FP32 alone where FP32 was
    asked for. None where the engine's inspector does not say.
    """
    counts = {} if layers is None else layers["by_precision"]
    computing = {name: counts[name] for name in _COMPUTING if name in counts}
    total = sum(computing.values())
    if not total or "unknown" in counts:
        return None, {}
    shares = {name: round(count / total, 3) for name, count in computing.items()}
    if precision == "fp32":
        return set(computing) == {"fp32"}, shares
    return all(name in computing for name in precision.split("-")), shares
