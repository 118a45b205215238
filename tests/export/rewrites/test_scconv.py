from __future__ import annotations

import pytest
import torch

from edgepose.export.rewrites import REWRITES, rewritten
from edgepose.export.rewrites.scconv import SCCONV
from edgepose.models.mitpose import PARTS, SCBlock
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


def test_it_goes_with_the_other_rewrites() -> None:
    x = torch.randn(2, 32, 8, 6)
    block = lively(SCBlock(32, PARTS["reference"], grn=True), x).double()
    changed, applied = rewritten(torch.nn.Sequential(block), REWRITES)
    assert [a.name for a in applied] == ["batchnorm", "grn", "scconv", "gelu"]
    with torch.no_grad():
        torch.testing.assert_close(changed(x.double()), block(x.double()), rtol=1e-10, atol=1e-12)
