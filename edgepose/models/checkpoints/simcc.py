"""SimCC as published by its authors, on HRNet and on ResNet.

Source of the names: ``lib/models/pose_hrnet.py`` and ``pose_resnet.py`` of leeyegy/SimCC, which add
two linear layers to the heatmap models of the same names.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from edgepose.models.checkpoints.hrnet import hrnet_trunk
from edgepose.models.checkpoints.names import relabelled, under
from edgepose.models.checkpoints.resnet import simplebaseline_trunk

__all__ = ["options", "translate_hrnet", "translate_resnet"]

_HEAD = {
    "final_layer": "head.keypoint_maps",
    "mlp_head_x": "head.x",
    "mlp_head_y": "head.y",
}


def options(shapes: Mapping[str, tuple[int, ...]], input_size: tuple[int, int]) -> dict[str, float]:
    """How many bins a pixel has: the head has as many rows as there are bins.

    Args:
        shapes: Of the tensors, by the authors' names.
        input_size: (height, width) that the weights were made for.
    """
    rows = shapes.get("mlp_head_x.weight", ())
    return {"split_ratio": rows[0] / input_size[1]} if rows else {}


def translate_hrnet(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' model on HRNet to :func:`edgepose.models.simcc.simcc`."""
    trunk, rest = hrnet_trunk(tensors)
    return under("trunk", trunk) | relabelled(rest, _HEAD)


def translate_resnet(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' model on ResNet-50 to :func:`edgepose.models.simcc.simcc_resnet50`."""
    trunk, rest = simplebaseline_trunk(tensors)
    return under("trunk", trunk) | relabelled(rest, _HEAD)
