"""ViTPose as published by its authors (the repository ViTAE-Transformer/ViTPose).

The names are those of mmpose: ``backbone`` is the vision transformer, ``keypoint_head`` one of the
two decoders, of which the simple one has no weights but its last layer's. ViTPose+ has experts
instead of one MLP (``mlp.experts``); it is another model, and those names are passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

from torch import Tensor

from edgepose.models.checkpoints.names import renamed

__all__ = ["options", "translate"]

_TABLE = "backbone.pos_embed"

_LAYERS = {
    r"backbone\.patch_embed\.proj": "embedding",
    r"backbone\.last_norm": "trunk.norm",
    r"keypoint_head\.deconv_layers\.0": "decoder.0.0",
    r"keypoint_head\.deconv_layers\.1": "decoder.0.1",
    r"keypoint_head\.deconv_layers\.3": "decoder.1.0",
    r"keypoint_head\.deconv_layers\.4": "decoder.1.1",
    r"keypoint_head\.final_layer": "head",
} | {
    rf"backbone\.blocks\.(\d+)\.{theirs}": rf"trunk.blocks.\1.{ours}"
    for theirs, ours in {
        "norm1": "norm_attention",
        r"attn\.qkv": "attention.qkv",
        r"attn\.proj": "attention.project",
        "norm2": "norm_mlp",
        r"mlp\.fc1": "mlp.expand",
        r"mlp\.fc2": "mlp.project",
    }.items()
}


def options(shapes: Mapping[str, tuple[int, ...]], input_size: tuple[int, int]) -> dict[str, str]:
    """Which of the two decoders it is: only the classic one has transposed convolutions.

    Args:
        shapes: Of the tensors, by the authors' names.
        input_size: (height, width) that the weights were made for.
    """
    del input_size
    if not any(name.startswith("keypoint_head.") for name in shapes):
        return {}
    classic = "keypoint_head.deconv_layers.0.weight" in shapes
    return {"decoder": "classic" if classic else "simple"}


def translate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' tensors to :func:`edgepose.models.vitpose.vitpose`, with either decoder."""
    translated: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name == _TABLE:
            translated |= _position_tables(tensor)
        else:
            translated[renamed(name, _LAYERS) or name] = tensor
    return translated


def _position_tables(table: Tensor) -> dict[str, Tensor]:
    """One table (1, 1 + h * w, d), the class token's row first, as a grid and a shared row.

    The grid is a square where the rows give one (crops of MPII), else three quarters as wide as it
    is high (crops of COCO).
    """
    grid = _grid(table.shape[1] - 1) if table.ndim == 3 else None
    if grid is None:
        return {_TABLE: table}
    columns = table.transpose(1, 2)  # (1, d, 1 + h * w)
    return {
        "trunk.position": columns[:, :, 1:].reshape(1, -1, *grid),
        "trunk.shared_position": columns[:, :, :1].reshape(1, -1, 1, 1),
    }


def _grid(cells: int) -> tuple[int, int] | None:
    side, unit = isqrt(cells), isqrt(cells // 12)
    if cells and side * side == cells:
        return side, side
    if cells and 12 * unit * unit == cells:
        return 4 * unit, 3 * unit
    return None
