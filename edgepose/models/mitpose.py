"""MiTPOSE's building blocks at edge size: SCConv stages, multi-granularity blocks, a light decoder.

Sources: MiTPOSE (authors' repository "Variants_of_ViT"), SCConv's SRU and CRU (Li et al., CVPR
2023), GRN (ConvNeXt V2, Woo et al., CVPR 2023). The net as a whole is our own design; see the model
card. It comes in two forms that share their layout and differ only in :class:`Parts`:

* ``reference``: every unit as published (GroupNorm and a hard threshold in SRU, GELU, LayerNorm on
  tokens, GRN in every block).
* ``edge``: what runs fast and survives FP16 and INT8. SRU normalises by BatchNorm and gates
  smoothly, ReLU stands for GELU and BatchNorm for LayerNorm, everything stays channel-first, and
  GRN is kept only at the coarsest resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.models.encoder import TokenAttention
from edgepose.models.layers import conv_bn, initialise_convs, initialise_projection

__all__ = [
    "CRU",
    "GRN",
    "Form",
    "MapAttention",
    "MitPose",
    "SmoothSRU",
    "ThresholdSRU",
    "mitpose_lite",
]

Form = Literal["edge", "reference"]

# Keeps the square root's gradient finite on a channel that is zero everywhere. Below anything a
# live channel reaches, so no output changes.
SMALLEST_ENERGY = 1e-12


@dataclass(frozen=True, kw_only=True)
class MitPoseConfig:
    """Sizes of the net.

    Attributes:
        widths: Channels at 1/4, 1/8 and 1/16 resolution.
        sc_blocks: SC blocks at each of them.
        depth: Multi-granularity blocks at 1/16.
        heads: Attention heads.
        decoder: Channels at 1/8 and 1/4 on the way back.
    """

    widths: tuple[int, int, int] = (64, 128, 256)
    sc_blocks: tuple[int, int, int] = (2, 2, 2)
    depth: int = 6
    heads: int = 8
    decoder: tuple[int, int] = (128, 64)


class GRN(nn.Module):
    """Global response normalisation of a map (ConvNeXt V2): g * x * N + b + x.

    N is each channel's L2 norm over the image, divided by the channels' mean norm. The map is
    scaled by 1/sqrt(H*W) before squaring and the 1e-6 of the denominator with it, which by
    homogeneity changes nothing but keeps FP16 sums from overflowing.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        scale = (x.shape[2] * x.shape[3]) ** -0.5
        scaled = x * scale
        energy = (scaled * scaled).sum((2, 3), keepdim=True)
        norm = energy.clamp_min(SMALLEST_ENERGY).sqrt()  # (B, C, 1, 1)
        relative = norm / (norm.mean(1, keepdim=True) + 1e-6 * scale)
        # g * x * N + b + x, in two passes over the map instead of four. The casts act under
        # autocast only, where FP32 parameters would drag the whole map to FP32.
        factor = 1 + self.gain * relative
        normed: Tensor = x * factor.to(x.dtype) + self.shift.to(x.dtype)
        return normed


def exchange_halves(informative: Tensor, redundant: Tensor) -> Tensor:
    """SRU's cross reconstruction: each half of one part is added to the other part's other half."""
    hi_a, hi_b = informative.chunk(2, dim=1)
    lo_a, lo_b = redundant.chunk(2, dim=1)
    return torch.cat([hi_a + lo_b, hi_b + lo_a], dim=1)


class ThresholdSRU(nn.Module):
    """Spatial reconstruction unit as published (SCConv, section 3.1).

    Where the gate sigmoid(GN(x) * gamma / sum(gamma)) exceeds one half, x counts as informative
    whole; elsewhere the gate's share of it counts as redundant and as informative alike.
    """

    def __init__(self, channels: int, groups: int = 4) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        gamma = self.norm.weight
        gate = torch.sigmoid(self.norm(x) * (gamma / gamma.sum())[:, None, None])
        above = gate > 0.5
        gated = gate * x
        return exchange_halves(torch.where(above, x, gated), torch.where(above, 0.0, gated))


