"""Holding every node of a graph to what a runtime reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from edgepose.errors import GraphError, LintError
from edgepose.export.lint.origin import origin_of, short_name
from edgepose.export.lint.targets import TARGETS, Target
from edgepose.export.lint.verdict import Verdict
from edgepose.export.lint.view import Place, numbers, places

__all__ = ["Finding", "Lint", "lint", "load", "refusal"]

_STANDARD = ("", "ai.onnx")
_INT32 = np.iinfo(np.int32)
# ONNX writes "to the end" as the largest number there is; what is clamped still means that.
_CLAMPED = {("Slice", 1), ("Slice", 2)}
# The type that an operator's table row speaks of, where it is not that of the first input.
_DATA_TYPE = {
    "Cast": ("T1", "T2"),
    "CastLike": ("T1", "T2"),
    "ConstantOfShape": ("T2",),
    "EyeLike": ("T1", "T2"),
    "If": ("V",),
    "Loop": ("V",),
    "OneHot": ("T3",),
    "Where": ("T",),
}
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a runtime does not read.

    Attributes:
        node: Name of the node, or of the input or output; empty for the file as a whole.
        op: Operator; ``input`` or ``output`` of the graph; empty for the file as a whole.
        module: PyTorch module, as ``decoder.0.unpool (MaxUnpool2d)``, where the export knew it.
        problem: What is wrong.
        hint: What to do about it.
    """

    node: str
    op: str
    module: str | None
    problem: str
    hint: str

    def __str__(self) -> str:
        if not self.op:
            return self.problem
        return self.label + (f" of {self.module}" if self.module else "") + f": {self.problem}"

    @property
    def label(self) -> str:
        """Operator and name of the node, without its module; empty for the file as a whole."""
        name = short_name(self.node)
        if not name or name.startswith(self.op):
            return name or self.op
        return f"{self.op} '{name}'"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "node": self.node,
            "op": self.op,
            "module": self.module,
            "problem": self.problem,
            "hint": self.hint,
        }


@dataclass(frozen=True, kw_only=True)
class Lint:
    """A graph held to a target; true where the target reads all of it.

    Attributes:
        target: The runtime.
        nodes: How many nodes were looked at.
        findings: What it does not read, the runtime's own complaints included.
        verdict: What the runtime itself says, where it is installed and can be asked.
    """

    target: Target
    nodes: int
    findings: tuple[Finding, ...]
    verdict: Verdict | None = None

    def __bool__(self) -> bool:
        return not self.findings and (self.verdict is None or self.verdict.supported)

    def with_verdict(self, verdict: Verdict | None) -> Lint:
        """The same, with what the runtime itself says of other nodes added."""
        known = {finding.node for finding in self.findings if finding.node}
        said = () if verdict is None else verdict.complaints
        complaints = tuple(
            Finding(
                node=complaint.node,
                op=complaint.op,
                module=_module(complaint.node),
                problem=complaint.text,
                hint=f"{self.target.title} itself says so; change that part of the module",
            )
            for complaint in said
            if complaint.node not in known
        )
        return replace(self, findings=self.findings + complaints, verdict=verdict)

    def summary(self) -> str:
        """The verdict in a line."""
        target = self.target
        if not self:
            return f"{target.title} does not read this graph of {self.nodes} nodes"
        basis = "by its table (inferred from 10.15)" if target.inferred else "by its table"
        line = f"{target.title} reads all {self.nodes} nodes {basis}"
        if self.verdict is not None:
            return f"{line}; {self.verdict.name} itself agrees"
        if target.name == "trt-rtx":
            return f'{line}; to have it asked itself: pip install "edgepose[rtx]"'
        return line

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "target": self.target.name,
            "inferred": self.target.inferred,
            "nodes": self.nodes,
            "findings": [finding.to_dict() for finding in self.findings],
            "parser": None if self.verdict is None else self.verdict.to_dict(),
        }


