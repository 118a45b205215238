"""SimpleBaseline as published by its authors, and the trunk that SimCC on ResNet shares.

Source of the names: ``lib/models/pose_resnet.py`` of leoxiaobin/deep-high-resolution-net.pytorch,
the same in microsoft/human-pose-estimation.pytorch.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from edgepose.models.checkpoints.names import bottlenecks, partition, relabelled, under

__all__ = ["simplebaseline_trunk", "translate"]

# The transposed convolutions, their norms and activations are one flat sequence there.
_UPSAMPLING = {
    rf"deconv_layers\.{3 * step + part}": f"upsampling.{step}.{part}"
    for step in range(3)
    for part in (0, 1)
}

_RULES = {
    "conv1": "resnet.stem.0",
    "bn1": "resnet.stem.1",
    **{
        theirs: ours
        for layer in range(4)
        for theirs, ours in bottlenecks(f"layer{layer + 1}", f"resnet.layers.{layer}").items()
    },
    **_UPSAMPLING,
}


def simplebaseline_trunk(
    tensors: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of the trunk by our names, and the others as they are.

    Returns:
        The trunk, by the names of :class:`edgepose.models.simplebaseline.SimpleBaselineTrunk`
        (without a prefix), and the rest, by the authors' names.
    """
    return partition(tensors, _RULES)


def translate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' heatmap model to :func:`edgepose.models.simplebaseline.simplebaseline`."""
    trunk, rest = simplebaseline_trunk(tensors)
    return under("trunk", trunk) | relabelled(rest, {"final_layer": "head"})
