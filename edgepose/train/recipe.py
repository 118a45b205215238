"""Every setting of a training, in one frozen dataclass that a TOML file can fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgepose.errors import InputError
from edgepose.settings import from_table, put, read_toml, without_none

__all__ = [
    "TUNING_RATE",
    "Augmentation",
    "LossSettings",
    "Recipe",
    "Stage",
    "load_recipe",
    "parse_stages",
    "recipe_from_dict",
]

# Peak rate of a training that begins with trained weights: a fifth of the usual one.
TUNING_RATE = 3e-4

# Set by an option each, not by --set.
_HAVE_OPTIONS = ("epochs", "minutes", "stages", "seed", "compile")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far a training crop may stray from the box; probabilities are per person.

    Attributes:
        flip: Probability of mirroring.
        scale: Smallest and largest factor on the width of the cut-out area.
        rotation_degrees: Largest angle, either way.
        rotation: Probability of rotating at all.
        translation: Largest shift, as a share of the cut-out area.
        half_body: Probability of centring on the upper or the lower body alone.
        colour: Strength of brightness, contrast, saturation and tint changes (0 = none).
        cutout: Probability of hiding one rectangle.
        cutout_size: Smallest and largest side of it, as a share of the crop's sides.
        blur: Probability of a 3x3 box blur.
        antialias: Probability (per batch) of reducing the stored picture by averaging before it
            is sampled, so that both smooth and aliased small crops are seen.
    """

    flip: float = 0.5
    scale: tuple[float, float] = (0.65, 1.35)
    rotation_degrees: float = 40.0
    rotation: float = 0.6
    translation: float = 0.08
    half_body: float = 0.25
    colour: float = 0.3
    cutout: float = 0.4
    cutout_size: tuple[float, float] = (0.1, 0.35)
    blur: float = 0.1
    antialias: float = 0.5

    def __post_init__(self) -> None:
        for name in ("flip", "rotation", "half_body", "cutout", "blur", "antialias"):
            value = getattr(self, name)
            _check(0 <= value <= 1, f"augmentation.{name} {value} is no probability")
        for name, limit in (("scale", 4), ("cutout_size", 1)):
            low, high = getattr(self, name)
            _check(0 < low <= high <= limit, f"augmentation.{name} {low}, {high} is no range")
        _check(0 <= self.colour < 1, f"augmentation.colour {self.colour} is not in 0..1")

    @classmethod
    def none(cls) -> Augmentation:
        """The plain box, unchanged."""
        return cls(
            flip=0, scale=(1, 1), rotation=0, translation=0, half_body=0, colour=0, cutout=0,
            blur=0, antialias=0,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Targets and loss; see :mod:`edgepose.train.targets`.

    Attributes:
        heatmap_sigma: Standard deviation of the Gaussian target as a share of the map's height.
        heatmap_min_sigma: The least it may be, in cells: below one cell the target would depend
            on where between cells a joint happens to lie.
        heatmap_temperature: Factor in front of the maps before the spatial softmax.
        heatmap_mse: Weight of the squared error beside the spatial divergence.
        simcc_sigma: Standard deviation of the label smoothing as a share of the bins.
        simcc_min_sigma: The least it may be, in bins.
    """

    heatmap_sigma: float = 2 / 64
    heatmap_min_sigma: float = 1.25
    heatmap_temperature: float = 10.0
    heatmap_mse: float = 1.0
    simcc_sigma: float = 0.012
    simcc_min_sigma: float = 1.25


@dataclass(frozen=True)
class Stage:
    """From ``start`` (share of the budget) on, train at ``input_size`` (height, width)."""

    start: float
    input_size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of one training.

    Attributes:
        batch: Persons a step, over all processes together.
        epochs: Budget in passes over the data; exactly one of ``epochs`` and ``minutes`` is set.
        minutes: Budget in minutes of training time (interruptions excluded).
        learning_rate: Peak of the schedule.
        warmup: Share of the budget in which the rate rises linearly.
        final_rate: Rate at the end, as a share of the peak.
        weight_decay: AdamW's, on weight matrices and kernels only.
        betas: AdamW's.
        clip_norm: Largest gradient norm.
        ema: Decay of the averaged weights, approached as the run warms up.
        fold: Share of the photos held back for validation.
        validations: Validations over the whole budget.
        seed: Seeds weights, order, fold and augmentation.
        stages: Input sizes over the budget; empty = the model's own throughout.
        compile: Run the model through torch.compile.
        bf16: ``auto`` (where the hardware has it), ``on`` or ``off``.
        augmentation: See :class:`Augmentation`.
        loss: See :class:`LossSettings`.
    """

    batch: int = 64
    epochs: float | None = None
    minutes: float | None = None
    learning_rate: float = 1.5e-3
    warmup: float = 0.03
    final_rate: float = 0.005
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.99)
    clip_norm: float = 5.0
    ema: float = 0.999
    fold: float = 0.04
    validations: int = 20
    seed: int = 0
    stages: tuple[Stage, ...] = ()
    compile: bool = False
    bf16: Literal["auto", "on", "off"] = "auto"
    augmentation: Augmentation = field(default_factory=Augmentation)
    loss: LossSettings = field(default_factory=LossSettings)

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.minutes is None):
            raise InputError(
                "a training needs one budget",
                f"epochs is {self.epochs} and minutes is {self.minutes}",
                "give either --epochs N or --minutes M",
            )
        budget = self.epochs if self.epochs is not None else self.minutes
        _check(budget is not None and budget > 0, f"the budget {budget} is not positive")
        _check(self.batch >= 1, f"batch {self.batch} is not positive")
        _check(0 <= self.fold < 0.5, f"fold {self.fold} is not in 0..0.5")
        _check(self.learning_rate > 0, f"learning_rate {self.learning_rate} is not positive")
        _check(0 <= self.ema < 1, f"ema {self.ema} is not in 0..1")
        starts = [stage.start for stage in self.stages]
        _check(
            not starts or (starts[0] == 0 and starts == sorted(set(starts)) and starts[-1] < 1),
            f"the stages start at {starts}: the first must start at 0, the rest rise below 1",
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as TOML and JSON hold them."""
        return asdict(self)


def load_recipe(
    path: Path | None, settings: Sequence[str] = (), *, tuning: bool = False, **overrides: Any
) -> Recipe:
    """A recipe from a TOML file (or the defaults), with the overrides that are not None.

    A budget given as an override replaces the file's, whichever kind that is.

    Args:
        path: The file.
        settings: ``KEY=VALUE`` each, such as ``augmentation.rotation=0``; they win over the file.
        tuning: The training begins with trained weights: unless the file or a setting says
            otherwise, its peak rate is :data:`TUNING_RATE`.
        overrides: Fields that have options of their own.

    Raises:
        InputError: The file cannot be read, or holds an unknown or impossible setting.
    """
    data = {} if path is None else read_toml(path, "recipe")
    for setting in settings:
        put(data, setting, Recipe, hidden=_HAVE_OPTIONS)
    given = {name: value for name, value in overrides.items() if value is not None}
    if "epochs" in given or "minutes" in given:
        data.pop("epochs", None)
        data.pop("minutes", None)
    if tuning:
        data.setdefault("learning_rate", TUNING_RATE)
    return recipe_from_dict(data | given)


def recipe_from_dict(data: Mapping[str, Any]) -> Recipe:
    """Inverse of :meth:`Recipe.to_dict`; ``stages`` may be text for :func:`parse_stages`.

    Raises:
        InputError: A setting is unknown, of another kind, or impossible; says which.
    """
    values = without_none(dict(data))
    if isinstance(values.get("stages"), str):
        values["stages"] = [asdict(stage) for stage in parse_stages(values["stages"])]
    recipe: Recipe = from_table(Recipe, values)
    return recipe


def parse_stages(text: str) -> tuple[Stage, ...]:
    """``"0:64x48,0.35:128x96"`` -> stages (share of the budget : height x width).

    Raises:
        InputError: The text has another form.
    """
    stages = []
    for part in text.split(","):
        try:
            start, size = part.split(":")
            height, width = size.lower().split("x")
            stages.append(Stage(float(start), (int(height), int(width))))
        except ValueError as error:
            raise InputError(
                f"cannot read the stages {text!r}",
                f"'{part}' is not START:HEIGHTxWIDTH",
                'for example --resize "0:64x48,0.35:128x96"',
            ) from error
    return tuple(stages)


def _check(condition: bool, why: str) -> None:
    if not condition:
        raise InputError("the recipe is invalid", why)
