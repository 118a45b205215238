from __future__ import annotations

import pytest

from edgepose.train.recipe import Recipe, Stage
from edgepose.train.schedule import progress, rate_factor, stage_index, total_steps


def test_rate_rises_then_falls():
    recipe = Recipe(epochs=10, warmup=0.1, final_rate=0.02)
    assert rate_factor(recipe, 0) == 0.01
    assert rate_factor(recipe, 0.05) == pytest.approx(0.5)
    assert rate_factor(recipe, 0.1) == pytest.approx(1)
    assert rate_factor(recipe, 0.55) == pytest.approx(0.51)
    assert rate_factor(recipe, 1) == pytest.approx(0.02)
    assert rate_factor(recipe, 1.5) == pytest.approx(0.02)
    values = [rate_factor(recipe, 0.1 + 0.9 * i / 50) for i in range(51)]
    assert values == sorted(values, reverse=True)


def test_without_warmup_it_starts_at_the_peak():
    assert rate_factor(Recipe(epochs=1, warmup=0), 0) == 1


def test_progress_counts_steps_or_seconds():
    epochs = Recipe(epochs=4)
    assert total_steps(epochs, 2.5) == 10
    assert progress(epochs, step=5, steps_per_epoch=2.5, elapsed_s=999) == 0.5
    minutes = Recipe(minutes=2)
    assert progress(minutes, step=5, steps_per_epoch=2.5, elapsed_s=90) == 0.75


def test_stages():
    stages = (Stage(0, (64, 48)), Stage(0.35, (128, 96)))
    assert [stage_index(stages, v) for v in (0, 0.34, 0.35, 1.0)] == [0, 0, 1, 1]
    assert stage_index((), 0.5) == 0
