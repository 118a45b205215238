"""TokenPose-B and -L as published by their authors.

Source of the names: ``lib/models/tokenpose_base.py``, ``pose_tokenpose_b.py`` and
``pose_tokenpose_l.py`` of leeyegy/TokenPose. There B has one ``transformer``, L has
``transformer1`` to ``transformer3``, and a layer is a pair of residual branches (``0`` attention,
``1`` MLP).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt

from torch import Tensor

from edgepose.models.checkpoints.hrnet import hrnet_trunk
from edgepose.models.checkpoints.names import renamed, thirds

__all__ = ["translate"]

_TRUNK = "pre_feature."
_TOKENS = "heatmaps.0"
_HEAD = "heatmaps.1"
_STACKS = {"transformer": 0, "transformer1": 0, "transformer2": 1, "transformer3": 2}

_BRANCHES = {
    r"0\.fn\.norm": "norm_attention",
    r"0\.fn\.fn\.to_out\.0": "attention.project",
    r"1\.fn\.norm": "norm_mlp",
    r"1\.fn\.fn\.net\.0": "mlp.expand",
    r"1\.fn\.fn\.net\.3": "mlp.project",
}
_LAYERS = {
    rf"transformer\.{theirs}\.layers\.(\d+)\.{branch}": rf"{_TOKENS}.stacks.{stack}.\1.{ours}"
    for theirs, stack in _STACKS.items()
    for branch, ours in _BRANCHES.items()
} | {r"transformer\.mlp_head\.(\d)": rf"{_HEAD}.layers.\1"}
_JOINT = re.compile(r"transformer\.(transformer[123]?)\.layers\.(\d+)\.0\.fn\.fn\.to_qkv\.weight")
_TENSORS = {
    "transformer.keypoint_token": f"{_TOKENS}.keypoints",
    "transformer.pos_embedding": f"{_TOKENS}.position",
    "transformer.patch_to_embedding.bias": f"{_TOKENS}.embed.bias",
}
_PATCHES = "transformer.patch_to_embedding.weight"


def translate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' tensors to :func:`edgepose.models.tokenpose.tokenpose`."""
    inside = {n.removeprefix(_TRUNK): t for n, t in tensors.items() if n.startswith(_TRUNK)}
    trunk, strange = hrnet_trunk(inside)
    translated = {f"trunk.{name}": tensor for name, tensor in trunk.items()}
    translated |= {_TRUNK + name: tensor for name, tensor in strange.items()}
    finest = trunk.get("first_branch.0.weight")
    channels = 0 if finest is None else len(finest)
    for name, tensor in tensors.items():
        joint = _JOINT.fullmatch(name)
        if joint is not None and thirds(tensor):
            layer = f"{_TOKENS}.stacks.{_STACKS[joint[1]]}.{joint[2]}.attention"
            for part, share in zip("qkv", thirds(tensor), strict=True):
                translated[f"{layer}.{part}.weight"] = share
        elif name == _PATCHES and channels and tensor.ndim == 2 and tensor.shape[1] % channels == 0:
            translated[f"{_TOKENS}.embed.weight"] = _as_kernel(tensor, channels)
        elif not name.startswith(_TRUNK):
            translated[_TENSORS.get(name) or renamed(name, _LAYERS) or name] = tensor
    return translated


def _as_kernel(weight: Tensor, channels: int) -> Tensor:
    """A linear layer on patches (d, h * w * C) as the convolution (d, C, h, w) that it is.

    Its values run through a patch row by row, the channels of a cell side by side. The patch's
    sides are the closest ones of that area, the longer upright: 4x3 for COCO, 4x4 for MPII.
    """
    area = weight.shape[1] // channels
    width = max(side for side in range(1, isqrt(area) + 1) if area % side == 0)
    patches = weight.reshape(-1, area // width, width, channels)  # (d, h, w, C)
    return patches.permute(0, 3, 1, 2).contiguous()
