from __future__ import annotations

import torch

from edgepose.export.rewrites.grn import GRN_SCALE
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
