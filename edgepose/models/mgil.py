"""MGIL (Gu et al., ACM MM 2024): stride-2 layers that keep what a strided convolution drops.

The block moves space to channels losslessly (SCT), reads the result once for fine local detail
(FLIE) and once through several receptive fields (CII), and mixes the two by weights computed from
the image (MGAF). What the paper leaves open is named in :class:`MGILOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.models.hrnet import Downsampling
from edgepose.models.layers import conv_bn, initialise_convs
from edgepose.models.residual import Downsampler
from edgepose.models.resnet import ResNetDownsampling
from edgepose.models.simcc import SimCC, simcc, simcc_resnet50

__all__ = [
    "MGIL",
    "MGILOptions",
    "Scope",
    "mgil",
    "mgil_downsampling",
    "mgil_resnet50",
    "mgil_resnet_downsampling",
    "space_to_channels",
]

Scope = Literal["main", "all"]


@dataclass(frozen=True, kw_only=True)
class MGILOptions:
    """What the paper leaves open, with our choices.

    Attributes:
        fine_depth: Convolutions in FLIE. The text says 3, the headline row of the ablation (AP 37.5
            with HRNet-W32 at 32x32) has 2.
        coarse_depth: Convolutions in CII behind its multi-receptive-field part; 2 in the same row.
        dilations: Of the multi-receptive-field part. Small, since at 32x32 the maps are 8x8 to 1x1
            cells and larger fields would see padding only; 1, 2, 3 leave no cell unread.
        mrie: Its convolutions are ``depthwise`` (CII then costs about what FLIE costs, and the
            layers behind mix the channels) or ``full``, which also take the channels to Cout (a
            sixth more parameters with scope ``main``, nearly half more with ``all``).
        cii_reads: ``samples`` (SCT's result, beside FLIE) or ``fine`` (FLIE's result, in series).
            In parallel, nothing that SCT kept is lost before CII reads it.
        reduction: MGAF's hidden layer has 1 / reduction of the channels of both paths, at least 8.
    """

    fine_depth: int = 2
    coarse_depth: int = 2
    dilations: tuple[int, ...] = (1, 2, 3)
    mrie: Literal["depthwise", "full"] = "depthwise"
    cii_reads: Literal["samples", "fine"] = "samples"
    reduction: int = 16


def space_to_channels(x: Tensor) -> Tensor:
    """SCT: the four stride-2 samples of the map as channel groups, losing nothing.

    The groups come in the order of their (row, column) offset: (0,0), (1,0), (0,1), (1,1). Trained
    weights depend on it. It is not the order of ``torch.nn.functional.pixel_unshuffle``.

    Args:
        x: (B, C, H, W), H and W even.

    Returns:
        (B, 4C, H/2, W/2).
    """
    return torch.cat(
        [x[..., 0::2, 0::2], x[..., 1::2, 0::2], x[..., 0::2, 1::2], x[..., 1::2, 1::2]], dim=1
    )


class LIE(nn.Sequential):
    """Local information extraction: ``depth`` times 3x3 convolution, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, depth: int) -> None:
        super().__init__(
            conv_bn(in_channels, out_channels, 3),
            *(conv_bn(out_channels, out_channels, 3) for _ in range(depth - 1)),
        )


