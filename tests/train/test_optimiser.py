from __future__ import annotations

import torch

from edgepose.models import build
from edgepose.train.optimiser import make_optimiser, transfer_state
from edgepose.train.recipe import Recipe
from tests.train.helpers import TinyNet


def test_only_kernels_decay():
    net = build("mitpose-lite", (32, 32))
    optimiser = make_optimiser(net, Recipe(epochs=1, weight_decay=0.1))
    decay = {id(p): g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
    names = dict(net.named_parameters())
    assert len(decay) == len(names)
    for name, parameter in names.items():
        plain = name == "position" or sum(v > 1 for v in parameter.shape) <= 1
        assert decay[id(parameter)] == (0.0 if plain else 0.1), name
    assert decay[id(names["head.weight"])] == 0.1
    assert decay[id(names["head.bias"])] == 0.0


def test_moments_are_carried_where_shapes_agree():
    recipe = Recipe(epochs=1)
    old, new = TinyNet((64, 48)), TinyNet((32, 32))
    source, target = make_optimiser(old, recipe), make_optimiser(new, recipe)
    sum(v.sum() for v in old(torch.randn(2, 3, 64, 48)).values()).backward()
    source.step()
    transfer_state(source, old, target, new)
    carried = target.state[new.stem.weight]
    assert torch.equal(carried["exp_avg"], source.state[old.stem.weight]["exp_avg"])
    assert carried["exp_avg"] is not source.state[old.stem.weight]["exp_avg"]
    assert new.position not in target.state
