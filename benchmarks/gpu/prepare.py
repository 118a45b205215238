"""Making a bundle: graphs in every precision, people, and what PyTorch finds on them."""

from __future__ import annotations

import importlib.metadata
import io
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.gpu.bundle import BundleWriter, Graph, Manifest, Model
from benchmarks.gpu.people import Outputs, People, crops_of
from benchmarks.registry_exports import warmed
from edgepose.crops import to_input
from edgepose.errors import EdgeposeError, InputError, MissingDependency, OutputError
from edgepose.evaluate import CocoKeypoints
from edgepose.export import Conversion, ExportResult, export_file, export_module
from edgepose.export.lint import choose_opset, find_target
from edgepose.export.nudge import nudged
from edgepose.models import parse_name
from edgepose.models.pretrained import trained
from edgepose.parity import Photo, folder_photos, sample_photos
from edgepose.poses import UInt8
from edgepose.runtime.base import Runner
from edgepose.runtime.torch import TorchRunner
from edgepose.spec import PoseSpec
from edgepose.zoo import entries

__all__ = ["Wanted", "prepare"]

Say = Callable[[str], None]

PRECISIONS = ("fp32", "fp16", "int8", "int8-fp16")
_PACKAGES = ("edgepose", "numpy", "onnx", "onnxruntime", "opencv-python", "torch")
_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a bundle is to hold.

    Attributes:
        models: Registry names, the most important first.
        precisions: Of :data:`PRECISIONS`.
        calibration: People to calibrate INT8 on.
        weights: Model -> file of trained weights, where the zoo has none.
        target: The oldest runtime that has to read the graphs.
        coco: COCO-layout folder to measure accuracy on; None for none.
        images: Photos of the people that poses are judged on; the packaged samples by default.
        people: Most of them.
        crops: Most people that are used to calibrate.
        part_mib: Largest part of the bundle.
    """

    models: tuple[str, ...]
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8")
    calibration: Path | None = None
    weights: Mapping[str, str] | None = None
    target: str = "trt-8.6"
    coco: Path | None = None
    images: Path | None = None
    people: int = 16
    crops: int = 256
    part_mib: float | None = None

    def check(self) -> None:
        """Raise for what cannot be made, before anything takes long.

        Raises:
            InputError: Says what.
        """
        for precision in self.precisions:
            if precision not in PRECISIONS:
                raise InputError(
                    f"there is no precision '{precision}'", f"known are {', '.join(PRECISIONS)}"
                )
            choose_opset(None, find_target(self.target), precision)
            if precision.startswith("int8") and self.calibration is None:
                raise InputError(
                    f"{precision} needs people to calibrate on",
                    "none were named",
                    "--calib DIR, or --precisions fp32,fp16",
                )
        for name in (*self.models, *(self.weights or {})):
            parse_name(name)
        if self.part_mib is not None and self.part_mib < 2:
            raise InputError(f"parts of {self.part_mib:g} MiB are too small", None, "--part-mib 60")


def prepare(folder: Path, wanted: Wanted, command: str, say: Say) -> Manifest:
    """Make a bundle.

    What of a model cannot be made is written down with its reason, and the rest goes on.

    Args:
        folder: New or empty.
        wanted: What it is to hold.
        command: The command that makes it again.
        say: Told of each step as it begins.

    Returns:
        What it holds.

    Raises:
        InputError: Something wanted cannot be used.
        WeightsError: Weights are corrupt, or of another model.
        DatasetError: The COCO folder cannot be used.
        OutputError: It cannot be written.
    """
    wanted.check()
    writer = BundleWriter(folder, wanted.part_mib)
    photos = _photos(wanted)
    coco = None
    if wanted.coco is not None:
        dataset = CocoKeypoints.load(wanted.coco)
    models = [_model(name, wanted, photos, writer, say) for name in wanted.models]
    # Last, and so in the last part: accuracy is what is measured last.
    if wanted.coco is not None:
        say(f"packing {len(dataset.images)} photos with {dataset.persons} persons")
        coco = "coco.tar"
        writer.add(coco, _archive(wanted.coco, dataset))
    return writer.finish(
        Manifest(
            command=command,
            made_with=dict(_versions()),
            target=wanted.target,
            models=tuple(models),
            coco=coco,
        )
    )


def _photos(wanted: Wanted) -> list[Photo]:
    if wanted.images is None:
        return sample_photos()
    return folder_photos(wanted.images, wanted.people)


def _model(name: str, wanted: Wanted, photos: list[Photo], writer: BundleWriter, say: Say) -> Model:
    say(f"{name}: building")
    module, spec, words = _weighted(name, wanted)
    crops = crops_of(photos, spec, wanted.people)
    say(f"{name}: asking PyTorch about {len(crops)} people")
    found = _found(TorchRunner(module, spec), crops)
    swayed = tuple(_found(runner, crops) for runner in nudged(module, spec))
    people = f"{name}-people.npz"
    writer.add(people, People(crops, found, swayed).to_bytes())
    graphs = {}
    with tempfile.TemporaryDirectory() as folder:
        for precision, graph, data in _graphs(name, module, spec, wanted, photos, folder, say):
            graphs[precision] = graph
            if graph.file is not None:
                writer.add(graph.file, data)
    return Model(
        name=name,
        weights=words,
        trained=bool(spec.provenance.weights_sha256),
        spec=spec,
        people=people,
        graphs=graphs,
    )


def _weighted(name: str, wanted: Wanted) -> tuple[nn.Module, PoseSpec, str]:
    """A model with the best weights that there are, and where they are from."""
    file = (wanted.weights or {}).get(name)
    if file is not None:
        module, spec = trained(name, Path(file))
        return module, spec, f"trained, from {Path(file).name}: {spec.provenance.trained_on}"
    if any(name == e.name or (name == e.model and e.default) for e in entries()):
        module, spec = trained(name)
        return module, spec, f"shipped: {spec.provenance.trained_on}"
    module, spec = warmed(name)
    with torch.no_grad():
        for value in (*module.parameters(), *module.buffers()):
            if value.is_floating_point():  # as shipped weights are stored; and they pack well
                value.copy_(value.half().float())
    return module, spec, "random, seed 0, norms' statistics from real crops"


def _found(runner: Runner, crops: UInt8) -> Outputs:
    parts = [
        runner.infer(to_input(crops[start : start + _BATCH], runner.spec))
        for start in range(0, len(crops), _BATCH)
    ]
    joined: dict[str, npt.NDArray[np.float32]] = {
        name: np.concatenate([part[name] for part in parts]) for name in parts[0]
    }
    return joined


def _graphs(
    name: str,
    module: nn.Module,
    spec: PoseSpec,
    wanted: Wanted,
    photos: list[Photo],
    folder: str,
    say: Say,
) -> Iterable[tuple[str, Graph, bytes]]:
    """The model in each precision. The FP32 graph is made in any case: the others come from it."""
    target = find_target(wanted.target)
    plain: dict[int, Path] = {}
    for precision in wanted.precisions:
        opset = choose_opset(None, target, precision)
        out = Path(folder) / f"{name}-{precision}.onnx"
        say(f"{name}: exporting {precision}")
        try:
            if opset not in plain:
                path = out if precision == "fp32" else Path(folder) / f"{name}-{opset}.onnx"
                result = export_module(module, spec, path, photos, opset=opset, target=target)
                plain[opset] = result.path
            if precision != "fp32":
                how = Conversion(
                    precision=precision,  # type: ignore[arg-type]  # checked: one of them
                    calibration=wanted.calibration,
                    crops=wanted.crops,
                )
                result = export_file(plain[opset], how, out, target=wanted.target)
            graph, data = _made(result)
        except (MissingDependency, OutputError):
            raise  # not of the model's making: it would come again with each
        except EdgeposeError as error:
            words = ": ".join(filter(None, [error.what, error.why]))
            say(f"{name}: {precision} is not made: {words}")
            graph, data = Graph(file=None, words=words), b""
        yield precision, graph, data


def _made(result: ExportResult) -> tuple[Graph, bytes]:
    if result.data is not None:
        raise InputError(f"{result.path.name} is too large for one file")
    graph = Graph(
        file=result.path.name,
        opset=result.opset,
        nodes=result.nodes,
        parity=result.parity.to_dict(),
    )
    return graph, result.path.read_bytes()


def _archive(folder: Path, dataset: CocoKeypoints) -> bytes:
    """The annotation file and the photos that it needs, laid out as they were."""
    annotations = [
        *folder.glob("person_keypoints.json"),
        *folder.glob(f"annotations/person_keypoints*{dataset.name}.json"),
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for path in [*annotations, *(image.path for image in dataset.images)]:
            entry = tarfile.TarInfo(str(path.relative_to(folder)))
            data = path.read_bytes()
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _versions() -> Iterable[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
