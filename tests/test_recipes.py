"""Recipes: the shipped ones, what a file may hold, and single settings from the command line."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from edgepose import recipes as module
from edgepose.engine.options import BuildOptions
from edgepose.errors import InputError
from edgepose.export.lint.targets import TARGETS, choose_opset
from edgepose.export.opset import OPSETS
from edgepose.export.precision.histogram import METHODS
from edgepose.recipes import (
    PLAIN,
    EngineSettings,
    Int8Settings,
    Recipe,
    load_recipe,
    recipes,
    recipes_folder,
)

WHOLE = """
device = "a board"
why = "a reason"
precision = "int8-fp16"
to = "engine"
target = "trt-10"
opset = 19
batch = [1, 2, 4]
fold_io = true

[int8]
method = "entropy"
percentile = 99.9
crops = 64
max_ap_drop = 1

[engine]
workspace_mib = 256
timing_cache = "board.timing"
optimization_level = 5
version_compatible = true
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "board.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.name)
def test_every_shipped_recipe_can_be_used(recipe: Recipe) -> None:
    """Its target reads its operator set, and the builder knows its settings."""
    assert len(recipe.why) > 60
    assert recipe.device
    assert recipe.target is not None
    target = TARGETS[recipe.target]
    assert choose_opset(recipe.opset, target) in target.opsets
    options = BuildOptions.from_settings(recipe.engine.chosen())
    assert options.workspace_mib == recipe.engine.workspace_mib
    assert (recipe.batch is None) == (recipe.to == "onnx")
    if recipe.target in ("trt-10", "trt-11"):  # strongly typed: what is not INT8 must be said
        assert recipe.precision != "int8"
    measured = "measured" in (recipes_folder() / f"{recipe.name}.toml").read_text()
    assert measured or recipe.to == "onnx"


def test_what_is_shipped() -> None:
    names = {recipe.name for recipe in recipes()}
    assert {"orin-nano-int8", "orin-nx-fp16", "agx-orin-int8", "thor-fp16", "cpu"} <= names
    assert {"desktop-gpu-fp16", "desktop-gpu-int8", "desktop-rtx-fp16"} <= names


def test_no_jetson_is_asked_for_a_dla() -> None:
    for recipe in recipes():
        assert recipe.engine.dla_core is None


def test_choices_are_those_of_the_parts_that_read_them() -> None:
    """The recipes are readable without onnx, so that their choices are written down here again."""
    hints = get_type_hints(Recipe)
    assert set(get_args(get_args(hints["target"])[0])) == set(TARGETS)
    assert module.OPSETS == OPSETS
    method = get_args(get_type_hints(Int8Settings)["method"])[0]
    assert set(get_args(method)) == set(METHODS)
    assert {f.name for f in fields(EngineSettings)} == {
        f.name for f in fields(BuildOptions) if f.name != "profiles"
    }
    defaults = {f.name: f.default for f in fields(BuildOptions)}
    assert all(f.default == defaults[f.name] for f in fields(EngineSettings))


