"""The tensor at which a converted graph leaves the one it was made from.

Both graphs run side by side, and every tensor is compared with its counterpart of the same name, in
the form in which its readers get it: cast, or quantised and dequantised. Its error is relative to
its size (root mean square over root mean square). Errors of rounding travel through a graph and
change little from node to node; a node that makes far more of them than it was given stands out by
that *growth*, whatever the precision, and no level of error has to be called too large.

Not every jump matters. A softmax makes much of little and the sum behind it forgets it again. So a
jump is tried: the converted graph is run with the exact tensor in this one place. Only a jump whose
absence heals a good part of the final error is named. If there is none, the error comes from
everywhere, and there is nothing to name.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edgepose.errors import GraphError
from edgepose.export.lint.origin import origin_of
from edgepose.export.precision.ranges import float_activations
from edgepose.export.precision.rounding import with_rounding
from edgepose.export.precision.session import Session, Slices, input_name

__all__ = ["BlockError", "Divergence", "first_divergence"]

Array = npt.NDArray[Any]

# Growth that nothing usual has, and that of a graph whose growth is uneven, in median deviations.
_JUMP = 2.0
_DEVIATIONS = 6.0
# The part of the final error, in squares, that has to go if the tensor is exact.
_SHARE = 0.25
# Jumps that are tried, the largest ones.
_TRIED = 12
# Modules told before and behind.
_AROUND = 3
_HALF_ROUNDING = 2.0**-11
# From a normal distribution's median deviation to its standard deviation.
_SIGMA = 1.4826
_PASSING = frozenset({"Cast", "QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True, kw_only=True)
class BlockError:
    """How far a module's result is off.

    Attributes:
        module: Its path; the node's name where that tells none.
        tensor: The last tensor that it computes.
        error: Relative to the tensor's size.
    """

    module: str
    tensor: str
    error: float


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """Where a converted graph leaves its original.

    Attributes:
        tensor: The tensor.
        node: The node that computes it.
        op: Its operator.
        module: The PyTorch module; empty where the node's name does not tell.
        error: Of the tensor, relative to its size (root mean squares); infinite for overflow.
        before: The largest error of what the node reads, or what rounding explains if that is more.
        share: The part of the final error, in squares, that goes if the tensor is exact; None for
            overflow.
        around: Errors of the modules before it, its own and the ones behind it.
    """

    tensor: str
    node: str
    op: str
    module: str
    error: float
    before: float
    share: float | None
    around: tuple[BlockError, ...]

    def __str__(self) -> str:
        place = f"{self.op} node '{self.node}'" + (f" of {self.module}" if self.module else "")
        if not math.isfinite(self.error):
            return f"it overflows at '{self.tensor}', {place}"
        return (
            f"it leaves the graph at '{self.tensor}', {place}: an error of {self.error:.2%} is "
            f"made of {self.before:.2%}"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; an infinite error becomes None."""
        entries: dict[str, Any] = asdict(self)
        for entry in [entries, *entries["around"]]:
            entry["error"] = entry["error"] if math.isfinite(entry["error"]) else None
        return entries | {"around": list(entries["around"])}


def first_divergence(
    reference: onnx.ModelProto, converted: onnx.ModelProto, images: Array
) -> Divergence | None:
    """The first tensor, in the order of the graph, that is off by more than what it was given.

    Args:
        reference: The FP32 graph.
        converted: What was made of it, in FP16, INT8 or both; tensors have kept their names.
        images: What both take, a few people.

    Returns:
        The tensor; None where no single one accounts for the error, or there is none.

    Raises:
        GraphError: onnxruntime cannot run one of them, or they have no tensor in common.
    """
    pair = _Pair(reference, with_rounding(converted))
    errors = pair.errors(images)
    jumps = _jumps(pair, errors)
    overflow = next((name for name in jumps if not math.isfinite(errors[name].error)), None)
    if overflow is not None:
        return _told(pair, errors, overflow, None)
    final = pair.final(errors)
    if final == 0:
        return None
    exact = pair.exact([*jumps, *pair.outputs], images) if jumps else {}
    for group in _groups(pair, jumps):
        share = 1 - (pair.error_with(group, exact) / final) ** 2
        if share >= _SHARE:
            return _told(pair, errors, group[0], share)
    return None


@dataclass(frozen=True)
class _Error:
    """Error of a tensor, and what rounding it once explains; both relative to its size."""

    error: float
    rounding: float


