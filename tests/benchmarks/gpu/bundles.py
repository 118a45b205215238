"""A small bundle of a model that finds the brightest spot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.bundle import Bundle, BundleWriter, Graph, Manifest, Model
from benchmarks.gpu.people import People
from edgepose.crops import to_input
from edgepose.spec import Measurement, PoseSpec
from tests.fakes import heatmap_spec, write_tiny_onnx

PEOPLE = 5
LABEL = "AP on tiny (2 persons, GT boxes, flip off)"


def crops(count: int = PEOPLE) -> np.ndarray:
    """(count, 64, 48, 3) crops, dark but for one bright spot each."""
    rows, columns = np.mgrid[:64, :48]
    values = np.empty((count, 64, 48, 3), np.uint8)
    for index in range(count):
        top, left = 14.3 + 5 * (index % 7), 12.6 + 5 * (index % 5)
        spot = np.exp(-((rows - top) ** 2 + (columns - left) ** 2) / 200)
        values[index] = (20 + 220 * spot)[..., None]
    return values


def tiny_maps(images: np.ndarray) -> dict[str, np.ndarray]:
    """What the tiny ONNX file computes."""
    grey = images.mean(1)  # (N, H, W)
    n, h, w = grey.shape
    cells = grey.reshape(n, h // 4, 4, w // 4, 4).mean((2, 4))  # (N, h, w)
    return {"heatmaps": np.repeat(cells[:, None], 17, 1).astype(np.float32)}


def spec_of(*, trained: bool = True) -> PoseSpec:
    spec = heatmap_spec()
    if not trained:
        return spec
    return spec.with_provenance(
        weights_sha256="0" * 64, measured=(Measurement(ap=50.0, ar=55.0, protocol=LABEL),)
    )


def write_bundle(
    folder: Path,
    *,
    models: tuple[str, ...] = ("tiny",),
    precisions: tuple[str, ...] = ("fp32", "fp16"),
    trained: bool = True,
    part_mib: float | None = None,
    coco: bytes | None = None,
    **changes: Any,
) -> Manifest:
    """Write a bundle; ``changes`` replace graphs by precision."""
    spec = spec_of(trained=trained)
    writer = BundleWriter(folder, part_mib)
    made = []
    for name in models:
        found = tiny_maps(to_input(crops(), spec))
        writer.add(f"{name}-people.npz", People(crops(), found, (found,)).to_bytes())
        graphs = {}
        for precision in precisions:
            file = f"{name}-{precision}.onnx"
            path = write_tiny_onnx(folder.parent / "made.onnx", spec)
            writer.add(file, path.read_bytes())
            graphs[precision] = Graph(file=file, opset=18, nodes=100, parity={"passed": True})
        model = Model(name, "of the test", trained, spec, f"{name}-people.npz", graphs | changes)
        made.append(model)
    manifest = Manifest(command="made", made_with={}, target="trt-8.6", models=tuple(made))
    if coco is not None:
        writer.add("coco.tar", coco)
        manifest = replace(manifest, coco="coco.tar")
    return writer.finish(manifest)


def bundle_in(folder: Path, **how: Any) -> Bundle:
    """A small bundle, opened."""
    write_bundle(folder / "bundle", **how)
    return Bundle([folder / "bundle"], folder / "work")
