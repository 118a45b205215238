"""A Runner made of a function, and tiny ONNX graphs: what tests use in place of a trained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.spec import METADATA_KEY, DecoderSpec, PoseSpec


def heatmap_spec(size: tuple[int, int] = (64, 48), **changes: Any) -> PoseSpec:
    values: dict[str, Any] = {
        "model": "fake",
        "input_size": size,
        "output": "heatmap",
        "decoder": DecoderSpec(name="dark"),
    }
    return PoseSpec(**(values | changes))


class FakeRunner:
    """Answers with what ``respond(images)`` returns, and remembers the batch sizes."""

    device = "cpu"

    def __init__(
        self,
        spec: PoseSpec,
        respond: Callable[[np.ndarray], dict[str, np.ndarray]],
        max_batch: int = 64,
        buckets: tuple[int, ...] | None = None,
    ) -> None:
        self.spec = spec
        self.respond = respond
        self.max_batch = max_batch
        self.buckets = buckets
        self.batches: list[int] = []
        self.closed = False

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        self.batches.append(len(images))
        return self.respond(images)

    def describe(self) -> dict[str, Any]:
        return {"runtime": "fake"}

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> FakeRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def brightness_maps(images: np.ndarray) -> dict[str, np.ndarray]:
    """A 'model' that finds the brightest spot: each of 17 heatmaps is the 4x4 mean brightness."""
    grey = images.mean(1)  # (N, H, W)
    n, h, w = grey.shape
    cells = grey.reshape(n, h // 4, 4, w // 4, 4).mean((2, 4))  # (N, h, w)
    low, high = cells.min((1, 2), keepdims=True), cells.max((1, 2), keepdims=True)
    unit = (cells - low) / np.maximum(high - low, 1e-6)
    return {"heatmaps": np.repeat(unit[:, None], 17, 1).astype(np.float32)}


def write_tiny_onnx(
    path: Path,
    spec: PoseSpec | None,
    *,
    size: tuple[int, int] = (64, 48),
    keypoints: int = 17,
    output: str = "heatmaps",
    batch: str | int = "batch",
) -> Path:
    """A real ONNX graph: 4x4 mean pooling of the three channels' mean, repeated per keypoint."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    height, width = size
    weight = np.full((keypoints, 3, 4, 4), 1 / 48, np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "weight"], [output], strides=[4, 4])],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, height, width])],
        [
            helper.make_tensor_value_info(
                output, TensorProto.FLOAT, [batch, keypoints, height // 4, width // 4]
            )
        ],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if spec is not None:
        helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, path)
    return path