class SmoothSRU(nn.Module):
    """Spatial reconstruction unit without the jump at the threshold.

    The gate sigmoid(BN(x)) splits x into two parts that sum to x. Continuous, so that rounding to
    FP16 or INT8 moves an output by no more than rounding.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        informative = torch.sigmoid(self.norm(x)) * x
        return exchange_halves(informative, x - informative)


class CRU(nn.Module):
    """Channel reconstruction unit (SCConv, section 3.2).

    Half of the channels goes through a rich path (grouped 3x3 and 1x1 convolutions), half through a
    cheap one (1x1 and identity); a softmax over both paths' channel means weighs their sum.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, squeezed = channels // 2, channels // 4
        self.squeeze_upper = nn.Conv2d(half, squeezed, 1, bias=False)
        self.squeeze_lower = nn.Conv2d(half, squeezed, 1, bias=False)
        self.upper_group = nn.Conv2d(squeezed, channels, 3, padding=1, groups=2)
        self.upper_point = nn.Conv2d(squeezed, channels, 1, bias=False)
        self.lower_point = nn.Conv2d(squeezed, channels - squeezed, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        upper, lower = x.chunk(2, dim=1)
        upper, lower = self.squeeze_upper(upper), self.squeeze_lower(lower)  # (B, C/4, H, W)
        rich = self.upper_group(upper) + self.upper_point(upper)
        cheap = torch.cat([self.lower_point(lower), lower], dim=1)
        both = torch.cat([rich, cheap], dim=1)  # (B, 2C, H, W)
        weighted = both * both.mean((2, 3), keepdim=True).softmax(dim=1)
        rich, cheap = weighted.chunk(2, dim=1)
        return rich + cheap


class Local(nn.Module):
    """The local half of a multi-granularity block: three depthwise kernels side by side.

    1x1 to 3d channels, activation, each third plus its depthwise 3x3, 5x5 or 7x7, activation, GRN,
    1x1 back to d.
    """

    def __init__(self, channels: int, parts: Parts) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, 3 * channels, 1)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, k, padding=k // 2, groups=channels) for k in (3, 5, 7)
        )
        self.activation = parts.activation()
        self.grn = GRN(3 * channels)
        self.project = nn.Conv2d(3 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.expand(x))
        thirds = x.chunk(3, dim=1)
        x = torch.cat([t + conv(t) for t, conv in zip(thirds, self.convs, strict=True)], dim=1)
        projected: Tensor = self.project(self.grn(self.activation(x)))
        return projected


class MapAttention(nn.Module):
    """Multi-head self-attention over the cells of a map (B, d, H, W), without leaving that order.

    Both matrix products read their operands as they lie (transposed by the product itself), so the
    exported graph moves no data.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, H, W) to the same shape."""
        grid = x.shape[2:]
        parts = self.qkv(x).flatten(2).chunk(3, dim=1)  # 3 x (B, d, T)
        q, k, v = (part.unflatten(1, (self.heads, -1)) for part in parts)  # (B, h, d/h, T)
        scores = (q * self.scale).transpose(2, 3) @ k  # (B, h, T, T)
        mixed = v @ scores.softmax(dim=-1).transpose(2, 3)  # (B, h, d/h, T)
        projected: Tensor = self.project(mixed.flatten(1, 2).unflatten(2, grid))  # (B, d, H, W)
        return projected


class TokenBlock(nn.Module):
    """Multi-granularity block as published: pre-LayerNorm attention, then pre-LayerNorm Local."""

    def __init__(self, channels: int, heads: int, parts: Parts) -> None:
        super().__init__()
        self.norm_global = nn.LayerNorm(channels)
        self.attention = TokenAttention(channels, heads)
        self.norm_local = nn.LayerNorm(channels)
        self.local = Local(channels, parts)

    def forward(self, x: Tensor) -> Tensor:
        grid = x.shape[2:]
        tokens = x.flatten(2).transpose(1, 2)  # (B, T, d)
        tokens = tokens + self.attention(self.norm_global(tokens))
        normed = self.norm_local(tokens).transpose(1, 2).unflatten(2, grid)  # (B, d, H, W)
        mixed: Tensor = tokens.transpose(1, 2).unflatten(2, grid) + self.local(normed)
        return mixed


class MapBlock(nn.Module):
    """Multi-granularity block on maps: BatchNorm for LayerNorm, no transposes."""

    def __init__(self, channels: int, heads: int, parts: Parts) -> None:
        super().__init__()
        self.norm_global = nn.BatchNorm2d(channels)
        self.attention = MapAttention(channels, heads)
        self.norm_local = nn.BatchNorm2d(channels)
        self.local = Local(channels, parts)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_global(x))
        mixed: Tensor = x + self.local(self.norm_local(x))
        return mixed


class ChannelLayerNorm(nn.Module):
    """LayerNorm over the channels of each cell of a map (B, d, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The units in which the two forms differ.

    Attributes:
        sru: Spatial reconstruction unit, by channels.
        activation: Activation of the SC blocks and of Local.
        grn: Whether the SC blocks at 1/4, 1/8 and 1/16 resolution hold a GRN.
        block: Multi-granularity block.
        final_norm: Norm behind the last of them, by channels.
    """

    sru: type[ThresholdSRU] | type[SmoothSRU]
    activation: type[nn.GELU] | type[nn.ReLU]
    grn: tuple[bool, bool, bool]
    block: type[TokenBlock] | type[MapBlock]
    final_norm: type[ChannelLayerNorm] | type[nn.BatchNorm2d]


