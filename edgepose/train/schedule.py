"""How far a training is, and the learning rate there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edgepose.errors import InputError
from edgepose.train.recipe import Recipe, Stage

__all__ = ["check_stages", "progress", "rate_factor", "stage_index"]


def progress(recipe: Recipe, *, step: int, steps_per_epoch: float, elapsed_s: float) -> float:
    """Share of the budget that is used, 0..1 and beyond.

    An epoch budget counts steps, so that it is the same on every machine; a time budget counts
    seconds of training, kept across resumes.
    """
    if recipe.minutes is not None:
        return elapsed_s / (recipe.minutes * 60)
    return step / total_steps(recipe, steps_per_epoch)


def total_steps(recipe: Recipe, steps_per_epoch: float) -> int:
    """Steps of an epoch budget, at least 1."""
    if recipe.epochs is None:
        raise AssertionError("a time budget has no number of steps")
    return max(1, round(recipe.epochs * steps_per_epoch))


def rate_factor(recipe: Recipe, done: float) -> float:
    """Learning rate as a share of its peak: a linear rise, then half a cosine.

    Args:
        recipe: ``warmup`` and ``final_rate``.
        done: Share of the budget used.
    """
    done = min(max(done, 0.0), 1.0)
    if done < recipe.warmup:
        # Never quite 0, so that the first step of a time budget already counts.
        return max(done / recipe.warmup, 0.01)
    falling = (done - recipe.warmup) / max(1 - recipe.warmup, 1e-9)
    cosine = 0.5 * (1 + math.cos(math.pi * falling))
    return recipe.final_rate + (1 - recipe.final_rate) * cosine


def stage_index(stages: tuple[Stage, ...], done: float) -> int:
    """Which stage the used share of the budget lies in."""
    started = [i for i, stage in enumerate(stages) if stage.start <= done]
    return started[-1] if started else 0


def check_stages(
    stages: Sequence[Stage],
    final: tuple[int, int],
    can_take: Callable[[tuple[int, int]], object] = lambda size: None,
) -> None:
    """See that a model can go through all stages.

    Args:
        stages: Of the recipe; may be empty.
        final: The model's input size.
        can_take: Raises :class:`InputError` for a size that the model cannot take.

    Raises:
        InputError: The last stage is not the model's size, two have different aspect ratios, or the
            model cannot take one of the sizes.
    """
    if stages and stages[-1].input_size != final:
        raise InputError(
            "the stages do not fit the model",
            f"the last is {stages[-1].input_size}, the model's input is {final}",
        )
    for stage in stages:
        height, width = stage.input_size
        if height * final[1] != width * final[0]:
            raise InputError(
                "the stages do not fit together",
                f"{height}x{width} has another aspect ratio than {final[0]}x{final[1]}",
            )
        try:
            can_take(stage.input_size)
        except InputError as error:
            raise InputError(
                f"the model cannot go through the stage {stage.start:g}:{height}x{width}",
                str(error.why or error.what),
                "take another size, or leave this stage out",
            ) from error
