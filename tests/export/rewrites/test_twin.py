from __future__ import annotations

import pytest
import torch

from edgepose.export.rewrites import rewritten
from edgepose.export.rewrites.twin import TWIN, PlainTwinEncoder
from edgepose.models.vttranspose import TwinEncoder
from tests.export.rewrites.proof import operators, prove
from tests.export.tiny import lively

DEPTH = 2


def encoder(heads: int, x: torch.Tensor) -> TwinEncoder:
    """An encoder whose attention and tables matter: fresh ones hardly change the map."""
    found = TwinEncoder(x.shape[1], (x.shape[2], x.shape[3]), depth=DEPTH, heads=heads, dropout=0.1)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if name.endswith(("q.weight", "kv.weight", "table")):
                parameter.normal_(0, 0.5)
    lively(found, x)
    return found


@pytest.mark.parametrize("heads", [1, 4])
def test_columns_and_rows_as_they_lie(heads: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 9, 5)
    literal = encoder(heads, x)
    changed = prove(literal, x, TWIN, places=1)
    assert isinstance(changed.get_submodule("0"), PlainTwinEncoder)
    found = operators(changed, x)
    assert found["MatMul"] == DEPTH * 2 * (4 + 2)  # q, k, v, out and the two products
    assert found["Softmax"] == DEPTH * 2
    # No copies of parts, no regrouping by computed shapes, no scale.
    assert not {"Einsum", "Mul", "Split", "Slice", "Gather", "Shape", "Expand"} & set(found)
    if heads == 1:
        assert found["Reshape"] == 0
        # One into columns, one back to the map, three a layer, and the keys' in both its products.
        assert found["Transpose"] == 2 + DEPTH * (3 + 2)
        before = operators(literal, x)
        assert (before["Einsum"], before["Mul"]) == (DEPTH * 2 * 2, DEPTH * 2)


def test_columns_are_not_taken_for_rows_on_a_square_map() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 6, 6)  # where no shape would betray it
    literal = encoder(1, x)
    prove(literal, x, TWIN, places=1)
    with torch.no_grad():
        turned = literal(x.transpose(2, 3)).transpose(2, 3)
        assert (turned - literal(x)).abs().max() > 0.1  # the proof above can tell them apart


def test_one_person_or_several_at_any_batch() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 16, 5, 7)
    plain, _ = rewritten(torch.nn.Sequential(encoder(1, x)), [TWIN])
    with torch.no_grad():
        torch.testing.assert_close(plain(x[1:2]), plain(x)[1:2])