class _Pair:
    """A graph and its conversion, tensor by tensor."""

    def __init__(self, reference: onnx.ModelProto, converted: onnx.ModelProto) -> None:
        self.reference, self.converted = reference, converted
        self.names = float_activations(reference)
        self.nodes = {name: node for node in reference.graph.node for name in node.output}
        self.inputs = {name: [i for i in node.input if i] for name, node in self.nodes.items()}
        self.order = {name: index for index, name in enumerate(self.names)}
        self.input = input_name(reference)
        computed = {name for node in converted.graph.node for name in node.output}
        self._twins = {
            name: _forms(converted, name, self.order)
            for name in self.names
            if name in computed or name == self.input
        }
        self.outputs = [o.name for o in reference.graph.output if o.name in computed]
        if not self.outputs or not self._twins:
            raise GraphError(
                "the two graphs have no output in common",
                f"one gives {', '.join(o.name for o in reference.graph.output)}, the other "
                f"{', '.join(o.name for o in converted.graph.output)}",
                "compare a graph with what was made of it",
            )

    def errors(self, images: Array) -> dict[str, _Error]:
        """Of every tensor that both have, in the order of the reference."""
        found: dict[str, _Error] = {}
        theirs = Slices(self.converted, {f for forms in self._twins.values() for f in forms})
        coming = theirs.run(images)
        waiting: dict[str, Array] = {}
        for ours in Slices(self.reference, set(self._twins)).run(images):
            for name, exact in ours.items():
                forms = self._twins[name]
                while not waiting.keys() >= set(forms):
                    waiting.update(next(coming))
                found[name] = self._compared(name, exact, [waiting.pop(f) for f in forms])
        return {name: found[name] for name in self._twins}

    def final(self, errors: Mapping[str, _Error]) -> float:
        """The largest error of an output."""
        return max(errors[name].error for name in self.outputs if name in errors)

    def exact(self, names: Collection[str], images: Array) -> dict[str, Array]:
        """Tensors of the reference, and the input."""
        found = {self.input: images}
        for tensors in Slices(self.reference, names).run(images):
            found.update(tensors)
        return found

    def error_with(self, given: Collection[str], exact: Mapping[str, Array]) -> float:
        """The largest error of an output, if some tensors are exact and all else is converted."""
        wanted = [name for name in self.outputs if name not in given]
        if not wanted:
            return 0.0
        # In every form: what is wrong may be the scale behind it.
        fed = {form: exact[name] for name in given for form in self._twins[name]}
        fed[self.input] = exact[self.input]
        types = {n: helper.np_dtype_to_tensor_dtype(values.dtype) for n, values in fed.items()}
        made = Session(self.converted, wanted, types).run(fed)
        return max(_relative(exact[name], made[name]) for name in wanted)

    def _compared(self, name: str, exact: Array, forms: Sequence[Array]) -> _Error:
        size = _size(exact)
        rounding = _HALF_ROUNDING
        if len(forms) > 1 and size > 0:
            # To eight bits over all values. What another scale does to them is not rounding.
            rounding = float(np.abs(exact).max()) / 127 / math.sqrt(12) / size
        return _Error(max(_relative(exact, form) for form in forms), rounding)


def _jumps(pair: _Pair, errors: Mapping[str, _Error]) -> list[str]:
    """Tensors whose error is far above that of what they were computed from."""
    growths = {
        name: found.error / _given(pair, errors, name) if math.isfinite(found.error) else math.inf
        for name, found in errors.items()
        if found.error > 0 and math.isfinite(_given(pair, errors, name))
    }
    usual = np.log([growth for growth in growths.values() if math.isfinite(growth)])
    if not usual.size:
        return list(growths)
    spread = _SIGMA * float(np.median(np.abs(usual - np.median(usual))))
    jump = max(_JUMP, math.exp(float(np.median(usual)) + _DEVIATIONS * spread))
    largest = sorted(growths, key=lambda name: -growths[name])[:_TRIED]
    return sorted((n for n in largest if growths[n] > jump), key=lambda name: pair.order[name])


def _given(pair: _Pair, errors: Mapping[str, _Error], name: str) -> float:
    """The error that a tensor may have: that of its node's inputs, or what rounding explains."""
    found = [errors[i] for i in pair.inputs.get(name, ()) if i in errors]
    return max([errors[name].rounding, *(max(f.error, f.rounding) for f in found)])


def _groups(pair: _Pair, jumps: Iterable[str]) -> list[list[str]]:
    """Jumps of one module are one: four choices of an unpooling, three slices of a split."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in jumps:
        groups[_module(pair, name)].append(name)
    return sorted(groups.values(), key=lambda group: pair.order[group[0]])


def _told(pair: _Pair, errors: Mapping[str, _Error], name: str, share: float | None) -> Divergence:
    node = pair.nodes.get(name, onnx.NodeProto(name=name, op_type="Input"))
    origin = origin_of(node.name)
    return Divergence(
        tensor=name,
        node=node.name,
        op=node.op_type,
        module="" if origin is None else str(origin),
        error=errors[name].error,
        before=_given(pair, errors, name),
        share=share,
        around=_around(pair, errors, name),
    )


def _around(pair: _Pair, errors: Mapping[str, _Error], name: str) -> tuple[BlockError, ...]:
    """Errors of the last tensor of each module nearby; of the tensor itself in its own."""
    last: dict[str, str] = {}
    for tensor in errors:
        module = _module(pair, tensor)
        last.pop(module, None)
        last[module] = tensor
    last[_module(pair, name)] = name
    modules = sorted(last, key=lambda module: pair.order[last[module]])
    place = modules.index(_module(pair, name))
    return tuple(
        BlockError(module=module, tensor=last[module], error=errors[last[module]].error)
        for module in modules[max(0, place - _AROUND) : place + _AROUND + 1]
    )


def _module(pair: _Pair, name: str) -> str:
    node = pair.nodes.get(name)
    if node is None:
        return name
    origin = origin_of(node.name)
    return (node.name or name) if origin is None else origin.path or origin.kind


def _forms(model: onnx.ModelProto, name: str, taken: Mapping[str, int]) -> list[str]:
    """A tensor as its readers get it: itself, cast, quantised and dequantised."""
    forms = [name]
    chain = {name}
    for node in model.graph.node:
        if node.op_type in _PASSING and node.input[0] in chain and node.output[0] not in taken:
            chain.add(node.output[0])
            if node.op_type == "DequantizeLinear":
                forms.append(node.output[0])
    return forms


def _relative(exact: Array, other: Array) -> float:
    """Root mean square of the error over that of the values; infinite where it is not finite."""
    difference = other.astype(np.float64) - exact
    if not np.isfinite(difference).all():
        return math.inf
    error, size = _size(difference), _size(exact)
    return error / size if size > 0 else (0.0 if error == 0 else math.inf)


def _size(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if values.size else 0.0