def test_a_file_with_everything(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, WHOLE))
    assert recipe.name == "board"
    assert recipe.batch == (1, 2, 4)
    assert recipe.fold_io
    assert recipe.quantised
    assert recipe.int8 == Int8Settings(method="entropy", percentile=99.9, crops=64, max_ap_drop=1.0)
    assert recipe.engine.chosen() == {
        "workspace_mib": 256,
        "timing_cache": "board.timing",
        "optimization_level": 5,
        "version_compatible": True,
    }
    again = module.recipe_from_dict(
        "board", {k: v for k, v in recipe.to_dict().items() if k != "name"}
    )
    assert again == recipe


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "workspace_mib = 256",
            "workspace = 256",
            r"engine.workspace'[\s\S]*engine.workspace_mib\?",
        ),
        ("[int8]", "[int_8]", r"unknown setting 'int_8'"),
        ('why = "a reason"', "", r"'why' is missing"),
        ('why = "a reason"', 'why = "x"\nname = "y"', r"unknown setting 'name'"),
        ('"int8-fp16"', '"int8fp16"', r"'precision' is 'int8fp16'[\s\S]*did you mean int8-fp16\?"),
        ('"trt-10"', '"trt-rtx"', r"must be trt-8.6 or trt-10 or trt-11 where to is 'engine'"),
        ("opset = 19", "opset = 18", r"19 or 20 with precision int8-fp16"),
        ("opset = 19", "opset = 21", r"must be 17 to 20"),
        ("[1, 2, 4]", "[1, 2]", r"a list of 3 whole numbers"),
        ("[1, 2, 4]", "[1, 4, 2]", r"none smaller than the one before"),
        ("[1, 2, 4]", "[0, 2, 4]", r"from 1 on"),
        ("[1, 2, 4]", "[1, 2.5, 4]", r"'batch' is 2.5: it must be a whole number"),
        ("fold_io = true", "fold_io = 1", r"'fold_io' is 1: it must be true or false"),
        ("crops = 64", "crops = 8", r"32 or more"),
        ("crops = 64", "crops = true", r"'int8.crops' is True: it must be a whole number"),
        ("percentile = 99.9", "percentile = 101", r"above 50, up to 100"),
        ("max_ap_drop = 1", "max_ap_drop = -1", r"above 0"),
        ("workspace_mib = 256", "workspace_mib = 0", r"above 0"),
        ("optimization_level = 5", "optimization_level = 6", r"0 to 5"),
        ("optimization_level = 5", "dla_core = 0", r"one number three times where engine.dla_core"),
        ("optimization_level = 5", "dla_core = 2", r"0 or 1"),
        ("[engine]", "engine = 3\n[x]", r"."),
        ("device", "= device", r"it is not TOML"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert old in WHOLE
    with pytest.raises(InputError, match=words) as caught:
        load_recipe(written(tmp_path, WHOLE.replace(old, new)))
    assert "board.toml" in caught.value.what


def test_names_and_paths(tmp_path: Path) -> None:
    assert load_recipe("cpu").precision == "fp32"
    with pytest.raises(InputError, match=r"no recipe called 'orin-nano'[\s\S]*orin-nano-fp16"):
        load_recipe("orin-nano")
    with pytest.raises(InputError, match=r"cannot read the recipe .*none.toml"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="it is not TOML"):
        load_recipe(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("setting", "where", "value"),
    [
        ("precision=fp16", "precision", "fp16"),
        ("batch=1,2,3", "batch", (1, 2, 3)),
        ("batch=[2, 2, 2]", "batch", (2, 2, 2)),
        ("batch=none", "batch", None),
        ("fold_io=true", "fold_io", True),
        ("fold_io=True", "fold_io", True),
        ("target=none", "target", None),
        ("int8.method=mse", "int8.method", "mse"),
        ("int8.max_ap_drop=0.5", "int8.max_ap_drop", 0.5),
        ("int8.percentile=99", "int8.percentile", 99.0),
        ("engine.workspace_mib=1024", "engine.workspace_mib", 1024),
        ("engine.workspace_mib = none", "engine.workspace_mib", None),
        ("engine.timing_cache=a b.timing", "engine.timing_cache", "a b.timing"),
        ("engine.hardware_compatibility=none", "engine.hardware_compatibility", "none"),
        ("engine.compute_capabilities=8.6,12.0", "engine.compute_capabilities", ("8.6", "12.0")),
        ("engine.external_tactics=false", "engine.external_tactics", False),
    ],
)
def test_single_settings(setting: str, where: str, value: Any) -> None:
    recipe = load_recipe("orin-nano-int8").with_settings([setting])
    found: Any = recipe
    for part in where.split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("workspace_mib=1", r"did you mean engine.workspace_mib\?"),
        ("engine.batch=1", r"did you mean batch\?"),
        ("engine=1", r"unknown setting 'engine'"),
        ("name=x", r"unknown setting 'name'"),
        ("fold_io", r"not KEY=VALUE"),
        ("engine.workspace_mib=", r"'engine.workspace_mib' is ''"),
        ("engine.workspace_mib=much", r"it must be a whole number"),
        ("engine.workspace_mib=1.5", r"it must be a whole number"),
        ("batch=1,two,3", r"'batch' is 'two'"),
        ("precision=none", r"'precision' is 'none'"),
    ],
)
def test_settings_that_cannot_be(setting: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_recipe("orin-nano-int8").with_settings([setting])


def test_settings_together_and_the_recipe_stays_as_it_was() -> None:
    recipe = load_recipe("orin-nano-int8")
    # Each alone would contradict the rest.
    changed = recipe.with_settings(["opset=17", "precision=fp16", "target=trt-8.6"])
    assert (changed.opset, changed.precision, changed.target) == (17, "fp16", "trt-8.6")
    assert changed.name == recipe.name
    assert recipe == load_recipe("orin-nano-int8")


def test_without_a_recipe_nothing_is_asked_for() -> None:
    assert (PLAIN.precision, PLAIN.to, PLAIN.target, PLAIN.batch) == ("fp32", "onnx", None, None)
    assert PLAIN.engine.chosen() == {}
    assert replace(load_recipe("thor-fp16"), to="onnx", target=None).precision == "fp16"


def test_the_table_is_that_of_the_files() -> None:
    """One row a recipe, in the order of their names."""
    text = (recipes_folder() / "README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows == [row(recipe) for recipe in recipes()], "\n".join(map(row, recipes()))
    named = set(re.findall(r"(?<=[` ])[a-z0-9-]+-(?:fp16|int8)(?=[` ])", text)) - {"int8-fp16"}
    assert named <= {recipe.name for recipe in recipes()}


def row(recipe: Recipe) -> str:
    batch = "any" if recipe.batch is None else ", ".join(map(str, recipe.batch))
    cells = (
        f"`{recipe.name}`", recipe.device, recipe.precision, recipe.to, str(recipe.target), batch,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def test_operator_sets_are_those_that_are_written() -> None:
    from edgepose import recipes
    from edgepose.export import opset

    assert recipes.OPSETS == opset.OPSETS
    assert recipes.FP16_QUANTISATION == opset.INT8_FP16_OPSET
