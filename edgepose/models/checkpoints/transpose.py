"""TransPose-H as published by its authors.

Source of the names: ``lib/models/transpose_h.py`` of yangsenius/TransPose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from edgepose.models.checkpoints.hrnet import hrnet_trunk
from edgepose.models.checkpoints.names import renamed, thirds

__all__ = ["translate"]

_REST = {
    "reduce": "reduce",
    "final_layer": "head",
    r"global_encoder\.layers\.(\d+)\.self_attn\.out_proj": r"encoder.layers.\1.attention.project",
    r"global_encoder\.layers\.(\d+)\.linear1": r"encoder.layers.\1.mlp.expand",
    r"global_encoder\.layers\.(\d+)\.linear2": r"encoder.layers.\1.mlp.project",
    r"global_encoder\.layers\.(\d+)\.norm1": r"encoder.layers.\1.norm_attention",
    r"global_encoder\.layers\.(\d+)\.norm2": r"encoder.layers.\1.norm_mlp",
}
_JOINT = re.compile(r"global_encoder\.layers\.(\d+)\.self_attn\.in_proj_(weight|bias)")


def translate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' tensors to :func:`edgepose.models.transpose.transpose`."""
    trunk, rest = hrnet_trunk(tensors)
    translated = {f"trunk.{name}": tensor for name, tensor in trunk.items()}
    for name, tensor in rest.items():
        joint = _JOINT.fullmatch(name)
        if joint is not None and thirds(tensor):
            layer = f"encoder.layers.{joint[1]}.attention"
            for part, share in zip("qkv", thirds(tensor), strict=True):
                translated[f"{layer}.{part}.{joint[2]}"] = share
        elif name == "pos_embedding" and (width := _row_length(tensor)):
            rows = tensor.reshape(1, -1, width, tensor.shape[2])  # (1, h, w, d)
            translated["encoder.position"] = rows.permute(0, 3, 1, 2).contiguous()
        else:
            translated[renamed(name, _REST) or name] = tensor
    return translated


def _row_length(table: Tensor) -> int:
    """Width of the grid that a sine table (T, 1, d) was made for; 0 if it is no such table.

    Read off the table, which does not hold it: the first half of the channels tells the row, and is
    the same for all of its cells.
    """
    if table.ndim != 3 or table.shape[1] != 1:
        return 0
    rows = table[:, 0, : table.shape[2] // 2]
    width = int(((rows - rows[0]).abs() < 1e-3).all(dim=1).sum())
    return width if width > 1 and len(table) % width == 0 else 0
