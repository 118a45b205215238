"""HRNet as published by its authors, and the trunk that other families' checkpoints share.

Source of the names: ``lib/models/pose_hrnet.py`` of leoxiaobin/deep-high-resolution-net.pytorch.
A convolution and its norm are siblings there (``conv1``, ``bn1``), a pair (``0``, ``1``) in ours.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from edgepose.models.checkpoints.names import bottlenecks, partition, relabelled, under

__all__ = ["hrnet_trunk", "translate"]


_TRUNK = {
    "conv1": "stem.0.0",
    "bn1": "stem.0.1",
    "conv2": "stem.1.0",
    "bn2": "stem.1.1",
    **bottlenecks("layer1", "layer1"),
    # Transition t adapts branch 0 (the first one only) and starts branch t, in a chain of one step.
    r"transition1\.0\.([01])": r"first_branch.\1",
    r"transition1\.1\.0\.([01])": r"new_branches.0.\1",
    r"transition2\.2\.0\.([01])": r"new_branches.1.\1",
    r"transition3\.3\.0\.([01])": r"new_branches.2.\1",
}

# Inside a stage: a basic block's layers, and the paths from branch \3 to branch \2. A path to a
# finer branch is one convolution and its norm (ahead of the upsampling), one to a coarser branch is
# a chain of such pairs.
_STAGE = {
    r"(\d+)\.branches\.(\d+)\.(\d+)\.conv([12])": r"\1.branches.\2.\3.conv\4.0",
    r"(\d+)\.branches\.(\d+)\.(\d+)\.bn([12])": r"\1.branches.\2.\3.conv\4.1",
    r"(\d+)\.fuse_layers\.(\d+)\.(\d+)\.([01])": r"\1.fusions.\2.paths.\3.0.\4",
    r"(\d+)\.fuse_layers\.(\d+)\.(\d+)\.(\d+)\.([01])": r"\1.fusions.\2.paths.\3.\4.\5",
}

_RULES = _TRUNK | {
    rf"stage{stage + 2}\.{theirs}": f"stages.{stage}.{ours}"
    for stage in range(3)
    for theirs, ours in _STAGE.items()
}


def hrnet_trunk(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of the trunk by our names, and the others as they are.

    Args:
        tensors: By the authors' names, those of the trunk without a prefix. The trunk may have
            three stages, as in TransPose and TokenPose, or four.

    Returns:
        The trunk, by the names of :class:`edgepose.models.hrnet.HRNet` (without a prefix), and the
        rest, by the authors' names.
    """
    return partition(tensors, _RULES)


def translate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' heatmap model to :func:`edgepose.models.hrnet.hrnet`."""
    trunk, rest = hrnet_trunk(tensors)
    return under("trunk", trunk) | relabelled(rest, {"final_layer": "head"})
