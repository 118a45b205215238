"""Reports as TensorRT's inspector words them (docs.nvidia.com, Engine Inspector; 10 to 11)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgepose.engine.inspection import layer_summary


def layer(kind: str, inputs: list[str], outputs: list[str], key: str) -> dict[str, Any]:
    def side(texts: list[str]) -> list[dict[str, str]]:
        return [{"Name": f"t{i}", key: text} for i, text in enumerate(texts)]

    return {
        "Name": f"a {kind}",
        "LayerType": kind,
        "Inputs": side(inputs),
        "Outputs": side(outputs),
    }


@pytest.mark.parametrize(
    ("key", "fp32", "fp16", "int8", "int32"),
    [
        (
            "Format/Datatype",
            "Row major linear FP32",
            "Channel major FP16 format where channel % 8 == 0",
            "Thirty-two wide channel vectorized row major Int8 format",
            "Row major INT32 format",
        ),
        ("Datatype", "Float", "Half", "Int8", "Int32"),
    ],
    ids=["10", "11"],
)
def test_layers_by_precision(key: str, fp32: str, fp16: str, int8: str, int32: str) -> None:
    layers = [
        layer("Reformat", [fp32], [fp16], key),
        layer("CaskConvolution", [fp16], [fp16], key),
        layer("CaskConvolution", [int8, fp16], [fp16], key),
        layer("CaskConvolution", [int8], [int8], key),
        layer("SoftMax", [fp32], [fp32], key),
        layer("kgen", [fp16], [fp32], key),
        layer("Gather", [int32], [int32], key),
        layer("Constant", [], [fp16], key),
    ]
    assert layer_summary(json.dumps({"Layers": layers, "Bindings": ["x"]})) == {
        "layers": 8,
        "by_precision": {"fp16": 1, "fp32": 2, "int8": 2, "moved": 3},
        "fp32_names": ["a SoftMax", "a kgen"],
    }


def test_names_alone() -> None:
    summary = layer_summary('{"Layers": ["conv1", "conv2"], "Bindings": []}')
    assert summary == {"layers": 2, "by_precision": {"unknown": 2}, "fp32_names": []}


@pytest.mark.parametrize("report", ["", "[]", "{}", '{"Layers": 3}', "null"])
def test_what_cannot_be_read(report: str) -> None:
    assert layer_summary(report) is None
