"""A model from its name to a proven artefact."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.errors import GraphError, InputError, ParityError
from edgepose.export.fold_io import FoldedIO, folded_spec
from edgepose.export.large import drop_other_weights, weights_beside
from edgepose.export.lint import Lint, Target, ask, choose_opset, find_target, lint, refusal
from edgepose.export.metadata import embed_spec
from edgepose.export.nudge import nudged
from edgepose.export.pretrained import trained
from edgepose.export.rewrites import REWRITES, Applied, Rewrite, rewritten
from edgepose.export.trace import trace
from edgepose.files import atomic_path
from edgepose.models import parse_name
from edgepose.parity import (
    FP32,
    Parity,
    ParityLimits,
    Photo,
    compare,
    folder_photos,
    sample_photos,
)
from edgepose.poses import UInt8
from edgepose.runtime.base import Runner
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.runtime.torch import TorchRunner
from edgepose.spec import PoseSpec
from edgepose.zoo import sha256_of

__all__ = ["ExportResult", "Graph", "export_model", "export_module", "make_graph"]

Progress = Callable[[str], None]

_SUFFIX = ".onnx"
# People run together and alone; neither is the batch of 2 that the graph was traced with.
_BATCH = 3
_BATCH_TOLERANCE = 1e-3


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

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "artefact": str(self.path),
            "data": None if self.data is None else str(self.data),
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "opset": self.opset,
            "nodes": self.nodes,
            "rewrites": [r.to_dict() for r in self.rewrites],
            "lint": None if self.lint is None else self.lint.to_dict(),
            "parity": self.parity.to_dict(),
            "spec": self.spec.to_dict(),
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A traced module, not yet judged.

    Attributes:
        model: The graph, spec embedded.
        spec: The spec it carries.
        rewrites: Exact rewrites that were applied.
        lint: The graph held to its target's table, passed; None without a target.
    """

    model: onnx.ModelProto
    spec: PoseSpec
    rewrites: tuple[Applied, ...]
    lint: Lint | None = None


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
    progress: Progress | None = None,
) -> ExportResult:
    """Export a registry model to one ONNX file, and keep it only if its poses are the model's.

    Args:
        name: Registry name, ``model`` or ``model@HxW``.
        weights: A safetensors file (or a ``.pth`` of tensors). By default the zoo's; the bare model
            name then means the zoo's default input size, and with a file the size it was made for.
        out: File to write, ``<model>.onnx`` by default; a folder gets a file of that name.
        opset: 17 to 20; by default what suits the target, 18 without one.
        target: Runtime that has to read every node: a name in :data:`edgepose.export.TARGETS`.
        fold_io: Put preprocessing and decoding into the graph.
        images: Folder of photos to judge on; the packaged samples by default.
        random_weights: Take fresh random weights (always the same) instead of trained ones. For
            measuring speed only.
        progress: Told of each step as it begins.

    Returns:
        What was written, with the verdict.

    Raises:
        InputError: Unknown model or target, operator set out of range, no usable photos.
        WeightsError: No weights, or they are of another model.
        GraphError: The model cannot be traced to plain operators with a free batch.
        LintError: The target does not read the graph; nothing is written.
        OutputError: The file cannot be written.
        ParityError: The artefact finds other poses; nothing is written.
    """
    runtime = None if target is None else find_target(target)
    choose_opset(opset, runtime)
    say = progress or (lambda step: None)
    base, _ = parse_name(name)
    photos = sample_photos() if images is None else folder_photos(images)
    say(f"building {name}")
    module, spec = trained(name, None if weights is None else Path(weights), random_weights)
    return export_module(
        module,
        spec,
        _target(base, out),
        photos,
        opset=opset,
        target=runtime,
        fold_io=fold_io,
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
        limits: What the artefact is held to.
        progress: Told of each step as it begins.

    Returns:
        What was written, with the verdict.

    Raises:
        InputError: edgepose does not write the operator set, or the target does not read it.
        GraphError: The module cannot be traced to plain operators with a free batch.
        LintError: The target does not read the graph; nothing is written.
        OutputError: The file cannot be written.
        ParityError: The artefact finds other poses; nothing is written.
    """
    started = time.perf_counter()
    say = progress or (lambda step: None)
    out = Path(out)
    opset = choose_opset(opset, target)
    module.eval()
    with atomic_path(out) as temporary:  # opened first: an unwritable place fails before the work
        say(f"tracing to ONNX, operator set {opset}")
        graph = make_graph(
            module, spec, opset=opset, target=target, fold_io=fold_io, rewrites=rewrites
        )
        for applied in graph.rewrites:
            say(f"rewrote {applied.name}: {applied.effect} ({applied.places}x)")
        with weights_beside(graph.model, out) as data:
            temporary.write_bytes(graph.model.SerializeToString())
            checked = _asked(graph, temporary)
            if checked is not None:
                say(checked.summary())
            say(f"comparing poses on {sum(len(p.boxes) for p in photos)} people")
            with OnnxRunner(temporary) as artefact, TorchRunner(module, spec) as reference:
                _check_batches(artefact, photos)
                parity = compare(reference, artefact, photos, limits, nudged(module, spec))
            if not parity:
                raise ParityError(
                    f"{out.name} does not find the poses of {spec.model}",
                    "; ".join(parity.failures),
                    "nothing was written. Compare without rewrites or with another --opset, and "
                    "report it: this is a fault of the export, not of the weights",
                    parity=parity,
                )
        digest = sha256_of(temporary)
        size = sum(file.stat().st_size for file in (temporary, data) if file is not None)
    drop_other_weights(out, data)
    return ExportResult(
        path=out,
        data=data,
        sha256=digest,
        size_bytes=size,
        opset=opset,
        nodes=len(graph.model.graph.node),
        spec=graph.spec,
        rewrites=graph.rewrites,
        parity=parity,
        seconds=time.perf_counter() - started,
        lint=checked,
    )


def make_graph(
    module: nn.Module,
    spec: PoseSpec,
    *,
    opset: int | None = None,
    target: Target | None = None,
    fold_io: bool = False,
    rewrites: Sequence[Rewrite] = REWRITES,
) -> Graph:
    """Rewrite and trace a module; the step of :func:`export_module` before any judgement.

    Args:
        module: As for :func:`export_module`; it stays as it is.
        spec: Likewise.
        opset: 17 to 20; by default what suits the target, 18 without one.
        target: Runtime whose table every node is held to.
        fold_io: Put preprocessing and decoding into the graph.
        rewrites: Exact rewrites to apply; () for none.

    Raises:
        InputError: edgepose does not write the operator set, or the target does not read it.
        GraphError: The module cannot be traced to plain operators with a free batch.
        LintError: The target does not read the graph.
    """
    opset = choose_opset(opset, target)
    lean, applied = rewritten(module, rewrites)
    height, width = spec.input_size
    example = torch.zeros(3, height, width)
    if fold_io:
        lean, spec = FoldedIO(lean, spec), folded_spec(spec)
        example = torch.zeros(height, width, 3, dtype=torch.uint8)
    model = trace(lean, example, opset=opset)
    embed_spec(model, spec)
    graph = Graph(model=model, spec=spec, rewrites=applied)
    return graph if target is None else _linted(graph, lint(model, target))


def _linted(graph: Graph, result: Lint) -> Graph:
    if not result:
        raise refusal(graph.model, result)
    return replace(graph, lint=result)


def _asked(graph: Graph, file: Path) -> Lint | None:
    """The lint with what the target itself says of the file, where it is at hand.

    Raises:
        LintError: It refuses the file.
    """
    if graph.lint is None:
        return None
    return _linted(graph, graph.lint.with_verdict(ask(graph.lint.target, file))).lint


def _check_batches(artefact: Runner, photos: Sequence[Photo]) -> None:
    """People together must come out as each alone.

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
            error = float(np.abs(alone[name][0] - together[name][index]).max()) / reach
            if not error <= _BATCH_TOLERANCE:
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


def _target(base: str, out: str | Path | None) -> Path:
    path = Path(f"{base}{_SUFFIX}") if out is None else Path(out)
    if path.is_dir():
        path = path / f"{base}{_SUFFIX}"
    if path.suffix != _SUFFIX:
        raise InputError(
            f"cannot write the artefact as {path}",
            f"its name must end in {_SUFFIX}",
            f"-o {path.with_suffix(_SUFFIX)}",
        )
    return path
