from __future__ import annotations

import pytest
import torch

from edgepose.export.rewrites.local import LOCAL
from edgepose.models.mitpose import PARTS, Local
from tests.export.rewrites.proof import operators, prove
from tests.export.tiny import lively


@pytest.mark.parametrize("form", ["edge", "reference"])
def test_three_kernels_and_a_skip_are_one(form: str) -> None:
    x = torch.randn(2, 16, 9, 7)
    changed = prove(lively(Local(16, PARTS[form]), x), x, LOCAL, places=1)  # type: ignore[index]
    if form == "edge":
        found = operators(changed, x)
        assert found["Conv"] == 3
        assert not {"Split", "Slice", "Concat"} & set(found)
