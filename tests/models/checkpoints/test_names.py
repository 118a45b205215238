from __future__ import annotations

import torch

from edgepose.models.checkpoints.names import (
    partition,
    relabelled,
    renamed,
    thirds,
    under,
    unwrapped,
)

RULES = {r"stem\.(\d)": r"first.\1", "stem": "whole"}


def test_a_rule_names_a_layer_and_keeps_what_follows() -> None:
    assert renamed("stem.3.weight", RULES) == "first.3.weight"
    assert renamed("stem.running_mean", RULES) == "whole.running_mean"
    for other in ("stem.3.4.weight", "the.stem.weight", "stem.x.bias", "stem"):
        assert renamed(other, RULES) is None


def test_unknown_names_are_passed_on() -> None:
    a, b = torch.zeros(1), torch.ones(1)
    tensors = {"stem.weight": a, "experts.0.weight": b}
    assert partition(tensors, RULES) == ({"whole.weight": a}, {"experts.0.weight": b})
    assert relabelled(tensors, RULES) == {"whole.weight": a, "experts.0.weight": b}
    assert under("trunk", {"whole.weight": a}) == {"trunk.whole.weight": a}


def test_the_wrapper_of_several_devices_is_taken_away() -> None:
    tensors = {"module.a.weight": torch.zeros(1), "module.b.weight": torch.ones(1)}
    assert set(unwrapped(tensors)) == {"a.weight", "b.weight"}


def test_a_module_that_is_called_module_stays() -> None:
    tensors = {"module.a.weight": torch.zeros(1), "b.weight": torch.ones(1)}
    assert set(unwrapped(tensors)) == set(tensors)


def test_missing_counters_are_added_and_others_kept() -> None:
    tensors = {
        "old.running_mean": torch.zeros(2),
        "new.running_mean": torch.zeros(2),
        "new.num_batches_tracked": torch.tensor(7),
    }
    completed = unwrapped(tensors)
    assert completed["old.num_batches_tracked"] == 0
    assert completed["new.num_batches_tracked"] == 7
    assert completed["old.num_batches_tracked"].dtype == torch.int64
    assert "old.num_batches_tracked" not in tensors


def test_a_joint_tensor_has_three_parts_or_none() -> None:
    joint = torch.arange(12).reshape(6, 2)
    assert [part.flatten().tolist() for part in thirds(joint)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]
    assert [len(part) for part in thirds(torch.zeros(3))] == [1, 1, 1]
    for other in (torch.zeros(()), torch.zeros(4, 2), torch.zeros(2)):
        assert not thirds(other)
