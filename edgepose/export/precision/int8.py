"""INT8 as explicit Q/DQ pairs, in the form that each kind of runtime can make fast.

TensorRT wants signed numbers without a zero-point and pairs only in front of what reads INT8; it
fuses a convolution with its ReLU and the Q behind. onnxruntime's CPU kernels want the opposite: a
convolution is INT8 there only if its result is stored in eight bits as well, and a ReLU vanishes
only if its zero is the smallest number. A graph in TensorRT's form runs up to twice as slow on
onnxruntime as in FP32, in its own form in half the time. So there are two forms; the steps are the
same, 127 from zero on, or 255 where values are never negative.

Ranges are taken so that the products have the least squared error (see
:mod:`edgepose.export.precision.histogram`). Where even the best range loses too much, because a few
channels are far larger than the others, channels are brought to one size first
(:mod:`edgepose.export.precision.balance`); where that does not help, the operation stays float.

onnxruntime's own ``quantize_static`` is not used: it can neither put a pair on one input of an
addition nor choose which results it stores, it weighs no channels, and its histograms (whose bins
it does not let one set) take several times as long.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx

from edgepose.errors import GraphError, InputError
from edgepose.export.precision.balance import balanced, balanced_name
from edgepose.export.precision.histogram import METHODS, Histogram, Method
from edgepose.export.precision.kept import Kept
from edgepose.export.precision.plan import Plan, Site, Skip, make_plan
from edgepose.export.precision.qdq import Encoding, with_pairs
from edgepose.export.precision.session import Slices, read_weight

__all__ = ["Calibrated", "Form", "Int8", "Ranges", "calibrate", "named", "to_int8"]

Array = npt.NDArray[Any]
Form = Literal["tensorrt", "onnxruntime"]

# What onnxruntime computes in INT8 on a CPU. Of a MatMul it needs no stored result.
_KERNELS = ("Conv", "MatMul")
_STORED = ("Conv",)


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """How ranges are taken.

    Attributes:
        method: See :meth:`Histogram.amplitude`. ``mse`` is the default because, of
            the four, it stays closest to FP32's poses, on training people that it was not
            calibrated on.
        percentile: For that method.
        max_noise: Largest share of an activation's energy that eight bits may lose. Most lose
            0.0003 to 0.001; beyond the limit its channels are balanced, or it stays float.
    """

    method: Method = "mse"
    percentile: float = 99.99
    max_noise: float = 2e-3

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(
                f"there is no calibration method '{self.method}'", f"known are {', '.join(METHODS)}"
            )
        if not 50 < self.percentile <= 100:
            raise InputError(
                f"a percentile of {self.percentile:g} is no range",
                "it is the share of values that is not clipped",
                "99.9 to 99.999 are usual",
            )


@dataclass(frozen=True, kw_only=True)
class Int8:
    """A quantised graph.

    Attributes:
        model: The graph.
        quantised: Names of the operations that read INT8.
        left: Weighted operations that stay float, and why.
    """

    model: onnx.ModelProto
    quantised: tuple[str, ...]
    left: tuple[Kept, ...]


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A float graph with its ranges, from which quantised ones are made at no cost.

    Attributes:
        model: The float graph, all nodes named and channels balanced where need be.
        plan: What of it can read INT8.
        form: For which kind of runtime.
        encodings: Of every activation that may be needed.
        left: Operations that stay float in any case, and why.
    """

    model: onnx.ModelProto
    plan: Plan
    form: Form
    encodings: Mapping[str, Encoding]
    left: tuple[Kept, ...]

    @property
    def sites(self) -> tuple[Site, ...]:
        """Operations that may read INT8."""
        kept = {entry.node for entry in self.left}
        return tuple(site for site in self.plan.sites if site.name not in kept)

    def build(self, exclude: Collection[str] = ()) -> Int8:
        """Quantise.

        Args:
            exclude: Names of operations that stay float.

        Raises:
            InputError: There is no such operation.
        """
        candidates = self.sites
        _check_names(exclude, [site.name for site in self.plan.sites])
        chosen = [site for site in candidates if site.name not in exclude]
        stored = {s.result for s in chosen if _stores(s, self.plan, self.form)}
        left = [Kept.of(s.node, "asked for") for s in candidates if s.name in exclude]
        return Int8(
            model=with_pairs(self.model, chosen, list(self._skips(chosen)), self.encodings, stored),
            quantised=tuple(site.name for site in chosen),
            left=(*self.left, *left),
        )

    def _skips(self, chosen: Iterable[Site]) -> Iterator[Skip]:
        """Those of additions that end up inside a convolution whose sum is read in INT8."""
        if self.form == "onnxruntime":
            return
        names = {site.name for site in chosen}
        read = {site.data for site in chosen}
        for skip in self.plan.skips:
            if skip.trunk in names and skip.sums & read and skip.data in self.encodings:
                yield skip


