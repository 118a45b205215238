"""A graph as a proven file: converted to its precision, judged by its poses, written or not."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.errors import GraphError, ParityError
from edgepose.export.graph import Graph, asked, linted
from edgepose.export.large import drop_other_weights, refuse_large, weights_beside
from edgepose.export.lint import Lint, Target
from edgepose.export.metadata import embed_record
from edgepose.export.precision.bisect import Divergence, first_divergence
from edgepose.export.precision.convert import Conversion, Converted, convert
from edgepose.export.precision.rounding import with_rounding
from edgepose.export.rewrites import Applied
from edgepose.files import atomic_path
from edgepose.parity import FP32, Parity, ParityLimits, Photo, compare
from edgepose.poses import UInt8
from edgepose.runtime.base import Runner
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.spec import PoseSpec
from edgepose.zoo import sha256_of

__all__ = ["ExportResult", "Progress", "Reference", "Timer", "write_artefact"]

Progress = Callable[[str], None]
# (file, the file it would replace) -> figures, JSON-ready.
Timer = Callable[[Path, Path], dict[str, Any]]

# People run together and alone; neither is the batch of 2 that the graph was traced with.
_BATCH = 3
_BATCH_TOLERANCE = 1e-3
# Eight bits, and sixteen, make a step of what rounding moved by a millionth. Steps are here and
# there; people that mix differ everywhere.
_STEPS_SHARE = 0.1
_STEPS_TOLERANCE = 5e-2


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What an artefact has to find the poses of.

    Attributes:
        title: As said in messages.
        runner: Opens it.
        sway: The same with its weights rounded otherwise; see :mod:`edgepose.parity.compare`.
    """

    title: str
    runner: Callable[[], Runner]
    sway: Callable[[], Iterable[Runner]] = tuple


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """A finished artefact.

    Attributes:
        path: The ONNX file.
        sha256: The digest of the ONNX file. It covers the data, whose digest the ONNX file holds.
        size_bytes: Size of both.
        opset: Operator set.
        nodes: Number of nodes in the graph.
        spec: What it carries.
        rewrites: Exact rewrites that were applied.
        lint: The graph held to its target, passed; None without a target.
        parity: The verdict, passed.
        seconds: Time it took.
        data: The file beside it that holds the weights, where one file cannot.
        precision: ``fp32``, ``fp16``, ``int8`` or ``int8-fp16``.
        conversion: What was kept in more digits and why, calibration and sensitivity; JSON-ready.
        divergence: The first tensor that leaves the FP32 graph's, where it was asked for.
        speed: Its time over that of the FP32 graph on this CPU, where it was taken; JSON-ready.
    """

    path: Path
    sha256: str
    size_bytes: int
    opset: int
    nodes: int
    spec: PoseSpec
    rewrites: tuple[Applied, ...]
    parity: Parity
    seconds: float
    lint: Lint | None = None
    data: Path | None = None
    precision: str = "fp32"
    conversion: Converted | None = None
    divergence: Divergence | None = None
    speed: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "artefact": str(self.path),
            "data": None if self.data is None else str(self.data),
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "opset": self.opset,
            "nodes": self.nodes,
            **_record(
                self.precision,
                self.rewrites,
                self.lint,
                self.parity,
                self.conversion,
                self.speed,
            ),
            "divergence": None if self.divergence is None else self.divergence.to_dict(),
            "spec": self.spec.to_dict(),
            "seconds": round(self.seconds, 2),
        }


