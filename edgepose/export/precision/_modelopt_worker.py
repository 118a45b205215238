"""Runs in the environment of NVIDIA ModelOpt, which knows nothing of edgepose.

Argument: a JSON request, with files for the graph, the crops, the result and the answer. The answer
tells the version, or what is missing; all that ModelOpt says goes to the standard output.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def _quantised(request: dict[str, Any]) -> dict[str, Any]:
    try:
        numpy = importlib.import_module("numpy")
        quantization = importlib.import_module("modelopt.onnx.quantization")
        version = importlib.import_module("modelopt").__version__
    except ImportError as error:
        return {"missing": error.name or "modelopt", "why": str(error)}
    with numpy.load(request["crops"]) as crops:
        quantization.quantize(
            onnx_path=request["onnx"],
            output_path=request["out"],
            quantize_mode="int8",
            calibration_data={request["input"]: crops["images"]},
            calibration_method=request["method"],
            calibration_eps=["cpu"],
            nodes_to_exclude=request["exclude"],
            high_precision_dtype="fp32",
            log_level="ERROR",
        )
    return {"version": version}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    Path(asked["answer"]).write_text(json.dumps(_quantised(asked)))