def to_int8(
    model: onnx.ModelProto,
    images: Iterable[Array],
    *,
    exclude: Collection[str] = (),
    form: Form = "tensorrt",
    ranges: Ranges | None = None,
) -> Int8:
    """Quantise a graph.

    Args:
        model: FP32 graph; it stays as it is.
        images: Batches of what it takes, of real people; looked at twice (of a generator, which
            runs once, all are kept in memory).
        exclude: Names of operations that stay float.
        form: For TensorRT, or for onnxruntime on a CPU.
        ranges: How to take ranges.

    Raises:
        GraphError: The graph is quantised already, is not FP32, cannot be run, or holds numbers
            that are not finite.
        InputError: There is no batch, or nothing of a name in ``exclude``.
    """
    return calibrate(model, images, form=form, ranges=ranges).build(exclude)


def calibrate(
    model: onnx.ModelProto,
    images: Iterable[Array],
    *,
    form: Form = "tensorrt",
    ranges: Ranges | None = None,
) -> Calibrated:
    """Take the ranges of a graph; the first step of :func:`to_int8`, with its arguments.

    Raises:
        GraphError: As there.
        InputError: There is no batch.
    """
    images = images if iter(images) is not images else list(images)
    ranges = ranges or Ranges()
    model = named(model)
    plan = make_plan(model)
    seen = _observe(model, plan, form, images, ranges)
    wild = {
        site.data: seen[site.data].peaks
        for site in _supported(plan, form)
        if seen[site.data].noise > ranges.max_noise
    }
    if wild:
        trial = balanced(model, plan.sites, wild)
        names = {balanced_name(name) for name in wild}
        again = _observe(trial, make_plan(trial), form, images, ranges, only=names)
        tamed = {
            name: peaks
            for name, peaks in wild.items()
            if again[balanced_name(name)].noise <= ranges.max_noise
        }
        model = balanced(model, plan.sites, tamed)
        plan = make_plan(model)
        seen |= again
    return Calibrated(
        model=model,
        plan=plan,
        form=form,
        encodings={n: o.encoding for n, o in seen.items() if o.noise <= ranges.max_noise},
        left=(*plan.left, *_unfit(plan, form, seen, ranges)),
    )


@dataclass(frozen=True)
class _Observed:
    """An activation: how to write it, what share of its energy that loses, its channels' peaks."""

    encoding: Encoding
    noise: float
    peaks: npt.NDArray[np.float32]


def _supported(plan: Plan, form: Form) -> list[Site]:
    """Operations that the runtime computes in INT8."""
    return [s for s in plan.sites if form == "tensorrt" or s.node.op_type in _KERNELS]