def write_artefact(
    make: Callable[[], Graph],
    reference: Reference,
    out: Path,
    photos: Sequence[Photo],
    *,
    target: Target | None = None,
    conversion: Conversion | None = None,
    limits: ParityLimits | None = FP32,
    bisect: bool = False,
    timed: Timer | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Convert a graph, compare its poses with the reference's, and keep it only if they are them.

    A graph that is converted is judged twice: before, as an exact copy, and after, by what its
    precision may cost. So a failure says whose fault it is.

    Args:
        make: Makes the graph; called once the file can be written.
        reference: What it has to agree with.
        out: File to write.
        photos: People to judge on.
        target: Runtime that has to read what the conversion makes.
        conversion: The precision to give it; None leaves the graph as it is.
        limits: What the graph is held to as it comes; None where it is the reference itself.
        bisect: Look for the tensor at which the conversion leaves the graph, also where it passes.
        timed: Times what the conversion made against the graph as it came, for the record.
        progress: Told of each step as it begins.

    Raises:
        InputError: The calibration's people cannot be used.
        GraphError: The graph mixes people, or cannot be converted.
        LintError: The target does not read what the conversion made.
        OutputError: The file cannot be written.
        ParityError: The artefact finds other poses; nothing is written.
    """
    started = time.perf_counter()
    say = progress or (lambda step: None)
    converted: Converted | None = None
    divergence: Divergence | None = None
    speed: dict[str, Any] | None = None
    with atomic_path(out) as temporary:  # opened first: an unwritable place fails before the work
        graph = make()
        for applied in graph.rewrites:
            say(f"rewrote {applied.name}: {applied.effect} ({applied.places}x)")
        if conversion is not None:
            refuse_large(graph.model)
            if limits is not None:
                temporary.write_bytes(graph.model.SerializeToString())
                say(f"comparing poses on {_count(photos)} people, before it is converted")
                _held(_judged(temporary, reference, photos, limits), out, reference)
            plain = graph.model
            converted = convert(plain, graph.spec, conversion, photos, say)
            graph = linted(replace(graph, model=converted.model), target)
            limits = converted.limits
        with weights_beside(graph.model, out) as data:
            temporary.write_bytes(graph.model.SerializeToString())
            graph = asked(graph, temporary)
            if graph.lint is not None:
                say(graph.lint.summary())
            say(f"comparing poses on {_count(photos)} people")
            parity = _judged(temporary, reference, photos, limits or FP32, converted)
            if conversion is not None and bisect:
                say("looking for the first tensor that leaves the graph's")
                images = to_input(_crops(photos, _BATCH, graph.spec), graph.spec)
                divergence = first_divergence(plain, graph.model, images)
            _held(parity, out, reference, converted, divergence)
            if converted is not None and timed is not None:
                say("timing it on this CPU, against the graph before")
                speed = _timed(temporary, plain, timed)
            precision = "fp32" if converted is None else converted.precision
            embed_record(
                graph.model,
                _record(precision, graph.rewrites, graph.lint, parity, converted, speed),
            )
            temporary.write_bytes(graph.model.SerializeToString())
        digest = sha256_of(temporary)
        size = sum(file.stat().st_size for file in (temporary, data) if file is not None)
    drop_other_weights(out, data)
    return ExportResult(
        path=out,
        data=data,
        sha256=digest,
        size_bytes=size,
        opset=graph.opset,
        nodes=len(graph.model.graph.node),
        spec=graph.spec,
        rewrites=graph.rewrites,
        parity=parity,
        seconds=time.perf_counter() - started,
        lint=graph.lint,
        precision=precision,
        conversion=converted,
        divergence=divergence,
        speed=speed,
    )


def _timed(file: Path, plain: onnx.ModelProto, timed: Timer) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / file.name
        before.write_bytes(plain.SerializeToString())
        return timed(file, before)


def _judged(
    file: Path,
    reference: Reference,
    photos: Sequence[Photo],
    limits: ParityLimits,
    converted: Converted | None = None,
) -> Parity:
    """Compare a file with its reference, in the digits that its precision really has."""
    with OnnxRunner(file) as artefact:
        _check_batches(artefact, photos, exact=converted is None)
        if converted is None or not converted.halves:
            with reference.runner() as model:
                return compare(model, artefact, photos, limits, reference.sway())
    # onnxruntime computes FP16 in FP32 on a CPU: what is judged is the same graph that rounds.
    with tempfile.TemporaryDirectory() as folder:
        rounding = Path(folder) / file.name
        rounding.write_bytes(with_rounding(converted.model).SerializeToString())
        with OnnxRunner(rounding) as artefact, reference.runner() as model:
            return compare(model, artefact, photos, limits, reference.sway())


def _held(
    parity: Parity,
    out: Path,
    reference: Reference,
    converted: Converted | None = None,
    divergence: Divergence | None = None,
) -> None:
    """Refuse an artefact that is not the same, and say what to do about it."""
    if parity:
        return
    why = "; ".join(parity.failures)
    if converted is None:
        hint = (
            "nothing was written. Compare without rewrites or with another --opset, and report it: "
            "this is a fault of the export, not of the weights"
        )
    elif divergence is None:
        hint = "nothing was written. See where it leaves the graph: add --bisect"
    else:
        hint = f"nothing was written. {divergence}"
    if converted is not None and converted.precision.startswith("int8") and not divergence:
        hint += "; or leave the worst blocks in float: --sensitivity --max-ap-drop 1"
    raise ParityError(
        f"{out.name} does not find the poses of {reference.title}", why, hint, parity=parity
    )


def _record(
    precision: str,
    rewrites: Sequence[Applied],
    lint: Lint | None,
    parity: Parity,
    converted: Converted | None,
    speed: dict[str, Any] | None,
) -> dict[str, Any]:
    """What the artefact says of its making."""
    return {
        "precision": precision,
        "rewrites": [r.to_dict() for r in rewrites],
        "lint": None if lint is None else lint.to_dict(),
        "parity": parity.to_dict(),
        **({} if converted is None else converted.to_dict() | {"speed": speed}),
    }


def _count(photos: Sequence[Photo]) -> int:
    return sum(len(photo.boxes) for photo in photos)


def _check_batches(artefact: Runner, photos: Sequence[Photo], *, exact: bool) -> None:
    """People together must come out as each alone; but for rounding, if that is not exact.

    Raises:
        GraphError: The graph refuses a batch size, or mixes people.
    """
    images = to_input(_crops(photos, _BATCH, artefact.spec), artefact.spec)
    together = artefact.infer(images)
    # Keypoints decoded in the graph may jump on a tie; the scores beside them do not.
    names = [name for name in together if name != "keypoints"]
    for index in range(_BATCH):
        alone = artefact.infer(images[index : index + 1])
        for name in names:
            reach = float(np.abs(together[name]).max()) or 1.0
            errors = np.abs(alone[name][0] - together[name][index]) / reach
            error = float(errors.max() if exact else np.quantile(errors, 1 - _STEPS_SHARE))
            if not error <= (_BATCH_TOLERANCE if exact else _STEPS_TOLERANCE):
                raise GraphError(
                    f"the graph mixes people: '{name}' of person {index} depends on the batch",
                    f"alone and in a batch of {_BATCH} it differs by {error:.2g} of its range",
                    "look for reshapes in the module that merge the batch with another axis",
                )


def _crops(photos: Sequence[Photo], count: int, spec: PoseSpec) -> UInt8:
    """``count`` crops of different people, the first again where there are fewer."""
    parts: list[UInt8] = []
    for photo in photos:
        affines = box_affines(photo.boxes, spec.input_size, spec.padding)
        parts.append(warp_crops(photo.image, affines, spec.input_size))
        if sum(map(len, parts)) >= count:
            break
    crops = np.concatenate(parts)
    return crops[np.arange(count) % len(crops)]
