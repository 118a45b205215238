from __future__ import annotations

import pytest

from edgepose.errors import InputError
from edgepose.train.recipe import TUNING_RATE, Stage, load_recipe, parse_stages, recipe_from_dict

TOML = """
epochs = 12
batch = 16
betas = [0.8, 0.95]
stages = "0:64x48,0.35:128x96"

[augmentation]
scale = [0.8, 1.2]

[loss]
heatmap_mse = 0.5
"""


def test_reads_toml_and_overrides(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text(TOML)
    recipe = load_recipe(file, seed=7, compile=None)
    assert (recipe.epochs, recipe.batch, recipe.seed, recipe.compile) == (12, 16, 7, False)
    assert recipe.betas == (0.8, 0.95)
    assert recipe.augmentation.scale == (0.8, 1.2)
    assert recipe.augmentation.rotation_degrees == 40
    assert recipe.loss.heatmap_mse == 0.5
    assert recipe.stages == (Stage(0.0, (64, 48)), Stage(0.35, (128, 96)))
    assert recipe_from_dict(recipe.to_dict()) == recipe


def test_a_budget_given_replaces_the_files(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text(TOML)
    recipe = load_recipe(file, minutes=3.0)
    assert (recipe.epochs, recipe.minutes) == (None, 3.0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "one budget"),
        ("epochs = 1\nminutes = 1", "one budget"),
        ("epochs = 0", "not positive"),
        ("epochs = 1\nbatches = 3", "unknown setting 'batches'"),
        ("epochs = 1\n[augmentation]\nspin = 3", "unknown setting 'augmentation.spin'"),
        ("epochs = 1\n[augmentation]\nflip = 3", "no probability"),
        ("epochs = 1\n[augmentation]\nscale = [1.2, 0.8]", "no range"),
        ("epochs = 1\naugmentation = 3", "must be a table"),
        ("epochs = 1\nbatch = 'many'", "must be a whole number"),
        ("epochs = 1\nbf16 = 'maybe'", "bf16"),
        ("epochs = 1\nstages = '0.2:64x48'", "the first must start at 0"),
        ("epochs = 1\nstages = '0:64x48,0.5:80x60,0.4:96x72'", "the first must start at 0"),
        ("epochs = 1\nstages = 'small'", "START:HEIGHTxWIDTH"),
        ("epochs = ", "cannot read the recipe"),
    ],
)
def test_impossible_recipes_say_why(tmp_path, text, why):
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=why):
        load_recipe(file)


def test_settings_win_over_the_file(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text(TOML)
    recipe = load_recipe(file, ["batch=8", "augmentation.scale=0.9,1.1", "loss.heatmap_mse=2"])
    assert (recipe.batch, recipe.augmentation.scale, recipe.loss.heatmap_mse) == (8, (0.9, 1.1), 2)
    with pytest.raises(InputError, match="unknown setting 'epochs'"):
        load_recipe(file, ["epochs=3"])  # an option of its own


def test_trained_weights_are_tuned_at_a_lower_rate(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text("learning_rate = 2e-3")
    assert load_recipe(None, epochs=1.0).learning_rate == 1.5e-3
    assert load_recipe(None, tuning=True, epochs=1.0).learning_rate == TUNING_RATE
    assert load_recipe(file, tuning=True, epochs=1.0).learning_rate == 2e-3
    settings = ["learning_rate=1e-4"]
    assert load_recipe(file, settings, tuning=True, epochs=1.0).learning_rate == 1e-4


def test_absent_file(tmp_path):
    with pytest.raises(InputError, match="cannot read the recipe"):
        load_recipe(tmp_path / "none.toml", epochs=1.0)


def test_parse_stages():
    assert parse_stages("0:32X24") == (Stage(0.0, (32, 24)),)
