from __future__ import annotations

import pytest
import torch

from edgepose.errors import InputError
from edgepose.models import REGISTRY
from edgepose.models.cost import cost_of
from tests.models.helpers import count_macs, count_params


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("name", ["mgil-w32-32", "mitpose-lite-ref@64x48"])
def test_the_parts_add_up(name: str, depth: int) -> None:
    cost = cost_of(name, depth)
    assert sum(p.params for p in cost.parts) == cost.params
    assert sum(p.gmacs for p in cost.parts) == pytest.approx(cost.gmacs, rel=1e-9)
    assert len({p.name for p in cost.parts}) == len(cost.parts)
    assert all(p.params >= 0 and p.gmacs >= 0 for p in cost.parts)


def test_totals_are_those_of_the_model() -> None:
    cost = cost_of("mgil-w32-32")
    entry = REGISTRY["mgil-w32-32"]
    assert cost.input_size == (32, 32)
    assert cost.params == cost.trainable == entry.params
    assert cost.gmacs == pytest.approx(entry.gmacs, rel=1e-3)


def test_a_part_costs_what_it_costs_alone() -> None:
    from edgepose.models.mgil import MGIL

    stem = {p.name: p for p in cost_of("mgil-w32-32", depth=3).parts}["trunk.stem.0"]
    with torch.device("meta"):
        block = MGIL(3, 64)
    assert (stem.kind, stem.params) == ("MGIL", count_params(block))
    assert stem.gmacs * 1e9 == pytest.approx(count_macs(block, 1, 3, 32, 32))


def test_another_size_costs_more() -> None:
    small, large = cost_of("mitpose-lite@64x48"), cost_of("mitpose-lite@128x96")
    assert 3.9 < large.gmacs / small.gmacs < 4.2


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean mitpose-lite"):
        cost_of("mitpose-light")
