from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from edgepose.export.rewrites import REWRITES, rewritten
from edgepose.export.rewrites.scconv import SCCONV, HalvesThresholdSRU
from edgepose.models.mitpose import PARTS, SCBlock, ThresholdSRU
from edgepose.models.mitpose_b import SCConv
from tests.export.rewrites.proof import operators, prove
from tests.export.tiny import lively


@pytest.mark.parametrize("form", ["edge", "reference"])
def test_sru_and_cru_without_joining(form: str) -> None:
    x = torch.randn(2, 32, 8, 6)
    block = lively(SCBlock(32, PARTS[form], grn=False), x)  # type: ignore[index]
    changed = prove(block, x, SCCONV, places=1)
    if form == "edge":
        # Left are the cheap path's own and the one of the 2C channel means.
        assert operators(changed, x)["Concat"] == 2


def test_in_mitpose_b() -> None:
    x = torch.randn(2, 32, 16, 12)
    changed = prove(lively(SCConv(32), x), x, SCCONV, places=1)
    norm = changed[0].sru.norm  # type: ignore[index,union-attr]
    assert isinstance(norm, nn.GroupNorm)
    found = operators(changed, x)
    # The norm's own scale and shift, x times the gate, two shares: none for the gate's weights.
    assert (found["Mul"], found["Sigmoid"], found["Greater"]) == (4, 1, 1)
    assert not {"ReduceSum", "Div", "Expand", "Shape"} & set(found)


def test_the_threshold_holds_in_fp16_where_the_sigmoid_rounds_to_one_half() -> None:
    sru = ThresholdSRU(8)
    with torch.no_grad():
        sru.norm.weight.fill_(8e-4)  # an eighth of it, 1e-4, times what has deviation 1
    halves = HalvesThresholdSRU(sru)
    x = torch.randn(2, 8, 16, 12)
    with torch.no_grad():
        above = halves.norm(x) > 0
        assert 0.4 < above.float().mean() < 0.6
        half = copy.deepcopy(halves).half()
        assert ((half.norm(x.half()) > 0) == above).float().mean() > 0.999
        gate = torch.sigmoid(half.norm(x.half()))
        assert ((gate > 0.5) == above).float().mean() < 0.9


def test_it_goes_with_the_other_rewrites() -> None:
    x = torch.randn(2, 32, 8, 6)
    block = lively(SCBlock(32, PARTS["reference"], grn=True), x).double()
    changed, applied = rewritten(torch.nn.Sequential(block), REWRITES)
    assert [a.name for a in applied] == ["batchnorm", "grn", "scconv", "gelu"]
    with torch.no_grad():
        torch.testing.assert_close(changed(x.double()), block(x.double()), rtol=1e-10, atol=1e-12)