class MRIE(nn.Module):
    """Multi-receptive-field extraction: the sum of dilated 3x3 convolutions, BatchNorm, ReLU.

    Args:
        channels: Channels of the input.
        out_channels: Channels of the output, by full convolutions; None for depthwise ones.
        dilations: Of the convolutions.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int | None = None,
        dilations: tuple[int, ...] = (1, 2, 3),
    ) -> None:
        super().__init__()
        out, groups = (channels, channels) if out_channels is None else (out_channels, 1)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, out, 3, padding=d, dilation=d, groups=groups, bias=False)
            for d in dilations
        )
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = (conv(x) for conv in self.convs)
        return F.relu(self.norm(sum(rest, start=first)))


class CII(nn.Sequential):
    """Several receptive fields (MRIE), then local extraction (LIE)."""

    def __init__(self, in_channels: int, out_channels: int, options: MGILOptions) -> None:
        if options.mrie == "depthwise":
            middle, fields = in_channels, MRIE(in_channels, dilations=options.dilations)
        else:
            middle, fields = out_channels, MRIE(in_channels, out_channels, options.dilations)
        super().__init__(fields, LIE(middle, out_channels, options.coarse_depth))


class MGAF(nn.Module):
    """Adaptive fusion: one weight per image for each path, softmaxed so that they sum to 1."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(2 * channels // reduction, 8)
        self.reduce = nn.Linear(2 * channels, hidden)  # a 1x1 convolution on a 1x1 map
        self.score = nn.Linear(hidden, 2)

    def weights(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(B, 2): the share of the fine and of the coarse path."""
        means = torch.cat([fine.mean((2, 3)), coarse.mean((2, 3))], dim=1)  # (B, 2C)
        scores: Tensor = self.score(F.relu(self.reduce(means)))
        return scores.softmax(dim=1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        weights = self.weights(fine, coarse)[..., None, None]  # (B, 2, 1, 1)
        return weights[:, 0:1] * fine + weights[:, 1:2] * coarse


class MGIL(nn.Module):
    """The stride-2 block (B, Cin, H, W) -> (B, Cout, H/2, W/2), H and W even.

    Args:
        in_channels: Cin.
        out_channels: Cout.
        options: What the paper leaves open.
    """

    def __init__(
        self, in_channels: int, out_channels: int, options: MGILOptions | None = None
    ) -> None:
        super().__init__()
        options = options or MGILOptions()
        samples = 4 * in_channels
        self.in_series = options.cii_reads == "fine"
        self.flie = LIE(samples, out_channels, options.fine_depth)
        self.cii = CII(out_channels if self.in_series else samples, out_channels, options)
        self.mgaf = MGAF(out_channels, options.reduction)
        initialise_convs(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, H, W) to (B, Cout, H/2, W/2)."""
        samples = space_to_channels(x)  # (B, 4 Cin, H/2, W/2)
        fine = self.flie(samples)
        fused: Tensor = self.mgaf(fine, self.cii(fine if self.in_series else samples))
        return fused


def mgil_downsampling(scope: Scope, options: MGILOptions | None = None) -> Downsampling:
    """Which stride-2 layers of HRNet become MGIL.

    ``main``: the stem's and the new branches'. ``all``: those of the fusion chains as well, which
    doubles the parameters.
    """
    make = _maker(options)
    if scope == "all":
        return Downsampling(stem=make, transition=make, fusion=make)
    return Downsampling(stem=make, transition=make)


def mgil_resnet_downsampling(options: MGILOptions | None = None) -> ResNetDownsampling:
    """All stride-2 layers of a ResNet become MGIL; the skips beside them, average and projection.

    The 1x1 convolution of stride 2 in such a skip drops three cells of four; it reads the mean of
    all four instead, since there is nothing local in a 1x1 convolution that MGIL could replace.
    """
    make = _maker(options)
    return ResNetDownsampling(stem=make, pool=make, block=make, skip=pooled_projection)


def pooled_projection(in_channels: int, out_channels: int, *, activate: bool) -> nn.Module:
    """2x2 average pool, then 1x1 convolution and BatchNorm."""
    return nn.Sequential(nn.AvgPool2d(2), conv_bn(in_channels, out_channels, 1, activate=activate))


def _maker(options: MGILOptions | None) -> Downsampler:
    def make(in_channels: int, out_channels: int, *, activate: bool) -> nn.Module:
        # Both paths end in a ReLU and their mixture is never negative: an activation would change
        # nothing.
        del activate
        return MGIL(in_channels, out_channels, options)

    return make


def mgil(
    input_size: tuple[int, int],
    num_keypoints: int,
    *,
    width: int,
    scope: Scope = "main",
    split_ratio: float = 2.0,
    options: MGILOptions | None = None,
) -> SimCC:
    """SimCC on HRNet whose stride-2 layers are MGIL blocks.

    Args:
        input_size: (height, width), multiples of 32, so that every map that is halved is even.
        num_keypoints: K.
        width: Channels W of HRNet's finest branch.
        scope: Which stride-2 layers, see :func:`mgil_downsampling`. The paper does not say;
            ``main`` is the one that leaves the model's size in reason, and the paper blames its
            rivals for theirs.
        split_ratio: Bins per pixel. The paper says "as SimCC", see
            :func:`edgepose.models.simcc.simcc`.
        options: What the paper leaves open in the block.
    """
    return simcc(
        input_size,
        num_keypoints,
        width=width,
        downsampling=mgil_downsampling(scope, options),
        split_ratio=split_ratio,
    )


def mgil_resnet50(
    input_size: tuple[int, int],
    num_keypoints: int,
    *,
    split_ratio: float = 2.0,
    options: MGILOptions | None = None,
) -> SimCC:
    """SimCC on ResNet-50 whose stride-2 layers are MGIL blocks, all of them.

    Args:
        input_size: (height, width), multiples of 32, so that every map that is halved is even.
        num_keypoints: K.
        split_ratio: Bins per pixel, as in :func:`mgil`.
        options: What the paper leaves open in the block.
    """
    return simcc_resnet50(
        input_size,
        num_keypoints,
        downsampling=mgil_resnet_downsampling(options),
        split_ratio=split_ratio,
    )
