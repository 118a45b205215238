from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgepose.export.rewrites.grn import GRN_SCALE, ScaleGRN
from edgepose.models.mitpose import PARTS, Local, SCBlock
from tests.export.rewrites.proof import operators, prove
from tests.export.tiny import lively


def test_in_local() -> None:
    x = torch.randn(2, 16, 8, 6)
    changed = prove(lively(Local(16, PARTS["edge"]), x), x, GRN_SCALE, places=1)
    found = operators(changed, x)
    assert not {"Pow", "ReduceL2", "ReduceSumSquare"} & set(found)


def test_in_an_sc_block() -> None:
    x = torch.randn(2, 16, 8, 6)
    prove(lively(SCBlock(16, PARTS["reference"], grn=True), x), x, GRN_SCALE, places=1)


def test_a_block_without_grn_is_left_alone() -> None:
    assert GRN_SCALE.apply(SCBlock(16, PARTS["edge"], grn=False)) == 0


def test_a_dead_channel_stays_finite() -> None:
    x = torch.zeros(1, 16, 8, 6)
    block = Local(16, PARTS["edge"]).eval()
    GRN_SCALE.apply(block)
    assert block(x).isfinite().all()


def fp16_sum(x: Tensor) -> Tensor:
    """Sum over the map as hardware does that keeps its sums in FP16, pairwise."""
    values = x.flatten(2)
    while values.shape[2] > 1:
        if values.shape[2] % 2:
            values = torch.cat([values, torch.zeros_like(values[:, :, :1])], dim=2)
        values = values[:, :, 0::2] + values[:, :, 1::2]
    return values


def test_fp16_does_not_overflow_where_plain_squares_do() -> None:
    x = (6 * torch.randn(2, 16, 64, 48)).half()
    assert fp16_sum(x * x).isinf().all()
    scaled = x * (64 * 48) ** -0.5
    energies = fp16_sum(scaled * scaled)
    assert energies.dtype == torch.float16
    assert 30 < float(energies.min()) < float(energies.max()) < 42

    gain = nn.Parameter(torch.randn(1, 16, 1, 1))
    with torch.no_grad():
        exact = ScaleGRN(nn.Parameter(gain.double()))(x.double())
        found = ScaleGRN(nn.Parameter(gain.half()))(x)
    assert found.isfinite().all()
    assert float((found - exact).abs().max() / exact.abs().max()) < 2e-3


@pytest.mark.parametrize("size", [(64, 48), (16, 12), (1, 1)])
def test_the_scale_changes_nothing(size: tuple[int, int]) -> None:
    """Against ConvNeXt V2's formula, unscaled, in FP64; channels from nearly dead to loud."""
    x = torch.randn(2, 12, *size).double() * torch.logspace(-6, 3, 12)[:, None, None]
    gain = nn.Parameter(torch.randn(1, 12, 1, 1).double())
    norm = (x**2).sum((2, 3), keepdim=True).sqrt()
    with torch.no_grad():
        expected = gain * x * norm / (norm.mean(1, keepdim=True) + 1e-6) + x
        torch.testing.assert_close(ScaleGRN(gain)(x), expected, rtol=1e-13, atol=0)


def test_it_is_exact_for_maps_that_are_almost_dead() -> None:
    """Where the denominator's 1e-6 counts, it has to be scaled too."""
    x = 1e-7 * torch.randn(2, 12, 8, 6).double()
    gain = nn.Parameter(torch.ones(1, 12, 1, 1).double())
    norm = (x**2).sum((2, 3), keepdim=True).sqrt()
    with torch.no_grad():
        expected = x * norm / (norm.mean(1, keepdim=True) + 1e-6) + x
        torch.testing.assert_close(ScaleGRN(gain)(x), expected, rtol=1e-13, atol=0)
