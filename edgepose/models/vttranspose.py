"""VTTransPose (Li et al., Scientific Reports 14:7608, 2024): TransPose-H-S, made cheaper twice.

TransPose-H-S is the three-stage trunk of HRNet-W32 and four transformer layers in which every cell
of the 1/4 map attends to every other. Here each layer attends along the columns of the map and then
along its rows (twin attention, after SOTR), and the residual blocks of the trunk's coarsest branch
are V blocks, which see several receptive fields at once (after RSN).

The paper leaves much open. What is ours: the width of a V block's branches, where its norms and
activations stand, that no convolution in it has a bias; in a twin layer the order attention, sum,
LayerNorm, which layers have a bias, and one pair of position tables for all layers. As built, the
parameters are 2.8 % below the printed 6.0M. The printed 5.4 GFLOPs are what twin attention without
V blocks takes: V blocks do less than the blocks they replace.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgepose.errors import InputError
from edgepose.models.hrnet import THREE_STAGES, BlockMaker, HRNet, basic_block
from edgepose.models.layers import conv_bn, initialise_convs, initialise_projection

__all__ = [
    "AxisAttention",
    "DepthwiseSeparable",
    "TwinEncoder",
    "TwinLayer",
    "VBlock",
    "VTTransPose",
    "asymmetric",
    "v_width",
    "vttranspose",
]

Axis = Literal["column", "row"]

V_STAGE = 3
V_GROUPS = 4


def asymmetric(channels: int) -> nn.Sequential:
    """The V block's unit A: 3x1 and 1x3 convolution, BatchNorm, ReLU; a 3x3 receptive field."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, (3, 1), padding=(1, 0), bias=False),
        nn.Conv2d(channels, channels, (1, 3), padding=(0, 1), bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def v_width(channels: int) -> int:
    """Our choice for the channels of one branch of a V block: 26/64 of the block's, as in RSN.

    With it the model has the printed 6.0M parameters, if the baseline's frozen sine table is
    counted; a plain split into quarters would give 4.2M.
    """
    return channels * 26 // 64


class VBlock(nn.Module):
    """The residual block (B, C, H, W) -> (B, C, H, W) that looks through several windows at once.

    The input is projected and split in four. A pass from the first part to the last hands each
    result on to the next, a pass back likewise (eq. 4), so that the four results see windows of up
    to 15, 13, 11 and 9 cells (table 1). The smallest windows are 9, 7, 5 and 3. Those of the table
    (3, 5 and 7) would take a skip beside the pass back, which neither text nor equation has.

    Args:
        channels: C.
        width: Channels of one of the four parts; :func:`v_width` by default.
    """

    def __init__(self, channels: int, width: int | None = None) -> None:
        super().__init__()
        width = v_width(channels) if width is None else width
        self.split = conv_bn(channels, V_GROUPS * width, 1)
        self.there = nn.ModuleList(asymmetric(width) for _ in range(V_GROUPS))
        self.back = nn.ModuleList(asymmetric(width) for _ in range(V_GROUPS - 1))
        self.merge = conv_bn(V_GROUPS * width, channels, 1, activate=False)
        initialise_convs(self)
        # Silent at first, as every residual branch of the trunk.
        nn.init.zeros_(self.merge.get_parameter("1.weight"))

    def windows(self, parts: tuple[Tensor, ...]) -> list[Tensor]:
        """Parts a_1..a_4 (B, w, H, W) to results y_1..y_4 of the same shape.

        f_1 = A(a_1), f_k = A(a_k + f_(k-1)); y_4 = f_4, y_k = A(f_k + y_(k+1)).
        """
        there = [self.there[0](parts[0])]
        for part, unit in zip(parts[1:], self.there[1:], strict=True):
            there.append(unit(part + there[-1]))
        back = [there.pop()]
        for unit in self.back:
            back.append(unit(there.pop() + back[-1]))
        return back[::-1]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        parts = self.split(x).chunk(V_GROUPS, dim=1)  # 4 x (B, w, H, W)
        return F.relu(x + self.merge(torch.cat(self.windows(parts), dim=1)))


class AxisAttention(nn.Module):
    """Self-attention in which a cell sees its own column, or its own row, and nothing else.

    Args:
        channels: d.
        heads: Heads h; d is a multiple of it.
        axis: ``column``: each of the W columns is a sequence of H cells; ``row``: each of the H
            rows is one of W.
        dropout: Share of the attention weights dropped in training.

    The products take 2 d W H^2 or 2 d H W^2 multiply-adds, where attention over the whole map takes
    2 d (H W)^2.
    """

    # Cell (y, x) of a map asks the cells (z, x) of its column, or (y, z) of its row.
    _SCORES: ClassVar[dict[Axis, str]] = {
        "column": "byxhc,bzxhc->bxhyz",
        "row": "byxhc,byzhc->byhxz",
    }
    _MIXES: ClassVar[dict[Axis, str]] = {
        "column": "bxhyz,bzxhc->byxhc",
        "row": "byhxz,byzhc->byxhc",
    }

    def __init__(self, channels: int, heads: int, axis: Axis, *, dropout: float = 0.0) -> None:
        super().__init__()
        if channels % heads:
            raise AssertionError(f"{channels} channels do not split into {heads} heads")
        self.heads = heads
        self.axis = axis
        self.scale = (channels // heads) ** -0.5
        self.q = nn.Linear(channels, channels, bias=False)
        self.kv = nn.Linear(channels, 2 * channels, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(channels, channels)
        for layer in (self.q, self.kv, self.project):
            initialise_projection(layer)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, d) to the same shape."""
        q = self.q(x).unflatten(-1, (self.heads, -1))  # (B, H, W, h, d/h)
        k, v = self.kv(x).unflatten(-1, (2, self.heads, -1)).unbind(-3)  # 2 x (B, H, W, h, d/h)
        scores = torch.einsum(self._SCORES[self.axis], q, k) * self.scale
        shares = self.dropout(scores.softmax(dim=-1))  # (B, W, h, H, H) or (B, H, h, W, W)
        mixed = torch.einsum(self._MIXES[self.axis], shares, v)  # (B, H, W, h, d/h)
        projected: Tensor = self.project(mixed.flatten(-2))
        return projected


class DepthwiseSeparable(nn.Module):
    """Depthwise 3x3 convolution without bias, 1x1 convolution with one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        initialise_convs(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, H, W) to the same shape."""
        mixed: Tensor = self.pointwise(self.depthwise(x))
        return mixed


class TwinLayer(nn.Module):
    """One layer of the encoder on a map of cells (B, H, W, d).

    x1 = LN(x + column(x + P_col)), x2 = LN(x1 + row(x1 + P_row)),
    x3 = LN(x2 + DS(LeakyReLU(DS(x2)))): two depthwise-separable convolutions stand for the
    feed-forward net.

    Args:
        channels: d.
        heads: Heads of both attentions.
        dropout: On attention weights and on the three branches.
    """

    def __init__(self, channels: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.column = AxisAttention(channels, heads, "column", dropout=dropout)
        self.column_norm = nn.LayerNorm(channels)
        self.row = AxisAttention(channels, heads, "row", dropout=dropout)
        self.row_norm = nn.LayerNorm(channels)
        last = DepthwiseSeparable(channels)
        initialise_projection(last.pointwise)
        self.convs = nn.Sequential(DepthwiseSeparable(channels), nn.LeakyReLU(0.01), last)
        self.convs_norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, column_table: Tensor, row_table: Tensor) -> Tensor:
        """(B, H, W, d), with tables (1, d, H, 1) and (1, d, 1, W), to the same shape."""
        x = self.column_norm(x + self.dropout(self.column(x + _cells(column_table))))
        x = self.row_norm(x + self.dropout(self.row(x + _cells(row_table))))
        local = _cells(self.convs(x.permute(0, 3, 1, 2)))
        refined: Tensor = self.convs_norm(x + self.dropout(local))
        return refined


def _cells(x: Tensor) -> Tensor:
    """A map (B, d, H, W) as cells (B, H, W, d)."""
    return x.permute(0, 2, 3, 1)


class TwinEncoder(nn.Module):
    """The stack of twin layers and the position tables that they share.

    Args:
        channels: d.
        grid: (h, w) of the map.
        depth: Layers.
        heads: Heads of each attention.
        dropout: In the layers.
    """

    def __init__(
        self, channels: int, grid: tuple[int, int], *, depth: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.column_table = nn.Parameter(torch.empty(1, channels, grid[0], 1))
        self.row_table = nn.Parameter(torch.empty(1, channels, 1, grid[1]))
        self.layers = nn.ModuleList(
            TwinLayer(channels, heads, dropout=dropout) for _ in range(depth)
        )
        for table in (self.column_table, self.row_table):
            nn.init.normal_(table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, h, w) to the same shape."""
        x = _cells(x)  # (B, h, w, d)
        for layer in self.layers:
            x = layer(x, self.column_table, self.row_table)
        return x.permute(0, 3, 1, 2)


class VTTransPose(nn.Module):
    """HRNet-S with V blocks, the encoder at a quarter of the images' resolution, a 1x1 convolution.

    Args:
        input_size: (height, width), multiples of 16.
        num_keypoints: K.
        width: HRNet's width.
        make_block: Maker of its residual blocks.
        channels: d of the encoder.
        depth: Its layers.
        heads: Its attention heads.
        dropout: In its layers.

    Attributes:
        position_tables: Parameters (1, d, h, w) that follow the input size; see ``load_weights``.
    """

    position_tables: ClassVar[tuple[str, ...]] = ("encoder.column_table", "encoder.row_table")

    def __init__(
        self,
        input_size: tuple[int, int],
        num_keypoints: int,
        *,
        width: int,
        make_block: BlockMaker,
        channels: int,
        depth: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        grid = (input_size[0] // 4, input_size[1] // 4)
        self.trunk = HRNet(width, THREE_STAGES, make_block=make_block)
        self.reduce = nn.Conv2d(width, channels, 1, bias=False)
        self.encoder = TwinEncoder(channels, grid, depth=depth, heads=heads, dropout=dropout)
        self.head = nn.Conv2d(channels, num_keypoints, 1)
        for layer in (self.reduce, self.head):
            initialise_convs(layer)
        nn.init.normal_(self.head.weight, std=0.001)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images (B, 3, H, W) to ``heatmaps`` (B, K, H/4, W/4)."""
        return {"heatmaps": self.head(self.encoder(self.reduce(self.trunk(images))))}


def vttranspose(
    input_size: tuple[int, int],
    num_keypoints: int,
    *,
    width: int = 32,
    v_branch: int | None = 2,
    v_channels: int | None = None,
    channels: int = 64,
    depth: int = 4,
    heads: int = 1,
    dropout: float = 0.1,
) -> VTTransPose:
    """VTTransPose; the defaults are the paper's where it says them.

    The text keeps TransPose-H-S's setting for the encoder, so that d, depth, heads and dropout are
    those of :func:`edgepose.models.transpose.transpose`.

    Args:
        input_size: (height, width), multiples of 16.
        num_keypoints: K.
        width: Channels of the trunk's finest branch.
        v_branch: Branch of stage 3, from 0 (the finest) to 2, whose residual blocks are V blocks;
            the paper takes the third. None: no V blocks, as in its ablation.
        v_channels: Channels of one part of a V block; :func:`v_width` by default.
        channels: d of the encoder.
        depth: Its layers.
        heads: Its attention heads.
        dropout: In its layers.

    Raises:
        InputError: There is no such branch.
    """
    if v_branch is not None and not 0 <= v_branch <= len(THREE_STAGES):
        raise InputError(
            f"branch {v_branch} cannot have V blocks",
            f"stage {V_STAGE} has the branches 0 to {len(THREE_STAGES)}",
            "v_branch=2, as in the paper",
        )
    return VTTransPose(
        input_size,
        num_keypoints,
        width=width,
        make_block=_v_blocks_on(v_branch, v_channels),
        channels=channels,
        depth=depth,
        heads=heads,
        dropout=dropout,
    )


def _v_blocks_on(v_branch: int | None, v_channels: int | None) -> BlockMaker:
    def make(channels: int, *, stage: int, branch: int) -> nn.Module:
        if stage == V_STAGE and branch == v_branch:
            return VBlock(channels, v_channels)
        return basic_block(channels, stage=stage, branch=branch)

    return make
