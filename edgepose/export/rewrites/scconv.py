"""SRU and CRU without putting maps together only to take them apart again.

SRU ends by joining two halves, CRU begins by splitting there: the halves are handed over as they
are. With the smooth gate hi + lo = x, so that the crossed sums hi_a + lo_b and hi_b + lo_a are
x_b + d and x_a - d with d = hi_a - hi_b: half the arithmetic, and lo is never computed.

With the threshold, the gate's weights gamma / sum(gamma) are constants: multiplied into the norm's
own, they cost nothing. And sigmoid(s) > 1/2 is asked as s > 0, which FP16 answers for every s (its
sigmoid is 1/2 up to s = 1e-3; in FP32 the two questions differ for s below 1.2e-7 only).

CRU joins its two paths, weighs the result and adds its halves. The paths are weighed as they are;
only the 2C channel means are joined, for the softmax.

Considered and left out, since they cost more than they save (onnxruntime, one thread, 64 to 256
channels): the exchange of halves absorbed into CRU's first 1x1 layers (twice their work on twice
the input), the group convolution and its 1x1 as one dense 3x3, the identity rows of the cheap path
as weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgepose.export.rewrites._base import Rewrite
from edgepose.models.mitpose import CRU, SCBlock, SmoothSRU, ThresholdSRU
from edgepose.models.mitpose_b import SCConv

__all__ = ["SCCONV", "HalvesCRU", "HalvesSmoothSRU", "HalvesThresholdSRU"]

Halves = tuple[Tensor, Tensor]


class HalvesSmoothSRU(nn.Module):
    """:class:`SmoothSRU` that returns the two halves of its result."""

    def __init__(self, sru: SmoothSRU) -> None:
        super().__init__()
        self.norm = sru.norm

    def forward(self, x: Tensor) -> Halves:
        """(B, C, H, W) to two of (B, C/2, H, W)."""
        a, b = x.chunk(2, dim=1)
        hi_a, hi_b = (torch.sigmoid(self.norm(x)) * x).chunk(2, dim=1)
        difference = hi_a - hi_b
        return b + difference, a - difference


class HalvesThresholdSRU(nn.Module):
    """:class:`ThresholdSRU` that returns the two halves of its result."""

    def __init__(self, sru: ThresholdSRU) -> None:
        super().__init__()
        self.norm = _scoring(sru.norm)

    def forward(self, x: Tensor) -> Halves:
        """(B, C, H, W) to two of (B, C/2, H, W)."""
        score = self.norm(x)
        above = score > 0
        gated = torch.sigmoid(score) * x
        hi_a, hi_b = torch.where(above, x, gated).chunk(2, dim=1)
        lo_a, lo_b = torch.where(above, 0.0, gated).chunk(2, dim=1)
        return hi_a + lo_b, hi_b + lo_a


class HalvesCRU(nn.Module):
    """:class:`CRU` that takes the two halves and weighs its two paths apart."""

    def __init__(self, cru: CRU) -> None:
        super().__init__()
        self.squeeze_upper = cru.squeeze_upper
        self.squeeze_lower = cru.squeeze_lower
        self.upper_group = cru.upper_group
        self.upper_point = cru.upper_point
        self.lower_point = cru.lower_point

    def forward(self, halves: Halves) -> Tensor:
        """Two of (B, C/2, H, W) to (B, C, H, W)."""
        upper, lower = self.squeeze_upper(halves[0]), self.squeeze_lower(halves[1])
        rich = self.upper_group(upper) + self.upper_point(upper)
        cheap = torch.cat([self.lower_point(lower), lower], dim=1)
        means = [path.mean((2, 3), keepdim=True) for path in (rich, cheap)]
        rich_share, cheap_share = torch.cat(means, dim=1).softmax(dim=1).chunk(2, dim=1)
        weighted: Tensor = rich * rich_share + cheap * cheap_share
        return weighted


@torch.no_grad()
def _scoring(norm: nn.GroupNorm) -> nn.GroupNorm:
    """The norm with its result's weights gamma / sum(gamma) multiplied into its own."""
    gamma, beta = norm.weight.double(), norm.bias.double()
    share = gamma / gamma.sum()
    scoring = nn.GroupNorm(norm.num_groups, norm.num_channels, eps=norm.eps)
    scoring = scoring.to(norm.weight.dtype)
    scoring.load_state_dict({"weight": gamma * share, "bias": beta * share})
    return scoring.eval()


def _apply(root: nn.Module) -> int:
    places = 0
    for module in root.modules():
        if isinstance(module, (SCBlock, SCConv)):
            sru = module.sru
            halves = HalvesSmoothSRU(sru) if isinstance(sru, SmoothSRU) else HalvesThresholdSRU(sru)
            module.add_module("sru", halves)
            module.add_module("cru", HalvesCRU(module.cru))
            places += 1
    return places


SCCONV = Rewrite("scconv", "SRU's halves handed straight to CRU, whose paths stay apart", _apply)
