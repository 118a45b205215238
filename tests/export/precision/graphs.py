"""Small graphs, written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.spec import PoseSpec
from tests.export.tiny import people

IMAGE = ("batch", 3, 8, 8)


def graph(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, Any] | None = None,
    *,
    output: str = "y",
    opset: int = 18,
    shape: Sequence[int | str] = IMAGE,
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Input ``images``, weights in FP32 unless they are arrays; outputs separated by blanks."""
    arrays = {
        name: value if isinstance(value, np.ndarray) else np.asarray(value, np.float32)
        for name, value in (weights or {}).items()
    }
    built = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info("images", kind, shape)],
        [onnx.ValueInfoProto(name=name) for name in output.split()],
        [numpy_helper.from_array(values, name) for name, values in arrays.items()],
    )
    model = helper.make_model(
        built, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset <= 18 else 9
    )
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def node(
    op: str, inputs: str, outputs: str, name: str | None = None, **more: Any
) -> onnx.NodeProto:
    """A node; inputs and outputs are separated by blanks. Named after its first output."""
    ends = outputs.split()
    return helper.make_node(op, inputs.split(), ends, name=name or f"layer({op})/{ends[0]}", **more)


def conv(
    source: str, result: str, weight: str = "w", name: str | None = None, **more: Any
) -> onnx.NodeProto:
    return node("Conv", f"{source} {weight}", result, name, **more)


def random_weight(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    fan_in = int(np.prod(shape[1:]))
    values = np.random.default_rng(seed).standard_normal(shape) * scale / np.sqrt(fan_in)
    return values.astype(np.float32)


def images(count: int = 2, shape: Sequence[int] = (3, 8, 8), seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((count, *shape))
    return values.astype(np.float32)


def crops(spec: PoseSpec, count: int = 2) -> np.ndarray:
    """People, as a network sees them."""
    parts = [
        warp_crops(
            photo.image, box_affines(photo.boxes, spec.input_size, spec.padding), spec.input_size
        )
        for photo in people(count)
    ]
    return to_input(np.concatenate(parts), spec)


def run(model: onnx.ModelProto, values: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {"images": values})[0]


def types(model: onnx.ModelProto) -> dict[str, str]:
    """Element type of every value, by strict inference: that it succeeds is a test of its own."""
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    found = {
        value.name: TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        for value in [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    }
    stored = {w.name: TensorProto.DataType.Name(w.data_type) for w in inferred.graph.initializer}
    return found | stored
