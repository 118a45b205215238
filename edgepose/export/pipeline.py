"""A model from its name, a module or a file to a proven ONNX artefact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from edgepose.errors import InputError
from edgepose.export.artefact import (
    ExportResult,
    Progress,
    Reference,
    Timer,
    write_artefact,
)
from edgepose.export.graph import Graph, linted, make_graph
from edgepose.export.lint import Target, choose_opset, find_target, load
from edgepose.export.metadata import read_record, read_spec
from edgepose.export.nudge import nudged
from edgepose.export.precision.convert import Conversion
from edgepose.export.rewrites import REWRITES, Rewrite
from edgepose.models import parse_name
from edgepose.models.pretrained import trained
from edgepose.parity import FP32, ParityLimits, Photo, folder_photos, sample_photos
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.runtime.torch import TorchRunner
from edgepose.spec import PoseSpec

__all__ = ["export_file", "export_model", "export_module"]

_SUFFIX = ".onnx"


def export_model(
    name: str,
    weights: str | Path | None = None,
    out: str | Path | None = None,
    *,
    opset: int | None = None,
    target: str | None = None,
    fold_io: bool = False,
    images: str | Path | None = None,
    random_weights: bool = False,
    conversion: Conversion | None = None,
    bisect: bool = False,
    timed: Timer | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Export a registry model to one ONNX file, and keep it only if its poses are the model's.

    Args:
        name: Registry name, ``model`` or ``model@HxW``.
        weights: A safetensors file (or a ``.pth`` of tensors). By default the zoo's; the bare model
            name then means the zoo's default input size, and with a file the size it was made for.
        out: File to write, ``<model>.onnx`` by default (``<model>-int8.onnx`` and so on where it is
            converted); a folder gets a file of that name.
        opset: 17 to 20; by default what suits the target, 18 without one.
        target: Runtime that has to read every node: a name in :data:`edgepose.export.TARGETS`.
        fold_io: Put preprocessing and decoding into the graph.
        images: Folder of photos to judge on; the packaged samples by default.
        random_weights: Take fresh random weights (always the same) instead of trained ones. For
            measuring speed only.
        conversion: The precision to give it; FP32 by default.
        bisect: Look for the tensor at which the conversion leaves the FP32 graph.
        timed: Times the conversion against the FP32 graph, for the record.
        progress: Told of each step as it begins.

    Returns:
        What was written, with the verdict.

    Raises:
        InputError: Unknown model or target, operator set out of range, no usable photos, or people
            to calibrate on that cannot be used.
        WeightsError: No weights, or they are of another model.
        GraphError: The model cannot be traced to plain operators with a free batch.
        LintError: The target does not read the graph; nothing is written.
        OutputError: The file cannot be written.
        ParityError: The artefact finds other poses; nothing is written.
    """
    runtime = None if target is None else find_target(target)
    opset = choose_opset(opset, runtime, _precision(conversion))
    say = progress or (lambda step: None)
    base, _ = parse_name(name)
    photos = sample_photos() if images is None else folder_photos(images)
    say(f"building {name}")
    module, spec = trained(name, None if weights is None else Path(weights), random_weights)
    return export_module(
        module,
        spec,
        _place(base, out, conversion),
        photos,
        opset=opset,
        target=runtime,
        fold_io=fold_io,
        limits=FP32.speed_only() if random_weights else FP32,
        conversion=conversion,
        bisect=bisect,
        timed=timed,
        progress=progress,
    )


