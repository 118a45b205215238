"""An ONNX file into an engine with its sidecar, by a process of its own."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import edgepose
from edgepose import errors
from edgepose.ending import ending, killed
from edgepose.engine.options import DEFAULT_PROFILES, BuildOptions, Profile
from edgepose.engine.preflight import check_disk, check_gpu, check_memory
from edgepose.engine.source import Source, read_source
from edgepose.errors import DeviceError, EdgeposeError, GraphError, InputError
from edgepose.files import atomic_path
from edgepose.spec import PoseSpec
from edgepose.trt import sidecar as sidecars
from edgepose.trt.api import Product, require_installed
from edgepose.trt.gpu import Gpu
from edgepose.trt.sidecar import Sidecar
from edgepose.zoo import sha256_of

__all__ = ["BuiltEngine", "Progress", "build_engine"]

# (phase, steps done, steps in all); the last is 0 where nobody knows.
Progress = Callable[[str, int, int], None]

_log = logging.getLogger(__name__)
# The child imports what this process would: no other edgepose, no other TensorRT.
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from edgepose.engine.worker import main; main()"
)
_NOT_FOR = {
    "tensorrt": ("compute_capabilities",),
    "tensorrt-rtx": (
        "timing_cache",
        "version_compatible",
        "hardware_compatibility",
        "dla_core",
        "external_tactics",
    ),
}
_TITLES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}


@dataclass(frozen=True, kw_only=True)
class BuiltEngine:
    """An engine that was built.

    Attributes:
        path: The engine; its sidecar lies beside it.
        sidecar: What the sidecar says.
        notes: What the user should know of the build; often empty.
    """

    path: Path
    sidecar: Sidecar
    notes: tuple[str, ...]


def build_engine(
    onnx: str | Path,
    out: str | Path,
    options: BuildOptions | None = None,
    progress: Progress | None = None,
    product: Product = "tensorrt",
    spec: PoseSpec | None = None,
) -> BuiltEngine:
    """Build an engine for this machine's GPU, or with TensorRT-RTX for any desktop RTX GPU.

    Args:
        onnx: The ONNX file; its types decide the engine's precision.
        out: The engine file; the sidecar is written beside it, both whole or not at all.
        options: How; the defaults if left out.
        progress: Called with phase, steps done and steps in all (0 if unknown).
        product: ``tensorrt``, which builds on the GPU that will run it, or ``tensorrt-rtx``, which
            needs none.
        spec: For an ONNX file that carries none.

    Raises:
        GraphError: The ONNX file is unreadable or quantised for another runtime, or TensorRT
            cannot parse or build it.
        SpecError: It carries no spec and none was given.
        InputError: Batch sizes or options that contradict the graph, the product or its version.
        MissingDependency: The product is not installed.
        DeviceError: No GPU, too old a driver, or not enough memory.
        OutputError: The engine cannot be written.
    """
    options, out = options or BuildOptions(), Path(out)
    chosen = options.chosen()
    wrong = [name for name in _NOT_FOR[product] if name in chosen]
    if wrong:
        raise InputError(f"{_TITLES[product]} has no option {wrong[0]}", None, "leave it out")
    source = read_source(onnx, spec)
    _check_form(source, product)
    profiles = _profiles(options.profiles, source)
    require_installed(product)
    gpu = check_gpu(product)
    check_disk(out, source.size_bytes)
    warning = check_memory(product, source.size_bytes)
    if warning:
        _log.warning("%s", warning)
    with atomic_path(out) as temporary:
        request = {
            "product": product,
            "onnx": str(source.path.absolute()),
            "engine": str(temporary.absolute()),
            "profiles": [[p.min, p.opt, p.max] for p in profiles],
            "options": chosen,
            "gpu": gpu is not None,
            "log_level": _log.getEffectiveLevel(),
        }
        result = _run(request, progress, _TITLES[product])
        sidecar = _sidecar(source, temporary, options, profiles, gpu, product, result)
        # The sidecar first: if all ends between the two renames, what lies there does not agree
        # with itself and is refused.
        sidecars.write(sidecar, out)
    notes = [*([warning] if warning else []), *result["notes"]]
    return BuiltEngine(path=out, sidecar=sidecar, notes=tuple(notes))


def _check_form(source: Source, product: Product) -> None:
    """Refuse Q/DQ pairs that TensorRT's parser would call an assertion that failed."""
    record = source.record or {}
    if record.get("form") != "onnxruntime":
        return
    to = "rtx-engine" if product == "tensorrt-rtx" else "engine"
    raise GraphError(
        f"{source.path} is quantised for onnxruntime",
        f"its scales have zero-points, which {_TITLES[product]} does not read",
        "convert the FP32 artefact for it: edgepose export FP32.onnx --precision "
        f"{record.get('precision')} --calib FOLDER --to {to}",
    )


