"""Whether an artefact finds the poses that its model finds, on real people.

Poses judge, not tensors: an error of 1e-3 somewhere in a heatmap means nothing, an argmax that
jumps means everything. Both sides go the same way, through one :class:`Estimator`.

Not every keypoint can be judged. Where two places of a map are equally high to the last digits
(an untrained model, a joint far outside the crop), rounding decides, and two correct programs may
differ. So the reference is asked first: a keypoint that noise of rounding size in the reference's
own outputs moves is *undecided* and does not count. If too many are, the verdict is no.

Most models are continuous, and rounding moves their outputs by a millionth. But the gate of SRU and
the places of max unpooling are decisions: rounding tips some of them, and whole cells move. Two
runs of such a model with other numbers of threads may already put a joint elsewhere. Where an
artefact fails, the model is therefore asked again, with its weights rounded otherwise (*nudged*):
what that does to its outputs is its own sway, and nobody else can be held to less. (Weights and not
the image: in a plain part of an image neighbours are equal to the last digit, in every correct
program, and decided by their order. Noise there would tip what no rounding ever does.)

Random weights find no poses: their maps have no peaks, and where the largest of equal values lies
says nothing. An artefact made of them, for measuring speed, is judged by its tensors alone, and its
verdict says so (:meth:`ParityLimits.speed_only`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.crops import box_affines
from edgepose.decode import decode
from edgepose.errors import GraphError, ParityError
from edgepose.estimator import Estimator
from edgepose.evaluate import joint_similarities
from edgepose.evaluate.oks import AREA_OF_BOX
from edgepose.parity.photos import Photo
from edgepose.poses import Poses
from edgepose.runtime.base import Runner
from edgepose.spec import PoseSpec

__all__ = [
    "FP16",
    "FP32",
    "INT8",
    "INT8_RANDOM",
    "Parity",
    "ParityLimits",
    "TensorError",
    "compare",
]

Array = npt.NDArray[Any]
Outputs = dict[str, Array]

# Of two equal peaks one draw leaves the first where it is with probability 1/2: 16 miss 2 in 10^5.
_NOISE_DRAWS = 16
# The nudged model rounds otherwise in its weights only, an artefact in every operation.
_SWAY = 2.0
_QUANTILES = (0.5, 0.99, 0.999, 1.0)


@dataclass(frozen=True, kw_only=True)
class ParityLimits:
    """What still counts as the same poses.

    Attributes:
        median_px: Largest median keypoint error, in pixels of the network's input.
        p99_px: Largest 99th percentile of it.
        moved_share: Largest share of keypoints that move by more than ``moved_px``. Not zero: SRU
            with a threshold jumps where its gate is one half to the last digit, max unpooling where
            two neighbours are equal to it.
        oks_mean: Smallest mean OKS between the two sides' poses.
        oks_min: Smallest OKS of any one person.
        tensor_p99: Largest 99th percentile of the tensor error, relative to the tensor's range.
        noise: Least size of rounding at the outputs, relative to their range; the model's own sway
            may be larger. What it moves by more than ``p99_px`` is undecided.
        decided_share: Smallest share of keypoints that have to be decided.
        correlation: Smallest Pearson correlation of an output with the reference's. It sees what a
            percentile of errors relative to the largest value does not: values that are small
            beside a few large ones, and wrong. One wrong value moves it, so that it has a place
            where every value is rounded, not where nearly all are exact. -1 for any.
        poses: Whether poses are judged at all, or tensors only.
        moved_px: What counts as moved.
        height: Of the input that the pixels are of. A peak moves by a share of its width, which
            grows with the input, and the same shift is then half as far in the photo: of a higher
            input, more pixels are allowed in proportion. None: as they are for every input.
    """

    median_px: float
    p99_px: float
    moved_share: float
    oks_mean: float
    oks_min: float
    tensor_p99: float
    noise: float
    decided_share: float
    correlation: float = -1.0
    poses: bool = True
    moved_px: float = 1.0
    height: int | None = None

    def at(self, height: int) -> ParityLimits:
        """The limits for an input of that height."""
        factor = 1.0 if self.height is None else max(1.0, height / self.height)
        return replace(
            self,
            median_px=self.median_px * factor,
            p99_px=self.p99_px * factor,
            moved_px=self.moved_px * factor,
        )

    def speed_only(self) -> ParityLimits:
        """The same limits for random weights: tensors are judged, poses are not."""
        return replace(self, poses=False)


# Rounding of FP32 through a hundred layers is 1e-6 of an output's range (1e-5 at the 99th
# percentile where SRU has its threshold), which moves a peak by 1e-4 to 1e-3 px. These limits leave
# a factor of a hundred, and are still far below what could be seen or would move an AP by 0.01.
FP32 = ParityLimits(
    median_px=0.01,
    p99_px=0.1,
    moved_share=0.005,
    oks_mean=0.9999,
    oks_min=0.99,
    tensor_p99=1e-3,
    noise=1e-5,
    decided_share=0.5,
)

# Measured with every value rounded to FP16: mitpose-lite moves 528 people's joints by 0.006 px in
# the median, 0.07 px at the 99th percentile and 0.45 px at most; OKS is 0.99999 in the mean, 0.9994
# for the worst person, and AP moves by less than 0.1. These limits leave a factor of seven. Outputs
# are off by 6e-4 of their range, but by 4e-2, with a correlation of 0.9987, where decisions tip:
# three in a thousand windows of RefinePose's max unpooling, with random weights.
FP16 = ParityLimits(
    median_px=0.05,
    p99_px=0.5,
    moved_share=0.005,
    oks_mean=0.9995,
    oks_min=0.98,
    tensor_p99=0.1,
    noise=1e-3,
    decided_share=0.5,
    correlation=0.99,
)

# Measured with mitpose-lite at 128x96, whose maps are broad, in both forms of its graph: 64
# hold-out people move by 0.18 to 0.20 px in the median and 1.2 to 1.4 px at the 99th percentile, 2
# to 3 % of their decided joints by more than a pixel; OKS is 0.996 in the mean and 0.95 for the
# worst person, outputs are off by 2 % of their range (correlation 0.998), and AP moves by 0.1 to
# 0.5. With ranges that cost 0.5 AP and more, the 99th percentile is 4 px and the worst OKS below
# 0.6; these limits are half-way. Of the few people that are judged by default, up to 8 % of the
# joints have moved. With random weights, six other nets are off by 1 to 4 % (correlation 0.999).
# Eight bits move an output by up to a tenth of its range somewhere: what only 5 % moves by two
# pixels is undecided, which with weak weights is four joints in ten.
INT8 = ParityLimits(
    median_px=0.4,
    p99_px=2.0,
    moved_share=0.1,
    oks_mean=0.99,
    oks_min=0.85,
    tensor_p99=0.06,
    noise=0.05,
    decided_share=0.4,
    correlation=0.99,
    height=128,
)
# Random weights decide at random: where max unpooling puts a value hangs on the last bit, and eight
# bits tip many of them (refinepose-s: off by 16 % of the range, correlation 0.96). A wrong
# scale or sign is far beyond.
INT8_RANDOM = replace(INT8.speed_only(), tensor_p99=0.3, correlation=0.9)


@dataclass(frozen=True, kw_only=True)
class TensorError:
    """Error of one output, relative to the largest absolute value that the reference has there.

    Attributes:
        name: The output.
        p50: Median error.
        p99: 99th percentile.
        p999: 99.9th percentile.
        max: Largest error.
        sway_p99: 99th percentile of the model's own sway there; 0 where it was not asked for it.
        correlation: Pearson correlation with the reference; None where a side is constant.
        sway_correlation: Smallest correlation of the reference with its own nudges.
    """

    name: str
    p50: float
    p99: float
    p999: float
    max: float
    sway_p99: float = 0.0
    correlation: float | None = None
    sway_correlation: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The comparison and its verdict. True where it passed.

    Attributes:
        persons: People compared.
        keypoints: Keypoints that counted.
        undecided: Keypoints that did not, because rounding decides where they are.
        median_px: Median keypoint error, in pixels of the network's input.
        p99_px: 99th percentile of it.
        max_px: The largest.
        moved_share: Share of keypoints that moved by more than the limits' ``moved_px``.
        oks_mean: Mean OKS between the two sides' poses, over all people.
        oks_min: The smallest.
        tensors: Errors of the raw outputs; of the scores where the artefact decodes by itself.
        limits: What it was held to.
        nudges: With how many other roundings of its weights the model was asked for its sway.
    """

    persons: int
    keypoints: int
    undecided: int
    median_px: float
    p99_px: float
    max_px: float
    moved_share: float
    oks_mean: float
    oks_min: float
    tensors: tuple[TensorError, ...]
    limits: ParityLimits
    nudges: int = 0

    @property
    def failures(self) -> tuple[str, ...]:
        """Every limit that is not kept, in words. A value that is not a number keeps none."""
        most = [
            (
                f"99 % error of '{t.name}'",
                t.p99,
                max(self.limits.tensor_p99, _SWAY * t.sway_p99),
                "of its range",
            )
            for t in self.tensors
        ]
        least = [
            (
                f"correlation of '{t.name}'",
                t.correlation,
                min(self.limits.correlation, 1 - _SWAY * (1 - t.sway_correlation)),
            )
            for t in self.tensors
            if t.correlation is not None
        ]
        if self.limits.poses:
            decided = self.keypoints / max(1, self.keypoints + self.undecided)
            most = [
                ("median keypoint error", self.median_px, self.limits.median_px, "px"),
                ("99 % keypoint error", self.p99_px, self.limits.p99_px, "px"),
                (
                    f"share moved by more than {self.limits.moved_px:g} px",
                    self.moved_share,
                    self.limits.moved_share,
                    "",
                ),
                *most,
            ]
            least += [
                ("mean OKS", self.oks_mean, self.limits.oks_mean),
                ("smallest OKS", self.oks_min, self.limits.oks_min),
                ("share of decided keypoints", decided, self.limits.decided_share),
            ]
        return tuple(
            [
                f"{what} is {value:.3g} {unit}".rstrip() + f", at most {limit:g} is allowed"
                for what, value, limit, unit in most
                if not value <= limit
            ]
            + [
                f"{what} is {value:.6g}, at least {limit:g} is wanted"
                for what, value, limit in least
                if not value >= limit
            ]
        )

    @property
    def verdict(self) -> str:
        """What was judged and how it came out, in words."""
        if self.limits.poses:
            return "the same poses" if self.passed else "NOT the same poses"
        outcome = "the same tensors" if self.passed else "NOT the same tensors"
        return f"{outcome}; poses were not judged, random weights find none"

    @property
    def passed(self) -> bool:
        """Whether all limits are kept."""
        return not self.failures

    def __bool__(self) -> bool:
        return self.passed

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with the verdict; what is not a finite number becomes None."""
        figures: dict[str, Any] = _finite(asdict(self))
        return {
            "passed": self.passed,
            "verdict": self.verdict,
            "failures": list(self.failures),
            **figures,
        }


def compare(
    reference: Runner,
    artefact: Runner,
    photos: Sequence[Photo],
    limits: ParityLimits = FP32,
    nudged: Iterable[Runner] = (),
) -> Parity:
    """Poses of both sides on the same people.

    Args:
        reference: The model.
        artefact: What was made of it; may decode in the graph.
        photos: At least one, each with at least one box.
        limits: What to hold it to.
        nudged: The model with its weights rounded otherwise, any number of times; asked only if
            the artefact fails. Keypoints that it puts elsewhere, or that noise as large as its sway
            moves, are undecided then.

    Raises:
        GraphError: The reference's outputs hold NaN: there is nothing to compare with.
        ParityError: The artefact's do.
    """
    limits = limits.at(reference.spec.input_size[0])
    ours = _poses(reference, photos)
    try:
        theirs = _poses(artefact, photos)
    except GraphError as broken:
        raise ParityError(
            "the artefact finds no poses where the model does", broken.what
        ) from broken
    verdict = _judged(ours, theirs, (), reference.spec, limits)
    if verdict:
        return verdict
    swayed = [_poses(runner, photos) for runner in nudged]
    return _judged(ours, theirs, swayed, reference.spec, limits) if swayed else verdict


def _judged(
    ours: _Side, theirs: _Side, swayed: Sequence[_Side], spec: PoseSpec, limits: ParityLimits
) -> Parity:
    """The verdict, given what the model's own sway excuses."""
    decided = _decided(ours, swayed, spec, limits)  # (N, K)
    error = np.linalg.norm(ours.keypoints - theirs.keypoints, axis=-1) * ours.scale[:, None]
    # Not a number is the worst error there is, not one that percentiles may skip.
    error = np.where(np.isfinite(error), error, np.inf)[decided]
    similar = joint_similarities(
        np.nan_to_num(theirs.keypoints, nan=np.inf),
        ours.keypoints,
        ours.areas,
        spec.keypoints.sigmas,
    )  # (N, K)
    counted = decided.any(1)
    oks = np.where(decided, similar, 0).sum(1)[counted] / decided.sum(1)[counted]
    nothing = error.size == 0
    return Parity(
        persons=len(decided),
        keypoints=int(decided.sum()),
        undecided=int((~decided).sum()),
        median_px=np.nan if nothing else _quantile(error, 0.5),
        p99_px=np.nan if nothing else _quantile(error, 0.99),
        max_px=np.nan if nothing else float(error.max()),
        moved_share=np.nan if nothing else float((error > limits.moved_px).mean()),
        oks_mean=np.nan if nothing else float(oks.mean()),
        oks_min=np.nan if nothing else float(oks.min()),
        tensors=_tensor_errors(ours, theirs, swayed),
        limits=limits,
        nudges=len(swayed),
    )


