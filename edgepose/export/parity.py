"""Whether an artefact finds the poses that its model finds, on real people.

Poses judge, not tensors: an error of 1e-3 somewhere in a heatmap means nothing, an argmax that
jumps means everything. Both sides go the same way, through one :class:`Estimator`.

Not every keypoint can be judged. Where two places of a map are equally high to the last digits
(an untrained model, a joint far outside the crop), rounding decides, and two correct programs may
differ. So the reference is asked first: a keypoint that noise of rounding size in the reference's
own outputs moves is *undecided* and does not count. If too many are, the verdict is no.

How large rounding is at the outputs, the reference says too. Most models are continuous, and it is
a millionth. But the gate of SRU and the places of max-unpooling are decisions: rounding tips some
of them, and whole cells move. So the reference sees every person a second time, with its input
moved by a unit in the last place; what that does to its outputs is rounding to this model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.crops import box_affines
from edgepose.decode import decode
from edgepose.errors import GraphError, ParityError
from edgepose.estimator import Estimator
from edgepose.evaluate import joint_similarities
from edgepose.export.photos import Photo
from edgepose.poses import Poses
from edgepose.runtime.base import Runner
from edgepose.spec import PoseSpec

__all__ = ["FP32", "Parity", "ParityLimits", "TensorError", "compare"]

Array = npt.NDArray[Any]
Outputs = dict[str, Array]

# COCO's areas are of the person's outline, which fills about half of its box.
_AREA_OF_BOX = 0.53
# Of two equal peaks one draw leaves the first where it is with probability 1/2: 16 miss 2 in 10^5.
_NOISE_DRAWS = 16
_MOVED_PX = 1.0
# Of the input's range: half a unit in the last place of FP32 is 6e-8.
_INPUT_ROUNDING = 1e-7
_QUANTILES = (0.5, 0.99, 0.999, 1.0)


@dataclass(frozen=True, kw_only=True)
class ParityLimits:
    """What still counts as the same poses.

    Attributes:
        median_px: Largest median keypoint error, in pixels of the network's input.
        p99_px: Largest 99th percentile of it.
        moved_share: Largest share of keypoints that move by more than a pixel. Not zero: SRU with
            a threshold jumps where its gate is one half to the last digit.
        oks_mean: Smallest mean OKS between the two sides' poses.
        oks_min: Smallest OKS of any one person.
        tensor_p99: Largest 99th percentile of the tensor error, relative to the tensor's range.
        noise: Least size of rounding at the outputs, relative to their range. It is larger where
            the reference's own outputs move by more when its input is rounded otherwise. What it
            moves by more than ``p99_px`` is undecided.
        decided_share: Smallest share of keypoints that have to be decided.
    """

    median_px: float
    p99_px: float
    moved_share: float
    oks_mean: float
    oks_min: float
    tensor_p99: float
    noise: float
    decided_share: float


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


@dataclass(frozen=True, kw_only=True)
class TensorError:
    """Error of one output, relative to the largest absolute value that the reference has there."""

    name: str
    p50: float
    p99: float
    p999: float
    max: float


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The comparison and its verdict. True where it passed.

    Attributes:
        persons: People compared.
        keypoints: Keypoints that counted.
        undecided: Keypoints that did not, because rounding decides where they are.
        noise: What counted as rounding, relative to the range of the outputs, where it was largest.
        median_px: Median keypoint error, in pixels of the network's input.
        p99_px: 99th percentile of it.
        max_px: The largest.
        moved_share: Share of keypoints that moved by more than a pixel.
        oks_mean: Mean OKS between the two sides' poses, over all people.
        oks_min: The smallest.
        tensors: Errors of the raw outputs; of the scores where the artefact decodes by itself.
        limits: What it was held to.
    """

    persons: int
    keypoints: int
    undecided: int
    noise: float
    median_px: float
    p99_px: float
    max_px: float
    moved_share: float
    oks_mean: float
    oks_min: float
    tensors: tuple[TensorError, ...]
    limits: ParityLimits

    @property
    def failures(self) -> tuple[str, ...]:
        """Every limit that is not kept, in words. A value that is not a number keeps none."""
        most = [
            ("median keypoint error", self.median_px, self.limits.median_px, "px"),
            ("99 % keypoint error", self.p99_px, self.limits.p99_px, "px"),
            ("share moved by more than 1 px", self.moved_share, self.limits.moved_share, ""),
            *(
                (f"99 % error of '{t.name}'", t.p99, self.limits.tensor_p99, "of its range")
                for t in self.tensors
            ),
        ]
        decided = self.keypoints / max(1, self.keypoints + self.undecided)
        least = [
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
    def passed(self) -> bool:
        """Whether all limits are kept."""
        return not self.failures

    def __bool__(self) -> bool:
        return self.passed

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with the verdict; what is not a finite number becomes None."""
        figures: dict[str, Any] = _finite(asdict(self))
        return {"passed": self.passed, "failures": list(self.failures), **figures}


def compare(
    reference: Runner, artefact: Runner, photos: Sequence[Photo], limits: ParityLimits = FP32
) -> Parity:
    """Poses of both sides on the same people.

    Args:
        reference: The model.
        artefact: What was made of it; may decode in the graph.
        photos: At least one, each with at least one box.
        limits: What to hold it to.

    Raises:
        GraphError: The reference's outputs hold NaN: there is nothing to compare with.
        ParityError: The artefact's do.
    """
    first = _Recorder(reference, shaken=True)
    ours = _poses(first, photos)
    noise = np.maximum(limits.noise, np.concatenate(first.unrest))  # (N,)
    try:
        theirs = _poses(_Recorder(artefact), photos)
    except GraphError as broken:
        raise ParityError(
            "the artefact finds no poses where the model does", broken.what
        ) from broken
    spec = reference.spec
    decided = _decided(ours.outputs, spec, noise, limits.p99_px)  # (N, K)
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
        noise=float(noise.max()),
        median_px=np.nan if nothing else _quantile(error, 0.5),
        p99_px=np.nan if nothing else _quantile(error, 0.99),
        max_px=np.nan if nothing else float(error.max()),
        moved_share=np.nan if nothing else float((error > _MOVED_PX).mean()),
        oks_mean=np.nan if nothing else float(oks.mean()),
        oks_min=np.nan if nothing else float(oks.min()),
        tensors=_tensor_errors(ours, theirs),
        limits=limits,
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
    """A runner that keeps what went through it.

    Args:
        runner: The runner.
        shaken: Ask it everything twice, the second time with the input rounded otherwise.

    Attributes:
        recorded: The outputs of each batch.
        unrest: How far the second outputs are from the first, relative to their range: for each
            person of each batch the 99.9th percentile of the worse output.
    """

    def __init__(self, runner: Runner, shaken: bool = False) -> None:
        self._runner = runner
        self._shaken = shaken
        self._random = np.random.default_rng(0)
        self.recorded: list[Outputs] = []
        self.unrest: list[Array] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def infer(self, images: Array) -> Outputs:
        outputs = self._runner.infer(images)
        self.recorded.append(outputs)
        if self._shaken:
            again = self._runner.infer(_shaken(images, _INPUT_ROUNDING, self._random))
            moved = [_moved(value, again[name]) for name, value in outputs.items()]
            self.unrest.append(np.max(moved, axis=0))
        return outputs


def _poses(recorder: _Recorder, photos: Sequence[Photo]) -> _Side:
    estimator = Estimator(recorder)
    poses: list[Poses] = [estimator(photo.image, photo.boxes) for photo in photos]
    boxes = np.concatenate([p.boxes for p in poses])
    sizes = boxes[:, 2:] - boxes[:, :2]
    names = recorder.recorded[0]
    return _Side(
        keypoints=np.concatenate([p.keypoints for p in poses]).astype(np.float64),
        scores=np.concatenate([p.scores for p in poses]),
        scale=box_affines(boxes, recorder.spec.input_size, recorder.spec.padding)[:, 0, 0],
        areas=sizes.prod(1) * _AREA_OF_BOX,
        outputs={n: np.concatenate([r[n] for r in recorder.recorded]) for n in names},
    )


def _moved(before: Array, after: Array) -> Array:
    """(N,) how far each person's part of an output moved, relative to the output's range."""
    reach = float(np.abs(before).max()) or 1.0
    error = np.abs(before.astype(np.float64) - after).reshape(len(before), -1) / reach
    return np.quantile(error, _QUANTILES[2], axis=1, method="higher")


def _decided(
    outputs: Outputs, spec: PoseSpec, noise: Array, most_px: float
) -> npt.NDArray[np.bool_]:
    """(N, K) keypoints that stay where they are when the outputs are rounded differently."""
    still, _ = decode(outputs, spec)
    decided = np.isfinite(still).all(-1)
    random = np.random.default_rng(0)
    for _ in range(_NOISE_DRAWS):
        noisy = {name: _shaken(value, noise, random) for name, value in outputs.items()}
        moved = np.linalg.norm(decode(noisy, spec)[0] - still, axis=-1)
        decided = decided & (moved <= most_px)
    return np.asarray(decided)


def _shaken(values: Array, noise: float | Array, random: np.random.Generator) -> Array:
    """Values with noise of that size relative to their range, one for all or one a row."""
    reach = np.asarray(noise).reshape(-1, *[1] * (values.ndim - 1)) * float(np.abs(values).max())
    shaken: Array = values + (random.uniform(-1, 1, values.shape) * reach).astype(values.dtype)
    return shaken


def _tensor_errors(ours: _Side, theirs: _Side) -> tuple[TensorError, ...]:
    common = [name for name in ours.outputs if name in theirs.outputs]
    pairs = [(name, ours.outputs[name], theirs.outputs[name]) for name in common]
    return tuple(_tensor_error(*pair) for pair in pairs or [("scores", ours.scores, theirs.scores)])


def _tensor_error(name: str, ours: Array, theirs: Array) -> TensorError:
    largest = float(np.abs(ours).max()) or 1.0
    error = np.abs(ours.astype(np.float64) - theirs) / largest
    error = np.where(np.isfinite(error), error, np.inf).ravel()
    p50, p99, p999, top = (_quantile(error, q) for q in _QUANTILES)
    return TensorError(name=name, p50=p50, p99=p99, p999=p999, max=top)


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