PARTS: dict[Form, Parts] = {
    "reference": Parts(
        sru=ThresholdSRU,
        activation=nn.GELU,
        grn=(True, True, True),
        block=TokenBlock,
        final_norm=ChannelLayerNorm,
    ),
    "edge": Parts(
        sru=SmoothSRU,
        activation=nn.ReLU,
        grn=(False, False, True),
        block=MapBlock,
        final_norm=nn.BatchNorm2d,
    ),
}


class SCBlock(nn.Module):
    """x + [SRU, CRU, BatchNorm, 1x1 to 2C, activation, GRN (optional), 1x1 to C]."""

    def __init__(self, channels: int, parts: Parts, *, grn: bool) -> None:
        super().__init__()
        self.sru = parts.sru(channels)
        self.cru = CRU(channels)
        self.norm = nn.BatchNorm2d(channels)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.activation = parts.activation()
        self.grn: nn.Module = GRN(2 * channels) if grn else nn.Identity()
        self.project = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        refined = self.norm(self.cru(self.sru(x)))
        mixed: Tensor = x + self.project(self.grn(self.activation(self.expand(refined))))
        return mixed


class DecoderStep(nn.Module):
    """Halve the channels, double the resolution, add the encoder's map, refine.

    Args:
        in_channels: Channels of the coarse map.
        skip_channels: Channels of the encoder's map at twice its resolution.
        out_channels: Channels of the result.
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = conv_bn(in_channels, out_channels, 1)
        self.skip = conv_bn(skip_channels, out_channels, 1)
        self.depthwise = conv_bn(out_channels, out_channels, 3, groups=out_channels)
        self.pointwise = conv_bn(out_channels, out_channels, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(self.reduce(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        refined: Tensor = self.pointwise(self.depthwise(x + self.skip(skip)))
        return refined


class MitPose(nn.Module):
    """The whole net: stem, SC stages, multi-granularity blocks, decoder.

    Args:
        input_size: (height, width), multiples of 16.
        num_keypoints: K.
        config: Sizes.
        form: Which units the blocks are made of.

    Attributes:
        position_tables: Parameters (1, d, h, w) that follow the input size; see ``load_weights``.
    """

    position_tables: ClassVar[tuple[str, ...]] = ("position",)

    def __init__(
        self, input_size: tuple[int, int], num_keypoints: int, config: MitPoseConfig, form: Form
    ) -> None:
        super().__init__()
        parts = PARTS[form]
        fine, middle, coarse = config.widths
        self.stem = nn.Sequential(
            conv_bn(3, fine // 2, 3, stride=2), conv_bn(fine // 2, fine, 3, stride=2)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(SCBlock(width, parts, grn=grn) for _ in range(count)))
            for width, count, grn in zip(config.widths, config.sc_blocks, parts.grn, strict=True)
        )
        self.down = nn.ModuleList(
            [conv_bn(fine, middle, 3, stride=2), conv_bn(middle, coarse, 3, stride=2)]
        )
        grid = (input_size[0] // 16, input_size[1] // 16)
        self.position = nn.Parameter(torch.empty(1, coarse, *grid))
        self.blocks = nn.Sequential(
            *(parts.block(coarse, config.heads, parts) for _ in range(config.depth))
        )
        self.norm = parts.final_norm(coarse)
        self.decoder = nn.ModuleList(
            [
                DecoderStep(coarse, middle, config.decoder[0]),
                DecoderStep(config.decoder[0], fine, config.decoder[1]),
            ]
        )
        self.head = nn.Conv2d(config.decoder[1], num_keypoints, 1)
        self._initialise()

    def _initialise(self) -> None:
        initialise_convs(self)
        nn.init.trunc_normal_(self.position, std=0.02)
        for module in self.modules():
            if isinstance(module, (TokenAttention, MapAttention)):
                initialise_projection(module.qkv)
                initialise_projection(module.project)
            elif isinstance(module, (SCBlock, Local)):
                initialise_projection(module.project)
        nn.init.normal_(self.head.weight, std=0.001)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images (B, 3, H, W) to ``heatmaps`` (B, K, H/4, W/4)."""
        fine = self.stages[0](self.stem(images))  # (B, 64, H/4, W/4)
        middle = self.stages[1](self.down[0](fine))  # (B, 128, H/8, W/8)
        coarse = self.stages[2](self.down[1](middle))  # (B, 256, H/16, W/16)
        coarse = self.norm(self.blocks(coarse + self.position))
        x = self.decoder[0](coarse, middle)
        x = self.decoder[1](x, fine)
        return {"heatmaps": self.head(x)}


def mitpose_lite(
    input_size: tuple[int, int], num_keypoints: int, *, form: Form = "edge"
) -> MitPose:
    """The edge-sized net in one of its two forms."""
    return MitPose(input_size, num_keypoints, MitPoseConfig(), form)
