"""From a request to a loaded artefact, each step on the clock and on the scales."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepose.bench.worker.heap import kept_heap_words
from edgepose.bench.worker.request import Opened, Request
from edgepose.errors import ArtefactError, InputError, WeightsError, require

if TYPE_CHECKING:
    from edgepose.bench.worker.contender import Contender
    from edgepose.runtime.base import Runner

__all__ = ["open_contender"]


@dataclass(frozen=True)
class _Source:
    """Where an artefact comes from, found out before anything of it is loaded.

    Attributes:
        file: What is read; None where weights are random.
        precision: Of the graph or module.
        record: How it says that it was made.
        load: Makes the runner.
    """

    file: Path | None
    precision: str | None
    record: dict[str, Any] | None
    load: Callable[[], Runner]


def open_contender(request: Request, booted_ns: int) -> tuple[Contender, Opened]:
    """Import, weigh, load, weigh again.

    Args:
        request: What to open.
        booted_ns: What the process had spent on imports until now.

    Raises:
        ArtefactError: The file or the weights cannot be used.
        DeviceError: The device is not available.
        MissingDependency: What runs it is not installed.
    """
    began = time.perf_counter_ns()
    _import(request)
    import_ms = (booted_ns + time.perf_counter_ns() - began) / 1e6

    from edgepose.bench.scenes import folder_scene, sample_scene
    from edgepose.bench.stages import STAGES
    from edgepose.bench.worker.contender import Contender
    from edgepose.bench.worker.footprint import Footprint
    from edgepose.estimator import Estimator
    from edgepose.zoo import sha256_of

    scene = folder_scene(request.scene_folder) if request.scene_folder else sample_scene()
    source = _SOURCES[request.kind](request)
    digest = size = None
    if source.file is not None and source.file.is_file():
        digest, size = sha256_of(source.file), source.file.stat().st_size
    footprint = Footprint(_device(request))
    began = time.perf_counter_ns()
    estimator = Estimator(source.load())
    load_ms = (time.perf_counter_ns() - began) / 1e6
    footprint.note_loaded()
    runner = estimator.runner
    timed = hasattr(runner, "infer_timed")
    opened = Opened(
        describe=runner.describe(),
        spec=runner.spec.to_dict(),
        precision=source.precision,
        import_ms=round(import_ms, 3),
        load_ms=round(load_ms, 3),
        baseline_bytes=footprint.baseline,
        loaded_bytes=footprint.loaded,
        file=None if source.file is None else source.file.name,
        sha256=digest,
        bytes=size,
        max_batch=runner.max_batch,
        buckets=runner.buckets,
        stages=tuple(stage for stage in STAGES if stage != "device" or timed),
        scene=scene.source,
        heap=kept_heap_words(request.keep_heap),
        record=source.record,
    )
    return Contender(estimator, scene, footprint, opened), opened


def _import(request: Request) -> None:
    """All that the artefact needs, so that the baseline holds it; and one word on threads."""
    import cv2
    import numpy  # noqa: F401 - OpenCV needs it as well

    import edgepose.estimator

    if request.threads is not None:
        cv2.setNumThreads(request.threads)
    if request.kind == "onnx":
        require("onnxruntime", None)
        import edgepose.runtime.onnxruntime
    elif request.kind == "engine":
        import edgepose.runtime.tensorrt
    else:
        torch = require("torch", "export")
        require("safetensors", "export")
        if request.threads is not None:
            torch.set_num_threads(request.threads)
        import edgepose.models.pretrained
        import edgepose.runtime.torch  # noqa: F401 - loading must find it imported


def _device(request: Request) -> str:
    return request.device or ("cuda" if request.kind == "engine" else "cpu")


def _onnx(request: Request) -> _Source:
    from edgepose.bench.worker.onnx_facts import onnx_facts
    from edgepose.runtime.open import open_runner
    from edgepose.spec_toml import load_spec_toml

    path = Path(request.artefact)
    spec = load_spec_toml(request.spec_file) if request.spec_file else None
    facts = onnx_facts(path)
    return _Source(
        path,
        facts.precision,
        facts.record,
        lambda: open_runner(path, spec=spec, device=request.device, threads=request.threads),
    )


def _engine(request: Request) -> _Source:
    from edgepose.runtime.open import open_runner
    from edgepose.spec_toml import load_spec_toml
    from edgepose.trt.api import load
    from edgepose.trt.sidecar import read

    path = Path(request.artefact)
    spec = load_spec_toml(request.spec_file) if request.spec_file else None
    sidecar = read(path)
    load(sidecar.product)  # imports TensorRT, which belongs to the baseline
    made = {name: value for name, value in sidecar.to_dict().items() if name != "spec"}
    return _Source(
        path, sidecar.precision, made, lambda: open_runner(path, spec=spec, device=request.device)
    )


def _torch(request: Request) -> _Source:
    from edgepose.models.pretrained import trained
    from edgepose.runtime.torch import TorchRunner

    if request.spec_file:
        raise InputError(
            f"{request.artefact} is a model of edgepose",
            "its spec is known, and --spec was given",
            "leave --spec out",
        )
    weights = _weights(request)

    def load() -> Runner:
        given = Path(request.weights) if request.weights else None
        module, spec = trained(request.artefact, given, request.random_weights)
        return TorchRunner(module, spec, _device(request))

    return _Source(weights, "fp32", None, load)


def _weights(request: Request) -> Path | None:
    from edgepose.zoo import find

    if request.random_weights:
        return None
    if request.weights:
        return Path(request.weights)
    from edgepose.models import parse_name

    parse_name(request.artefact)  # says what is wrong with the name
    try:
        return find(request.artefact).weights
    except ArtefactError as error:
        raise WeightsError(
            f"the zoo has no trained weights of '{request.artefact}'",
            error.why,
            "--weights FILE.safetensors; or, to measure speed and memory only, --random-weights",
        ) from error


_SOURCES: dict[str, Callable[[Request], _Source]] = {
    "onnx": _onnx,
    "engine": _engine,
    "torch": _torch,
}