def lint(model: onnx.ModelProto, target: Target) -> Lint:
    """Hold every node to the target's table.

    Args:
        model: The graph; its weights may be in another file.
        target: The runtime.

    Returns:
        What the target does not read.

    Raises:
        GraphError: It is no valid ONNX.
    """
    spots = places(model)
    findings = [
        *_file(model, target),
        *_interface(model, target),
        *_long_constants(spots, target),
        *(finding for spot in spots for finding in _node(spot, target)),
    ]
    return Lint(target=target, nodes=len(spots), findings=tuple(findings))


def load(path: str | Path) -> onnx.ModelProto:
    """An ONNX file, from wherever, without the weights that it keeps in other files.

    Raises:
        GraphError: The file is missing or no ONNX.
    """
    path = Path(path)
    if not path.is_file():
        raise GraphError(f"there is no file {path}")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own class depends on its implementation
        raise GraphError(f"{path} is no ONNX file", str(error).strip()) from error
    if not model.graph.node:
        raise GraphError(f"{path} is no ONNX file", "there is no graph in it")
    return model


def refusal(model: onnx.ModelProto, result: Lint) -> LintError:
    """The error for a graph that its target does not read.

    Args:
        model: The graph, to see who else reads it.
        result: The failed lint.
    """
    target = result.target
    alike = Counter((f.op, f.problem) for f in result.findings)
    first = {(f.op, f.problem): f for f in reversed(result.findings)}
    shown = [
        str(first[key]) + (f" (and {count - 1} more like it)" if count > 1 else "")
        for key, count in alike.most_common(_SHOWN)
    ]
    if len(alike) > _SHOWN:
        shown.append(f"and {len(alike) - _SHOWN} other findings")
    basis = " (inferred from 10.15)" if target.inferred else ""
    told = first[alike.most_common(1)[0][0]].hint if alike else f"ask {target.title} itself why"
    readers = [t.name for t in TARGETS.values() if t != target and lint(model, t)]
    if readers:
        told += f"; this graph is read by --target {', '.join(readers)}"
    return LintError(
        f"{target.title}{basis} does not read this graph",
        "; ".join(shown) or "its parser refuses it without naming a node",
        told,
        lint=result,
    )


def _file(model: onnx.ModelProto, target: Target) -> Iterator[Finding]:
    for used in model.opset_import:
        if used.domain in _STANDARD and used.version not in target.opsets:
            yield _finding(
                f"the graph is of operator set {used.version}; {target.title} reads "
                f"{target.opsets[0]} to {target.opsets[-1]}",
                f"export it again with --opset {target.default_opset}",
            )
    if target.max_ir is not None and model.ir_version > target.max_ir:
        yield _finding(
            f"the file is of format {model.ir_version}; {target.title} reads up to {target.max_ir}",
            "export it again with an onnx that writes the older format",
        )


def _interface(model: onnx.ModelProto, target: Target) -> Iterator[Finding]:
    """Inputs and outputs of types that are not what they are called."""
    if target.binds_int64:
        return
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            if value.type.tensor_type.elem_type == TensorProto.INT64:
                yield _finding(
                    f"it is of 64 bit integers, which {target.title} takes and gives as 32 bit",
                    "cast it to 32 bit integers, or to floats, in the graph",
                    node=value.name,
                    op=kind,
                )


def _long_constants(spots: list[Place], target: Target) -> Iterator[Finding]:
    """Numbers that 32 bits do not hold, where the target holds 64 bit integers in them."""
    if target.types is None or "INT64" in target.types:
        return
    for spot in spots:
        for index, name in enumerate(spot.node.input):
            if spot.values.types.get(name) != "INT64" or (spot.node.op_type, index) in _CLAMPED:
                continue
            values = numbers(spot.values.constants.get(name))
            if values is not None and values.size:
                low, high = int(values.min()), int(values.max())
                if low < _INT32.min or high > _INT32.max:
                    reach = high if high > _INT32.max else low
                    yield _at(
                        spot,
                        f"a constant reaches {reach}, which {target.title} clamps to 32 bits",
                        "keep whole numbers within 32 bits",
                    )


