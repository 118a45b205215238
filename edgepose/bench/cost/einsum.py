"""Multiply-adds of an Einsum: one for every combination of all its indices."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["Uncountable", "einsum_macs"]

_REST = "..."


class Uncountable(Exception):
    """What a node multiplies is not known; the message says why."""


def einsum_macs(equation: str, shapes: Sequence[tuple[int, ...]]) -> int:
    """Count.

    Args:
        equation: As ONNX has it, e.g. ``bhid,bhjd->bhij``; an ellipsis stands for further axes.
        shapes: Of the operands.

    Returns:
        0 for a single operand, which is only rearranged or summed.

    Raises:
        Uncountable: Three or more operands, whose order of multiplying is the runtime's choice.
    """
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    if len(terms) != len(shapes):
        raise Uncountable(f"the equation '{equation}' is not for {len(shapes)} operands")
    if len(shapes) == 1:
        return 0
    if len(shapes) > 2:
        raise Uncountable("a product of three or more operands, in an order that is not set")
    extents: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for label, size in zip(_labels(term, len(shape)), shape, strict=True):
            extents[label] = max(size, extents.get(label, 1))  # 1 is broadcast
    return math.prod(extents.values())


def _labels(term: str, rank: int) -> list[str]:
    """A name for each axis; those of an ellipsis are counted from its end, as they are aligned."""
    before, dots, after = term.partition(_REST)
    free = rank - len(before) - len(after) if dots else 0
    labels = [*before, *(f"{_REST}{free - i}" for i in range(free)), *after]
    if len(labels) != rank:
        raise Uncountable(f"'{term}' does not fit an operand of {rank} axes")
    return labels