def _profiles(asked: tuple[Profile, ...] | None, source: Source) -> tuple[Profile, ...]:
    if source.batch is None:
        return asked or DEFAULT_PROFILES
    fixed = Profile(source.batch, source.batch, source.batch)
    for profile in asked or ():
        if profile != fixed:
            raise InputError(
                f"{source.path} runs batches of {source.batch} and no others",
                f"the batch is fixed in the graph, and {profile.min},{profile.opt},{profile.max} "
                "was asked for",
                f"--batch {source.batch}, or export it with a free batch",
            )
    return (fixed,)


def _sidecar(
    source: Source,
    engine: Path,
    options: BuildOptions,
    profiles: tuple[Profile, ...],
    gpu: Gpu | None,
    product: Product,
    result: dict[str, Any],
) -> Sidecar:
    return Sidecar(
        edgepose=edgepose.__version__,
        product=product,
        version=result["version"],
        cuda=result["cuda"],
        platform=sidecars.platform_name(),
        gpu=gpu,
        engine_sha256=sha256_of(engine),
        engine_bytes=engine.stat().st_size,
        onnx=str(source.path),
        onnx_sha256=source.sha256,
        spec=source.spec,
        precision=result["precision"],
        profiles=profiles,
        version_compatible=options.version_compatible,
        hardware_compatibility=options.hardware_compatibility,
        compute_capabilities=options.compute_capabilities,
        dla_core=options.dla_core,
        options=options.chosen(),
        layers=result["layers"],
        build=result["build"],
        record=source.record,
    )


def _run(request: dict[str, Any], progress: Progress | None, title: str) -> dict[str, Any]:
    """Let the child work; its result, or the error that it told or died of."""
    with tempfile.TemporaryFile("w+", errors="replace") as noise, _child(request, noise) as child:
        outcome: dict[str, Any] = {}
        logged: set[str] = set()
        for line in child.stdout or ():
            told = json.loads(line)
            if told["event"] == "step":
                if progress is not None:
                    progress(told["phase"], told["step"], told["of"])
            elif told["event"] == "log":
                # The same of a hundred layers is one thing to know.
                level = logging.DEBUG if told["text"] in logged else told["level"]
                logged.add(told["text"])
                logging.getLogger(told["logger"]).log(level, "%s", told["text"])
            else:
                outcome = told
        code = child.wait()
        noise.seek(0)
        said = noise.read()
    for line in said.splitlines():
        _log.debug("%s", line)
    if outcome.get("event") == "error":
        kind: type[EdgeposeError] = getattr(errors, outcome["kind"])
        raise kind(outcome["what"], outcome["why"], outcome["hint"])
    if outcome.get("event") != "result":
        raise _death(code, said, title)
    return outcome


@contextmanager
def _child(request: dict[str, Any], noise: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """The process; killed if the block is left early, as by Ctrl-C, which is not for it to see."""
    child = subprocess.Popen(  # noqa: S603 - this interpreter, our own module
        [sys.executable, "-c", _CHILD, json.dumps([str(p) for p in sys.path]), json.dumps(request)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=noise,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()  # does nothing to one that has ended


def _death(code: int, said: str, title: str) -> EdgeposeError:
    """The error for a process that ended without a result."""
    if killed(code):
        return DeviceError(
            f"{title} was stopped while building",
            ending(code, said),
            "close what else runs, add swap, lower --set engine.workspace_mib=N, or build with a "
            "smaller largest batch",
        )
    return GraphError(f"{title} ended without an engine", ending(code, said))
