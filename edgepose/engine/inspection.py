"""Which precision the layers of an engine really have, from its inspector's report."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

__all__ = ["layer_summary"]

# Words in "Format/Datatype" (before 11) and "Datatype" (11). The order decides: a layer that takes
# INT8 computes in INT8, whatever it gives.
_WORDS = {
    "int8": ("int8",),
    "fp8": ("fp8",),
    "fp16": ("fp16", "half"),
    "bf16": ("bf16", "bfloat16"),
    "fp32": ("fp32", "float"),
}
# Layers that move data or wait: they compute nothing.
_MOVERS = ("reformat", "noop", "constant", "signal", "wait", "shape", "devicetoshape")
_NAMED = 40


def layer_summary(report: str) -> dict[str, Any] | None:
    """Count the layers of an engine by precision.

    Args:
        report: The inspector's JSON about a whole engine.

    Returns:
        ``layers``: how many; ``by_precision``: name -> number of layers that compute, ``moved``
        for those that only move data, ``unknown`` where the report does not say; ``fp32_names``:
        the layers that compute in FP32, the first 40. None for a report that cannot be read.
    """
    try:
        layers = json.loads(report)["Layers"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(layers, list):
        return None
    kinds = [_precision(layer) for layer in layers]
    names = [
        str(layer.get("Name", ""))
        for layer, kind in zip(layers, kinds, strict=True)
        if kind == "fp32"
    ]
    return {
        "layers": len(layers),
        "by_precision": dict(sorted(Counter(kinds).items())),
        "fp32_names": names[:_NAMED],
    }


def _precision(layer: Any) -> str:
    if not isinstance(layer, dict):
        return "unknown"  # the report holds names alone
    kind = str(layer.get("LayerType", "")).lower()
    if any(kind.startswith(word) for word in _MOVERS):
        return "moved"
    inputs, outputs = (_types(layer.get(side)) for side in ("Inputs", "Outputs"))
    for low in ("int8", "fp8"):
        if low in inputs:
            return low
    found = [p for p in _WORDS if p in outputs]
    return found[0] if found else "moved" if outputs else "unknown"


def _types(tensors: Any) -> set[str]:
    """The float types among some tensors; integers count as an empty name."""
    found = set()
    for tensor in tensors if isinstance(tensors, list) else ():
        if not isinstance(tensor, dict):
            continue
        text = tensor.get("Datatype") or tensor.get("DataType") or tensor.get("Format/Datatype")
        words = str(text).lower()
        matches = [name for name, parts in _WORDS.items() if any(p in words for p in parts)]
        found.add(matches[0] if matches else "")
    return found
