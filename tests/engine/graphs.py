"""Tiny pose graphs in each precision: 4x4 mean pooling of brightness, once per keypoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgepose.spec import METADATA_KEY, PoseSpec
from tests.fakes import heatmap_spec

K, H, W = 17, 64, 48


def write(
    path: Path,
    precision: str = "fp32",
    *,
    batch: str | int = "batch",
    spec: PoseSpec | None = None,
    nodes: list[NodeProto] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """One Conv with a Softmax over the keypoints behind it, in FP32, FP16 or Q/DQ."""
    weight = np.full((K, 3, 4, 4), 1 / 48, np.float32)
    constants: dict[str, np.ndarray] = {"w": weight}
    conv = helper.make_node("Conv", ["x", "w"], ["c"], "pool(Conv)/Conv_1", strides=[4, 4])
    softmax = helper.make_node("Softmax", ["s"], ["heatmaps"], "soft(Softmax)/Softmax_2", axis=1)
    if precision == "fp32":
        made = [_same("images", "x"), conv, _same("c", "s"), softmax]
    elif precision == "fp16":
        constants["w"] = weight.astype(np.float16)
        made = [_cast("images", "x", 10), conv, _cast("c", "s", 1), softmax]
    elif precision == "int8":
        constants |= {
            "w": np.full(weight.shape, 127, np.int8),
            "ws": np.full(K, 1 / 48 / 127, np.float32),
            "wz": np.zeros(K, np.int8),
            "xs": np.float32(0.02),
            "xz": np.int8(0),
        }
        made = [
            helper.make_node("QuantizeLinear", ["images", "xs", "xz"], ["q"], "q"),
            helper.make_node("DequantizeLinear", ["q", "xs", "xz"], ["x"], "dq"),
            helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], "wdq", axis=0),
            helper.make_node("Conv", ["x", "wd"], ["c"], "pool(Conv)/Conv_1", strides=[4, 4]),
            _same("c", "s"),
            softmax,
        ]
    else:
        raise AssertionError(precision)
    graph = helper.make_graph(
        made if nodes is None else nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, H, W])],
        [helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, [batch, K, H // 4, W // 4])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    spec = spec or heatmap_spec((H, W))
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()} | (metadata or {}))
    onnx.save(model, path)
    return path


def _same(source: str, target: str) -> NodeProto:
    return helper.make_node("Relu", [source], [target], f"relu_{target}")


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], f"cast_{target}", to=kind)
