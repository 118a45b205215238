"""An engine that is compared with the file it was built from, where it can run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.engine.build import Progress, build_engine
from edgepose.engine.options import BuildOptions
from edgepose.errors import ParityError
from edgepose.parity import FP16, FP32, INT8, INT8_RANDOM, Parity, ParityLimits, Photo, compare
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.runtime.tensorrt import TensorRTRunner
from edgepose.trt import sidecar as sidecars
from edgepose.trt.api import Product
from edgepose.trt.gpu import find_gpu
from edgepose.trt.sidecar import Sidecar, rebuild_command, sidecar_path

__all__ = ["ProvenEngine", "build_and_prove"]

_TRAINED = {"fp32": FP32, "fp16": FP16, "int8": INT8, "int8-fp16": INT8}
_RANDOM = {
    "fp32": FP32.speed_only(),
    "fp16": FP16.speed_only(),
    "int8": INT8_RANDOM,
    "int8-fp16": INT8_RANDOM,
}


@dataclass(frozen=True, kw_only=True)
class ProvenEngine:
    """An engine that was built and, where there is a GPU, compared.

    Attributes:
        path: The engine; its sidecar lies beside it.
        sidecar: What the sidecar says.
        parity: The verdict, passed; None where no GPU is here to run it.
        notes: What the user should know.
        seconds: Time it took.
    """

    path: Path
    sidecar: Sidecar
    parity: Parity | None
    notes: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "engine": str(self.path),
            "sidecar": self.sidecar.to_dict(),
            "parity": None if self.parity is None else self.parity.to_dict(),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 2),
        }


def build_and_prove(
    onnx: str | Path,
    out: str | Path,
    photos: Sequence[Photo],
    options: BuildOptions | None = None,
    *,
    product: Product = "tensorrt",
    say: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> ProvenEngine:
    """Build an engine and hold its poses to those of its ONNX file, run by onnxruntime on the CPU.

    Args:
        onnx: The ONNX file.
        out: The engine file.
        photos: People to judge on.
        options: As for :func:`build_engine`.
        product: Likewise.
        say: Told of each step as it begins.
        progress: As for :func:`build_engine`.

    Raises:
        EdgeposeError: What :func:`build_engine` and :class:`TensorRTRunner` raise.
        ParityError: The engine finds other poses; what lay at ``out`` before stays.
    """
    started = time.perf_counter()
    tell = say or (lambda step: None)
    title = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}[product]
    tell(f"building an engine with {title}")
    out = Path(out)
    if find_gpu() is None:
        built = build_engine(onnx, out, options, progress, product)
        return ProvenEngine(
            path=out,
            sidecar=built.sidecar,
            parity=None,
            notes=(
                *built.notes,
                "no GPU is here, so the engine did not run: its ONNX file is proven, the engine is "
                f"not. Where it is to run: {rebuild_command(built.sidecar, out)}",
            ),
            seconds=time.perf_counter() - started,
        )
    unproven = out.with_name(f".{out.stem}.unproven{out.suffix}")
    try:
        built = build_engine(onnx, unproven, options, progress, product)
        tell(f"comparing poses on {sum(len(p.boxes) for p in photos)} people")
        parity = _judged(Path(onnx), unproven, out.name, photos, built.sidecar)
        sidecar = built.sidecar.with_parity(parity.to_dict())
        # The sidecar first, as the builder does: between the two nothing here can be believed.
        sidecars.write(sidecar, out)
        unproven.replace(out)
    finally:
        for file in (unproven, sidecar_path(unproven)):
            file.unlink(missing_ok=True)
    return ProvenEngine(
        path=out,
        sidecar=sidecar,
        parity=parity,
        notes=built.notes,
        seconds=time.perf_counter() - started,
    )


def _judged(
    onnx: Path, engine: Path, name: str, photos: Sequence[Photo], sidecar: Sidecar
) -> Parity:
    with OnnxRunner(onnx) as reference, TensorRTRunner(engine) as artefact:
        parity = compare(reference, artefact, photos, _limits(sidecar))
    if not parity:
        raise ParityError(
            f"{name} does not find the poses of {onnx.name}",
            "; ".join(parity.failures),
            "nothing was written. Build it with --set engine.optimization_level=1, or from "
            "--precision fp32, to see whose fault it is",
            parity=parity,
        )
    return parity


def _limits(sidecar: Sidecar) -> ParityLimits:
    # Random weights find no poses; see ParityLimits.
    trained = sidecar.spec.provenance.weights_sha256 is not None
    return (_TRAINED if trained else _RANDOM)[sidecar.precision]
