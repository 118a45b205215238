from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import nn

from edgepose.export.rewrites.gelu import GELU
from edgepose.export.trace import trace
from tests.export.rewrites.proof import Named, prove


def test_runtimes_recognise_it(tmp_path: Path) -> None:
    x = torch.randn(2, 8, 6, 6) * 3
    block = nn.Sequential(nn.Conv2d(8, 8, 1), nn.GELU()).eval()
    changed = prove(block, x, GELU, places=1)
    optimised = tmp_path / "optimised.onnx"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(optimised)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(
        trace(Named(changed), torch.zeros(8, 6, 6)).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    found = [node.op_type for node in onnx.load(optimised).graph.node]
    assert "Gelu" in found
    assert "Erf" not in found


def test_the_tanh_approximation_is_another_function() -> None:
    block = nn.Sequential(nn.GELU(approximate="tanh"))
    GELU.apply(block)
    assert isinstance(block[0], nn.GELU)