@dataclass(frozen=True)
class _Side:
    """What one side found: image pixels, raw outputs, and the crops' scale and areas."""

    keypoints: Array
    scores: Array
    scale: Array
    areas: Array
    outputs: Outputs


class _Recorder:
    """A runner that keeps what went through it."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.recorded: list[Outputs] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def infer(self, images: Array) -> Outputs:
        outputs = self._runner.infer(images)
        self.recorded.append(outputs)
        return outputs


def _poses(runner: Runner, photos: Sequence[Photo]) -> _Side:
    recorder = _Recorder(runner)
    estimator = Estimator(recorder)
    poses: list[Poses] = [estimator(photo.image, photo.boxes) for photo in photos]
    boxes = np.concatenate([p.boxes for p in poses])
    sizes = boxes[:, 2:] - boxes[:, :2]
    names = recorder.recorded[0]
    return _Side(
        keypoints=np.concatenate([p.keypoints for p in poses]).astype(np.float64),
        scores=np.concatenate([p.scores for p in poses]),
        scale=box_affines(boxes, runner.spec.input_size, runner.spec.padding)[:, 0, 0],
        areas=sizes.prod(1) * AREA_OF_BOX,
        outputs={n: np.concatenate([r[n] for r in recorder.recorded]) for n in names},
    )


def _decided(
    ours: _Side, swayed: Sequence[_Side], spec: PoseSpec, limits: ParityLimits
) -> npt.NDArray[np.bool_]:
    """(N, K) keypoints that stay where they are when the outputs are rounded differently."""
    reach = {
        name: np.maximum(
            limits.noise * float(np.abs(value).max()),
            _sway(value, [other.outputs[name] for other in swayed]),
        )
        for name, value in ours.outputs.items()
    }
    random = np.random.default_rng(0)
    others = [other.outputs for other in swayed]
    others += [_shaken(ours.outputs, reach, random) for _ in range(_NOISE_DRAWS)]
    still, _ = decode(ours.outputs, spec)
    decided = np.isfinite(still).all(-1)
    for outputs in others:
        moved = np.linalg.norm(decode(outputs, spec)[0] - still, axis=-1)
        decided = decided & (moved <= limits.p99_px)
    return np.asarray(decided)


def _sway(values: Array, others: Sequence[Array]) -> Array:
    """How far each value is from the farthest of its others."""
    sway: Array = np.zeros_like(values)
    for other in others:
        sway = np.maximum(sway, np.abs(other - values))
    return sway


def _shaken(outputs: Outputs, reach: Outputs, random: np.random.Generator) -> Outputs:
    return {
        name: values + (reach[name] * random.uniform(-1, 1, values.shape)).astype(values.dtype)
        for name, values in outputs.items()
    }


def _tensor_errors(ours: _Side, theirs: _Side, swayed: Sequence[_Side]) -> tuple[TensorError, ...]:
    names = [name for name in ours.outputs if name in theirs.outputs]
    if not names:  # the artefact decodes by itself
        return (
            _tensor_error("scores", ours.scores, theirs.scores, [other.scores for other in swayed]),
        )
    return tuple(
        _tensor_error(
            name,
            ours.outputs[name],
            theirs.outputs[name],
            [other.outputs[name] for other in swayed],
        )
        for name in names
    )


def _tensor_error(name: str, ours: Array, theirs: Array, swayed: Sequence[Array]) -> TensorError:
    largest = float(np.abs(ours).max()) or 1.0
    error = np.abs(ours.astype(np.float64) - theirs) / largest
    error = np.where(np.isfinite(error), error, np.inf).ravel()
    p50, p99, p999, top = (_quantile(error, q) for q in _QUANTILES)
    sway = _quantile(_sway(ours, swayed) / largest, 0.99)
    return TensorError(
        name=name,
        p50=p50,
        p99=p99,
        p999=p999,
        max=top,
        sway_p99=sway,
        correlation=_correlation(ours, theirs),
        sway_correlation=min(
            [c for other in swayed if (c := _correlation(ours, other)) is not None], default=1.0
        ),
    )


def _correlation(ours: Array, theirs: Array) -> float | None:
    """Pearson's, over all values; None where a side is constant, NaN where one is not finite."""
    a, b = (values.astype(np.float64).ravel() for values in (ours, theirs))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.nan
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    a, b = a - a.mean(), b - b.mean()
    # Not above one, which rounding would make of the same values.
    return min(1.0, float(a @ b / math.sqrt(float(a @ a) * float(b @ b))))


def _finite(value: Any) -> Any:
    """JSON knows neither infinity nor not-a-number."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _quantile(values: Array, share: float) -> float:
    """A value that occurs, so that infinity is never averaged into not-a-number."""
    return float(np.quantile(values, share, method="higher"))
