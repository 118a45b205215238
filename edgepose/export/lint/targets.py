"""The runtimes that an artefact can be held to."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgepose.errors import InputError
from edgepose.export.lint.rules import Rule
from edgepose.export.lint.tables import ort, trt_8_6, trt_10, trt_11, trt_rtx
from edgepose.export.opset import DEFAULT_OPSET, INT8_FP16_OPSET, OPSETS, check_opset

__all__ = ["TARGETS", "Target", "choose_opset", "find_target"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a runtime reads. The modules of ``tables`` say where each table is from.

    Attributes:
        name: As typed after ``--target``.
        title: As said in messages.
        opsets: Operator sets it reads.
        default_opset: What is exported for it unless asked otherwise.
        operators: Element types of its operators' data, by operator; None where not judged.
        rules: Further limits, by operator.
        types: Element types that values may have; None where not judged.
        domains: Domains whose operators it brings beside the standard one; its own to judge.
        max_ir: Newest file format it reads; None where it does not look.
        max_rank: Most axes that a value may have; None for any number.
        binds_int64: Whether inputs and outputs of 64 bit integers are such when it runs.
        inferred: The table is read off a neighbouring version.
    """

    name: str
    title: str
    opsets: range
    default_opset: int = DEFAULT_OPSET
    operators: Mapping[str, frozenset[str] | None]
    rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    types: frozenset[str] | None = None
    domains: frozenset[str] = frozenset()
    max_ir: int | None = None
    max_rank: int | None = None
    binds_int64: bool = True
    inferred: bool = False


_KNOWN = (
    Target(
        name="trt-8.6",
        title="TensorRT 8.6",
        opsets=range(9, 18),
        default_opset=17,
        operators=trt_8_6.OPERATORS,
        rules=trt_8_6.RULES,
        types=trt_8_6.TYPES,
        max_rank=8,
        binds_int64=False,
    ),
    Target(
        name="trt-10",
        title="TensorRT 10",
        opsets=range(9, 21),
        operators=trt_10.OPERATORS,
        rules=trt_10.RULES,
        types=trt_10.TYPES,
        max_rank=8,
    ),
    Target(
        name="trt-11",
        title="TensorRT 11",
        opsets=range(9, 26),
        operators=trt_11.OPERATORS,
        rules=trt_11.RULES,
        types=trt_11.TYPES,
        max_rank=8,
        inferred=True,
    ),
    Target(
        name="trt-rtx",
        title="TensorRT-RTX",
        opsets=range(9, 26),
        operators=trt_rtx.OPERATORS,
        rules=trt_rtx.RULES,
        types=trt_rtx.TYPES,
        max_rank=8,
    ),
    Target(
        name="ort",
        title="onnxruntime",
        opsets=range(7, 21),
        operators=ort.OPERATORS,
        domains=frozenset({"com.microsoft"}),
        max_ir=9,
    ),
)

TARGETS: dict[str, Target] = {target.name: target for target in _KNOWN}


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        InputError: There is none; names the nearest.
    """
    if name in TARGETS:
        return TARGETS[name]
    near = difflib.get_close_matches(name, TARGETS, n=1, cutoff=0.4)
    raise InputError(
        f"unknown target '{name}'",
        f"known are {', '.join(TARGETS)}",
        f"did you mean --target {near[0]}?" if near else None,
    )


def choose_opset(opset: int | None, target: Target | None, precision: str = "fp32") -> int:
    """The operator set to export: what was asked for, else the target's default.

    Args:
        opset: As asked for.
        target: Runtime that has to read it.
        precision: What the graph will be converted to; ``int8-fp16`` needs 19, the first in which
            QuantizeLinear takes FP16.

    Raises:
        InputError: edgepose does not write it, the target does not read it, or the precision cannot
            be said in it.
    """
    least = INT8_FP16_OPSET if precision == "int8-fp16" else OPSETS[0]
    if opset is None:
        opset = max(least, target.default_opset if target else DEFAULT_OPSET)
    check_opset(opset)
    if opset < least:
        raise InputError(
            f"{precision} cannot be written in operator set {opset}",
            f"QuantizeLinear takes FP16 from operator set {least} on",
            f"--opset {least}, or --precision int8",
        )
    if target is not None and opset not in target.opsets:
        raise InputError(
            f"{target.title} does not read operator set {opset}",
            f"it reads {target.opsets[0]} to {target.opsets[-1]}",
            f"--opset {target.default_opset}, or leave --opset out"
            if target.default_opset >= least
            else "--precision int8, the form of INT8 that it reads",
        )
    return opset