def _node(spot: Place, target: Target) -> Iterator[Finding]:
    node = spot.node
    if node.domain not in _STANDARD:
        if node.domain not in target.domains:
            yield _at(
                spot,
                f"it is no standard operator, but of the domain '{node.domain}'",
                "write that part of the module in plain operators",
            )
        return
    if node.op_type not in target.operators:
        yield _at(
            spot,
            f"{target.title} has no {node.op_type}",
            "write that part of the module in other operators",
        )
        return
    mixed = _bytes(spot, target)
    yield from _types(spot, target) if mixed is None else (mixed,)
    if target.max_rank is not None:
        for name in [*node.input, *node.output]:
            shape = spot.values.shapes.get(name, ())
            if len(shape) > target.max_rank:
                yield _at(
                    spot,
                    f"'{name}' has {len(shape)} axes, more than {target.max_rank}",
                    "merge axes before that operation",
                )
                break
    for rule in target.rules.get(node.op_type, ()):
        problem = rule(spot)
        if problem is not None:
            yield _at(spot, problem.text, problem.hint)


def _types(spot: Place, target: Target) -> Iterator[Finding]:
    """Values of a type the target lacks altogether, else data of one that the operator lacks."""
    if target.types is None:
        return
    node, types = spot.node, spot.values.types
    held = {n: _held(types[n], target) for n in [*node.input, *node.output] if n in types}
    lacking = sorted({t for t in held.values() if t not in target.types})
    if lacking:
        rounded = ", which it would round to FP32" if lacking[0] == "FP64" else ""
        yield _at(
            spot,
            f"{target.title} has no {lacking[0]}{rounded}",
            "compute in float32: .float() where the other type comes in",
        )
        return
    allowed = target.operators[node.op_type]
    if allowed is None:
        return
    for name in _data(spot):
        if name in held and held[name] not in allowed:
            yield _at(
                spot,
                f"its data is {types[name]}; {target.title} has it for "
                f"{', '.join(sorted(allowed))}",
                "cast before that operation, e.g. with .float()",
            )
            return


def _bytes(spot: Place, target: Target) -> Finding | None:
    """Bytes may only come in from outside, or leave, and only a Cast touches them."""
    if target.types is None:
        return None
    node, values = spot.node, spot.values
    cast = node.op_type in ("Cast", "CastLike")
    for names, outside in ((node.input, values.inputs), (node.output, values.outputs)):
        for name in names:
            if values.types.get(name) == "UINT8" and not (cast and name in outside):
                return _at(
                    spot,
                    f"'{name}' is bytes; {target.title} takes bytes as an input or output alone, "
                    "and nothing but a cast of them",
                    "cast them first thing: images.float()",
                )
    return None


def _data(spot: Place) -> list[str]:
    """Names of the inputs and outputs that an operator's table row speaks of."""
    schema = spot.schema()
    if schema is None or not (schema.inputs or schema.outputs):
        return []
    formal = (schema.inputs or schema.outputs)[0]
    wanted = _DATA_TYPE.get(spot.node.op_type, (formal.type_str,))
    found = []
    for actual, formals in (
        (spot.node.input, schema.inputs),
        (spot.node.output, schema.outputs),
    ):
        for index, name in enumerate(actual):
            # The last formal parameter of a variadic operator stands for all that follow.
            if name and formals and formals[min(index, len(formals) - 1)].type_str in wanted:
                found.append(name)
    return found


def _held(kind: str, target: Target) -> str:
    """The type in which the target holds a value."""
    if kind == "INT64" and target.types is not None and "INT64" not in target.types:
        return "INT32"
    return kind


def _module(name: str) -> str | None:
    origin = origin_of(name)
    return None if origin is None else str(origin)


def _at(spot: Place, problem: str, hint: str) -> Finding:
    return _finding(problem, hint, node=spot.node.name, op=spot.node.op_type)


def _finding(problem: str, hint: str, *, node: str = "", op: str = "") -> Finding:
    return Finding(node=node, op=op, module=_module(node), problem=problem, hint=hint)
