"""Engines of the fake TensorRT with their sidecars, as the builder would leave them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edgepose.spec import PoseSpec
from edgepose.trt import sidecar
from edgepose.trt.gpu import Gpu
from edgepose.trt.log import make_logger
from edgepose.trt.sidecar import Profile, Sidecar
from tests.fakes import heatmap_spec, write_tiny_onnx
from tests.trt.fake import Fake

GPU = Gpu(
    name="Fake GPU",
    compute_capability=(8, 9),
    multiprocessors=46,
    memory_bytes=2**33,
    integrated=False,
    driver="580.10",
    cuda=(13, 0),
)


def make_sidecar(data: bytes = b"engine", **changes: Any) -> Sidecar:
    """A sidecar that fits ``data``, TensorRT 10.3.0 and :data:`GPU`."""
    values: dict[str, Any] = {
        "edgepose": "0.0",
        "product": "tensorrt",
        "version": "10.3.0",
        "cuda": "12.6",
        "platform": sidecar.platform_name(),
        "gpu": GPU,
        "engine_sha256": hashlib.sha256(data).hexdigest(),
        "engine_bytes": len(data),
        "onnx": "pose.onnx",
        "onnx_sha256": "0" * 64,
        "spec": heatmap_spec(),
        "precision": "fp32",
        "profiles": (Profile(1, 4, 16),),
    }
    return Sidecar(**(values | changes))


def write_fake_engine(
    folder: Path,
    fake: Fake,
    *,
    onnx: Path | None = None,
    spec: PoseSpec | None = None,
    profiles: tuple[Profile, ...] = (Profile(1, 4, 16),),
    **changes: Any,
) -> Path:
    """An engine that runs an ONNX file (by default brightness in heatmaps), and its sidecar."""
    trt, spec = fake.module, spec or heatmap_spec()
    onnx = onnx or write_tiny_onnx(folder / "pose.onnx", spec)
    log = make_logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(onnx.read_bytes()):
        raise AssertionError(parser.get_error(0).desc())
    config = builder.create_builder_config()
    given = network.get_input(0)
    for entry in profiles:
        profile = builder.create_optimization_profile()
        sizes = [(n, *tuple(given.shape)[1:]) for n in (entry.min, entry.opt, entry.max)]
        profile.set_shape(given.name, *sizes)
        config.add_optimization_profile(profile)
    engine = folder / "pose.engine"
    engine.write_bytes(builder.build_serialized_network(network, config))
    fake.calls.clear()
    values = {"product": fake.product, "version": fake.table["version"], "spec": spec}
    values |= {"profiles": profiles, "onnx": onnx.name}
    sidecar.write(make_sidecar(engine.read_bytes(), **(values | changes)), engine)
    return engine
