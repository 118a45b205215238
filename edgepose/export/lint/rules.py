"""Limits of an operator beyond being known: the words of the operator tables, as functions.

Each function here makes a :data:`Rule`: given a node and what surrounds it, it returns what is
wrong and what to do about it, or None. A rule judges only what it can see; where an extent or a
type is not known at export, it passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from edgepose.export.lint.view import Place

__all__ = [
    "Problem",
    "Rule",
    "absent",
    "all_axes",
    "at_most",
    "branches_differ",
    "constant",
    "false",
    "one_of",
    "ones",
    "outputs",
    "plain_einsum",
    "rank",
    "symmetric_pads",
    "zero",
]


class Problem(NamedTuple):
    """What is wrong with a node, and what to do about it."""

    text: str
    hint: str


Rule = Callable[[Place], Problem | None]


def outputs(count: int, hint: str) -> Rule:
    """Only the first ``count`` outputs."""

    def rule(place: Place) -> Problem | None:
        extra = [i for i, name in enumerate(place.node.output) if name and i >= count]
        if not extra:
            return None
        return Problem(f"its {_output_name(place, extra[0])} output is not supported", hint)

    return rule


def absent(*indices: int, hint: str) -> Rule:
    """Without these optional inputs."""

    def rule(place: Place) -> Problem | None:
        given = [i for i in indices if place.input(i)]
        if not given:
            return None
        return Problem(f"its {_input_name(place, given[0])} input is not supported", hint)

    return rule


def constant(*indices: int) -> Rule:
    """These inputs are known when the engine is built."""

    def rule(place: Place) -> Problem | None:
        computed = [i for i in indices if not place.constant(i)]
        if not computed:
            return None
        return Problem(
            f"its {_input_name(place, computed[0])} input is computed",
            "make it a constant: a plain number in forward(), not one taken from a tensor",
        )

    return rule


def one_of(name: str, default: Any, *allowed: Any, hint: str) -> Rule:
    """An attribute has one of the values; the default is what ONNX says when it is left out."""

    def rule(place: Place) -> Problem | None:
        value = place.attribute(name, default)
        return None if value in allowed else Problem(f"{name} is {_shown(value)}", hint)

    return rule


def ones(name: str, hint: str) -> Rule:
    """An attribute is left out or holds ones."""

    def rule(place: Place) -> Problem | None:
        value = list(place.attribute(name, ()))
        if all(v == 1 for v in value):
            return None
        return Problem(f"{name} is {_shown(value)}, not ones", hint)

    return rule


def rank(lowest: int, highest: int, *, index: int = 0, hint: str) -> Rule:
    """An input has so many axes, batch and channels included."""

    def rule(place: Place) -> Problem | None:
        found = place.rank(index)
        if found is None or lowest <= found <= highest:
            return None
        wanted = str(lowest) if lowest == highest else f"{lowest} to {highest}"
        name = _input_name(place, index)
        return Problem(f"its {name} input has {found} axes, not {wanted}", hint)

    return rule


def zero(index: int) -> Rule:
    """A zero point is left out, or a constant of zeros (symmetric quantization)."""

    def rule(place: Place) -> Problem | None:
        values = place.numbers(index)
        if not place.input(index) or (values is not None and not values.any()):
            return None
        return Problem(
            f"its {_input_name(place, index)} is not zero",
            "quantize symmetrically: signed numbers, zero point 0",
        )

    return rule


def false(index: int, hint: str) -> Rule:
    """A switch among the inputs is left out, or a constant that is off."""

    def rule(place: Place) -> Problem | None:
        values = place.numbers(index)
        if not place.input(index) or (values is not None and not values.any()):
            return None
        return Problem(f"its {_input_name(place, index)} input is not false", hint)

    return rule


def at_most(index: int, limit: int) -> Rule:
    """A constant count does not exceed the limit."""

    def rule(place: Place) -> Problem | None:
        values = place.numbers(index)
        if values is None or values.size == 0 or values.max() <= limit:
            return None
        name = _input_name(place, index)
        return Problem(f"{name} is {values.max()}, above {limit}", "take fewer at a time")

    return rule


def all_axes(name: str) -> Rule:
    """A list of axes is left out, or names all of the first input's in their order."""

    def rule(place: Place) -> Problem | None:
        axes = place.attribute(name)
        if axes is None or list(axes) == list(range(place.rank(0) or len(axes))):
            return None
        return Problem(f"{name} is {_shown(axes)}, not every axis", "give a scale for every axis")

    return rule


def plain_einsum(place: Place) -> Problem | None:
    """No ellipsis, no diagonal, no broadcasting between the inputs."""
    terms = str(place.attribute("equation", "")).replace(" ", "").split("->")[0].split(",")
    hint = "write it with matmul, transpose and reshape"
    if any("." in term for term in terms):
        return Problem("its equation has an ellipsis", hint)
    if any(len(set(term)) < len(term) for term in terms):
        return Problem("its equation takes a diagonal", hint)
    extents: dict[str, int] = {}
    for index, term in enumerate(terms):
        shape = place.values.shapes.get(place.input(index), ())
        for letter, extent in zip(term, shape, strict=False):
            if extent is not None and extents.setdefault(letter, extent) != extent:
                return Problem(f"its inputs broadcast along '{letter}'", hint)
    return None


def symmetric_pads(place: Place) -> Problem | None:
    """As much padding at the end of an axis as at its beginning."""
    pads = list(place.attribute("pads", ()))
    half = len(pads) // 2
    if pads[:half] == pads[half:]:
        return None
    return Problem(f"pads is {_shown(pads)}, other at the end than at the beginning", "pad before")


def branches_differ(place: Place) -> Problem | None:
    """The two branches of an If name their outputs differently."""
    names = [
        {output.name for output in place.attribute(branch).output}
        for branch in ("then_branch", "else_branch")
    ]
    shared = sorted(names[0] & names[1])
    if not shared:
        return None
    return Problem(f"both branches call an output '{shared[0]}'", "compute both, choose with where")


def _input_name(place: Place, index: int) -> str:
    return _formal(place, index, "inputs") or f"{index + 1}th"


def _output_name(place: Place, index: int) -> str:
    return _formal(place, index, "outputs") or f"{index + 1}th"


def _formal(place: Place, index: int, side: str) -> str:
    schema = place.schema()
    formal = getattr(schema, side) if schema else []
    return str(formal[index].name) if index < len(formal) else ""


def _shown(value: Any) -> str:
    if isinstance(value, (int, float, str)):
        return f"'{value}'" if isinstance(value, str) else str(value)
    return str(list(value))