def _unfit(plan: Plan, form: Form, seen: Mapping[str, _Observed], ranges: Ranges) -> Iterator[Kept]:
    """What stays float although it could read INT8."""
    supported = {site.name for site in _supported(plan, form)}
    for site in plan.sites:
        if site.name not in supported:
            yield Kept.of(site.node, f"onnxruntime computes no {site.node.op_type} in INT8")
        elif seen[site.data].noise > ranges.max_noise:
            yield Kept.of(site.node, _lost(ranges, "reads"))
        elif _stores(site, plan, form) and seen[site.result].noise > ranges.max_noise:
            yield Kept.of(site.node, _lost(ranges, "computes"))


def _lost(ranges: Ranges, what: str) -> str:
    return f"eight bits would lose more than {ranges.max_noise:.1%} of what it {what}"


def _stores(site: Site, plan: Plan, form: Form) -> bool:
    """Whether everybody reads its result in INT8."""
    stored = form == "onnxruntime" and site.node.op_type in _STORED
    return stored and site.result not in plan.outputs


def _observe(
    model: onnx.ModelProto,
    plan: Plan,
    form: Form,
    images: Iterable[Array],
    ranges: Ranges,
    only: Collection[str] | None = None,
) -> dict[str, _Observed]:
    """Every activation that may be written in INT8, or some of them."""
    histograms = _histograms(model, plan, form)
    if only is not None:
        histograms = {name: histograms[name] for name in only}
    _fill(histograms, model, images)
    return {name: _observed(histogram, form, ranges) for name, histogram in histograms.items()}


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph, or a copy of it in which every node has a name of its own."""
    names = [node.name for node in model.graph.node]
    if all(names) and len(set(names)) == len(names):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for index, node in enumerate(copy.graph.node):
        node.name = f"{node.op_type}_{index}"
    return copy


def _histograms(model: onnx.ModelProto, plan: Plan, form: Form) -> dict[str, Histogram]:
    """An empty one for every activation that may be written in INT8."""
    weights = {w.name: w for w in model.graph.initializer}
    importance: dict[str, Array] = {}
    axes: dict[str, int] = {}
    for site in plan.sites:
        energy = site.importance(read_weight(weights[site.weight]))
        importance[site.data] = importance.get(site.data, 0) + energy
        axes[site.data] = site.channels
    histograms = {n: Histogram(energy, axes[n]) for n, energy in importance.items()}
    others = [skip.data for skip in plan.skips]
    if form == "onnxruntime":
        others = [site.result for site in plan.sites if _stores(site, plan, form)]
    for name in others:
        histograms.setdefault(name, Histogram())
    return histograms


def _fill(
    histograms: Mapping[str, Histogram], model: onnx.ModelProto, images: Iterable[Array]
) -> None:
    slices = Slices(model, histograms)
    empty = True
    for batch in images:
        empty = False
        for seen in slices.run(batch):
            for name, values in seen.items():
                try:
                    histograms[name].add(values)
                except ValueError as error:
                    raise GraphError(
                        f"the tensor '{name}' holds NaN or infinity",
                        "the graph computes no numbers on these crops",
                        "look at the weights: edgepose export does not change them",
                    ) from error
    if empty:
        raise InputError("there is nothing to calibrate on", "no batch was given")


def _observed(histogram: Histogram, form: Form, ranges: Ranges) -> _Observed:
    unsigned = form == "onnxruntime"
    levels = 255 if unsigned and histogram.lowest >= 0 else 127
    amplitude = histogram.amplitude(levels, ranges.method, ranges.percentile)
    # 128 is in the middle of the unsigned numbers: the same steps as signed ones without any.
    zero = np.uint8(0 if levels == 255 else 128) if unsigned else np.int8(0)
    noise = histogram.noise(amplitude, levels)
    return _Observed(Encoding(amplitude / levels, zero), noise, histogram.peaks)


def _check_names(exclude: Collection[str], known: Collection[str]) -> None:
    for name in exclude:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise InputError(
                f"there is no operation '{name}' to leave in float",
                hint=f"did you mean '{near[0]}'?" if near else None,
            )