def export_module(
    module: nn.Module,
    spec: PoseSpec,
    out: str | Path,
    photos: Sequence[Photo],
    *,
    opset: int | None = None,
    target: Target | None = None,
    fold_io: bool = False,
    rewrites: Sequence[Rewrite] = REWRITES,
    limits: ParityLimits = FP32,
    conversion: Conversion | None = None,
    bisect: bool = False,
    timed: Timer | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Export any module that keeps the models' contract.

    Args:
        module: forward((B, 3, H, W) normalised) -> outputs of the names that ``spec`` implies.
        spec: Its spec, provenance included.
        out: File to write; its name must end in ``.onnx``.
        photos: People to judge on.
        opset: 17 to 20; by default what suits the target, 18 without one.
        target: Runtime that has to read every node.
        fold_io: Put preprocessing and decoding into the graph.
        rewrites: Exact rewrites to apply; () for none.
        limits: What the graph is held to before it is converted.
        conversion: The precision to give it; FP32 by default.
        bisect: Look for the tensor at which the conversion leaves the FP32 graph.
        timed: Times the conversion against the FP32 graph, for the record.
        progress: Told of each step as it begins.

    Returns:
        What was written, with the verdict.

    Raises:
        InputError: edgepose does not write the operator set, or the target does not read it; or
            the people to calibrate on cannot be used.
        GraphError: The module cannot be traced to plain operators with a free batch.
        LintError: The target does not read the graph; nothing is written.
        OutputError: The file cannot be written.
        ParityError: The artefact finds other poses; nothing is written.
    """
    say = progress or (lambda step: None)
    number = choose_opset(opset, target, _precision(conversion))
    module.eval()

    def traced() -> Graph:
        say(f"tracing to ONNX, operator set {number}")
        return make_graph(
            module, spec, opset=number, target=target, fold_io=fold_io, rewrites=rewrites
        )

    reference = Reference(
        title=spec.model,
        runner=lambda: TorchRunner(module, spec),
        sway=lambda: nudged(module, spec),
    )
    return write_artefact(
        traced,
        reference,
        Path(out),
        photos,
        target=target,
        conversion=conversion,
        limits=limits,
        bisect=bisect,
        timed=timed,
        progress=progress,
    )


def export_file(
    file: str | Path,
    conversion: Conversion,
    out: str | Path | None = None,
    *,
    target: str | None = None,
    images: str | Path | None = None,
    bisect: bool = False,
    timed: Timer | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Give an FP32 artefact another precision, held to the poses of the file it comes from.

    Args:
        file: An ONNX file that carries its spec.
        conversion: The precision to give it.
        out: File to write, ``<file>-int8.onnx`` and so on by default.
        target: As for :func:`export_model`.
        images: Likewise.
        bisect: Likewise.
        timed: Likewise.
        progress: Likewise.

    Raises:
        InputError: Unknown target, no usable photos, people to calibrate on that cannot be used, or
            a file that is converted already.
        GraphError: The file is missing, corrupt or cannot be converted.
        SpecError: It carries no spec.
        LintError: The target does not read the result; nothing is written.
        OutputError: The file cannot be written.
        ParityError: The result finds other poses; nothing is written.
    """
    file = Path(file)
    runtime = None if target is None else find_target(target)
    photos = sample_photos() if images is None else folder_photos(images)
    model = load(file)
    made = read_record(model).get("precision", "fp32")
    if made != "fp32":
        raise InputError(
            f"{file} is {made} already",
            "only an FP32 artefact can be given another precision",
            f"export it again: edgepose export MODEL --precision {conversion.precision}",
        )
    graph = Graph(model=model, spec=read_spec(model), rewrites=())
    place = _place(file.stem, file.parent if out is None else out, conversion)
    if place.resolve() == file.resolve():
        raise InputError(
            f"{file} would be replaced by its own conversion",
            "the FP32 artefact is what every other precision is made from",
            f"-o {file.stem}-{conversion.label}{file.suffix}",
        )
    return write_artefact(
        lambda: linted(graph, runtime),
        Reference(title=file.name, runner=lambda: OnnxRunner(file)),
        place,
        photos,
        target=runtime,
        conversion=conversion,
        limits=None,
        bisect=bisect,
        timed=timed,
        progress=progress,
    )


def _precision(conversion: Conversion | None) -> str:
    return "fp32" if conversion is None else conversion.precision


def _place(base: str, out: str | Path | None, conversion: Conversion | None) -> Path:
    name = base if conversion is None else f"{base}-{conversion.label}"
    path = Path(f"{name}{_SUFFIX}") if out is None else Path(out)
    if path.is_dir():
        path = path / f"{name}{_SUFFIX}"
    if path.suffix != _SUFFIX:
        raise InputError(
            f"cannot write the artefact as {path}",
            f"its name must end in {_SUFFIX}",
            f"-o {path.with_suffix(_SUFFIX)}",
        )
    return path
