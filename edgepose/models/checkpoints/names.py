"""What the names in published checkpoints have in common, whatever the family."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["bottlenecks", "partition", "relabelled", "renamed", "thirds", "under", "unwrapped"]

_WRAPPER = "module."
_COUNTER = "num_batches_tracked"


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors as a plain module of today would have saved them.

    The prefix that ``DataParallel`` puts ahead of every name is taken away. BatchNorm layers saved
    before PyTorch 0.4.1 lack the counter of their batches; it gets 0, which nothing reads while a
    momentum is set.
    """
    wrapped = bool(tensors) and all(name.startswith(_WRAPPER) for name in tensors)
    plain = {name[len(_WRAPPER) if wrapped else 0 :]: t for name, t in tensors.items()}
    for name in list(plain):
        layer, dot, last = name.rpartition(".")
        if last == "running_mean":
            plain.setdefault(f"{layer}{dot}{_COUNTER}", torch.tensor(0))
    return plain


def renamed(name: str, rules: Mapping[str, str]) -> str | None:
    """A tensor's name after the first rule that fits, None where none does.

    Args:
        name: As the authors call it.
        rules: What a layer's name must be as a whole (a regular expression), to what it becomes (a
            template for its groups). What follows the layer (``.weight``, ``.running_mean``, ...)
            is kept.
    """
    layer, _, last = name.rpartition(".")
    for pattern, template in rules.items():
        match = re.fullmatch(pattern, layer)
        if match is not None:
            return f"{match.expand(template)}.{last}"
    return None


def partition(
    tensors: Mapping[str, Tensor], rules: Mapping[str, str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors that the rules know, by their new names, and the others as they are.

    Args:
        tensors: By the authors' names.
        rules: As in :func:`renamed`.
    """
    known: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ours = renamed(name, rules)
        if ours is None:
            rest[name] = tensor
        else:
            known[ours] = tensor
    return known, rest


def relabelled(tensors: Mapping[str, Tensor], rules: Mapping[str, str]) -> dict[str, Tensor]:
    """All tensors, by their new names where the rules know them."""
    known, rest = partition(tensors, rules)
    return known | rest


def thirds(joint: Tensor) -> tuple[Tensor, ...]:
    """Queries', keys' and values' parts of a joint tensor, nothing where it has no such parts."""
    return joint.chunk(3) if joint.ndim and len(joint) % 3 == 0 else ()


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a module as those of the ``prefix`` attribute of another."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def bottlenecks(theirs: str, ours: str) -> dict[str, str]:
    """Rules for a sequence of bottlenecks (HRNet's layer1, all four layers of a ResNet).

    Args:
        theirs: Its name, a regular expression without groups.
        ours: Its name here.
    """
    layers = {
        "conv1": "reduce.0",
        "bn1": "reduce.1",
        "conv2": "conv.0",
        "bn2": "conv.1",
        "conv3": "expand.0",
        "bn3": "expand.1",
        r"downsample\.0": "skip.0",
        r"downsample\.1": "skip.1",
    }
    return {rf"{theirs}\.(\d+)\.{a}": rf"{ours}.\1.{b}" for a, b in layers.items()}
