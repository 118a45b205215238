"""Precision where the graph's own types do not decide: TensorRT 8, and DLA before 11.

Such a network is weakly typed: the builder chooses each layer's precision by speed, out of those
that flags allow. The flags are set from the types in the graph, and layers that the graph keeps in
FP32 are constrained to it, so that the same ONNX file means the same thing as under strong typing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgepose.trt.api import TensorRT

__all__ = ["constrain"]

# Their types are explicit, or they hold no arithmetic.
_TYPED = ("CONSTANT", "SHAPE", "CAST", "QUANTIZE", "DEQUANTIZE")
# What a Q/DQ graph leaves in FP32 may run in FP16, but for these: sums and powers that overflow.
_DELICATE = ("NORMALIZATION", "SOFTMAX", "REDUCE", "UNARY")


def constrain(trt: TensorRT, network: Any, config: Any, precision: str) -> int:
    """Set flags and constraints for a weakly typed network.

    * FP16 graph: FP16 is allowed, and layers whose outputs the graph has in FP32 are held to it.
    * Q/DQ graph: INT8 is allowed, and FP16 for the layers between; in one without FP16 tensors the
      delicate layers, and those that feed them, are held to FP32.

    Args:
        trt: The TensorRT.
        network: Parsed.
        config: Changed.
        precision: Of the graph.

    Returns:
        How many layers are held to FP32.
    """
    if precision == "fp32":
        return 0
    config.set_flag(trt.enum("BuilderFlag", "FP16"))
    if precision.startswith("int8"):
        config.set_flag(trt.enum("BuilderFlag", "INT8"))
    config.set_flag(trt.enum("BuilderFlag", "OBEY_PRECISION_CONSTRAINTS"))
    held = _in_fp32(trt, network)
    if precision == "int8":
        held = _delicate(trt, held)
    full = trt.enum("DataType", "FLOAT")
    for layer in held:
        layer.precision = full
        for index, tensor in enumerate(_outputs(layer)):
            if tensor.dtype == full:
                layer.set_output_type(index, full)
    return len(held)


def _in_fp32(trt: TensorRT, network: Any) -> list[Any]:
    """Layers that compute, and whose outputs the graph has in FP32.

    A tensor's type is only sure where a layer states it: elsewhere a weakly typed network may call
    everything FP32. So FP16 is carried on from where it is stated, through whatever takes it.
    """
    half, full = trt.enum("DataType", "HALF"), trt.enum("DataType", "FLOAT")
    stated = [trt.enum("LayerType", name) for name in _TYPED]
    halves: set[str] = set()
    found = []
    for layer in (network.get_layer(index) for index in range(network.num_layers)):
        outputs = list(_outputs(layer))
        explicit = any(layer.type == kind for kind in stated)
        carried = not explicit and any(tensor.name in halves for tensor in _inputs(layer))
        for tensor in outputs:
            if tensor.dtype == half or (carried and tensor.dtype == full):
                halves.add(tensor.name)
        if not explicit and any(
            tensor.dtype == full and tensor.name not in halves and not tensor.is_shape_tensor
            for tensor in outputs
        ):
            found.append(layer)
    return found


def _delicate(trt: TensorRT, layers: list[Any]) -> list[Any]:
    """Those of the layers that sum or take powers, and the elementwise ones that feed them."""
    kinds = [trt.enum("LayerType", name) for name in _DELICATE]
    elementwise = trt.enum("LayerType", "ELEMENTWISE")
    chosen = [layer for layer in layers if any(layer.type == kind for kind in kinds)]
    feeding = {tensor.name for layer in chosen for tensor in _inputs(layer)}
    before = [
        layer
        for layer in layers
        if layer.type == elementwise and any(t.name in feeding for t in _outputs(layer))
    ]
    return chosen + before


def _inputs(layer: Any) -> Iterator[Any]:
    for index in range(layer.num_inputs):
        tensor = layer.get_input(index)
        if tensor is not None:
            yield tensor


def _outputs(layer: Any) -> Iterator[Any]:
    for index in range(layer.num_outputs):
        yield layer.get_output(index)
