"""What recipe, settings and options come to."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from edgepose.cli._export_plan import build_options, conversion, engine_place, make_plan
from edgepose.errors import InputError
from edgepose.trt.sidecar import Profile


def test_nothing_asked_for_is_a_plain_onnx_file() -> None:
    plan = make_plan(None, None, {"precision": None, "to": None})
    assert (plan.precision, plan.to, plan.target) == ("fp32", "onnx", None)
    assert conversion(plan, None, False) is None


def test_options_go_before_the_recipe_and_settings_before_both() -> None:
    plan = make_plan(
        "orin-nano-int8", ["engine.workspace_mib=512"], {"precision": "fp16", "batch": "1,2,4"}
    )
    assert plan.precision == "fp16"
    assert plan.to == "engine"
    options = build_options(plan)
    assert options.workspace_mib == 512
    assert options.profiles == (Profile(1, 2, 4),)


def test_the_pc_side_of_a_recipe_is_held_to_the_recipes_reader() -> None:
    assert make_plan("orin-nano-int8", None, {"to": "onnx"}).target == "trt-10"


def test_int8_among_fp16_needs_no_word_of_the_operator_set() -> None:
    assert make_plan(None, None, {"precision": "int8-fp16"}).opset is None
    assert make_plan("orin-nano-fp16", None, {"precision": "int8-fp16"}).target == "trt-10"


def test_another_product_leaves_the_recipes_reader() -> None:
    assert make_plan("orin-nano-fp16", None, {"to": "rtx-engine"}).target is None


def test_a_recipe_for_int8_brings_its_settings(tmp_path: Path) -> None:
    plan = make_plan("cpu-int8", ["int8.crops=64"], {"int8.max_ap_drop": 0.5})
    wanted = conversion(plan, tmp_path, sensitivity=False)
    assert wanted is not None
    assert (wanted.precision, wanted.calibration) == ("int8", tmp_path)
    assert (wanted.crops, wanted.max_ap_drop) == (64, 0.5)


def test_int8_without_people_says_what_to_give() -> None:
    with pytest.raises(InputError, match=r"needs people[\s\S]*--calib FOLDER"):
        conversion(make_plan(None, None, {"precision": "int8"}), None, sensitivity=False)


def test_people_without_int8_are_usage(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="INT8"):
        conversion(make_plan(None, None, {}), tmp_path, sensitivity=False)


@pytest.mark.parametrize(
    ("model", "precision", "out", "as_it_is", "engine", "graph"),
    [
        ("vttranspose@64x48", "fp32", None, False, "vttranspose.engine", "vttranspose.onnx"),
        ("vttranspose", "fp16", None, False, "vttranspose-fp16.engine", "vttranspose-fp16.onnx"),
        ("a/b.onnx", "fp32", None, True, "a/b.engine", "a/b.onnx"),
        ("a/b.onnx", "fp32", "x.engine", True, "x.engine", "a/b.onnx"),
        ("a/b-fp16.onnx", "fp16", None, True, "a/b-fp16.engine", "a/b-fp16.onnx"),
        # Never over the file that it comes from.
        ("a/b.onnx", "fp16", None, False, "a/b-fp16.engine", "a/b-fp16.onnx"),
    ],
)
def test_where_an_engine_goes(
    model: str, precision: str, out: str | None, as_it_is: bool, engine: str, graph: str
) -> None:
    plan = make_plan(None, None, {"precision": precision, "to": "engine"})
    place = engine_place(model, None if out is None else Path(out), plan, as_it_is=as_it_is)
    assert place == (Path(engine), Path(graph))


def test_a_folder_for_an_engine(tmp_path: Path) -> None:
    plan = make_plan(None, None, {"to": "engine"})
    assert engine_place("vttranspose", tmp_path, plan)[0] == tmp_path / "vttranspose.engine"


def test_an_engine_by_another_name_is_usage() -> None:
    with pytest.raises(typer.BadParameter, match=r"as x\.engine"):
        engine_place("vttranspose", Path("x.plan"), make_plan(None, None, {"to": "engine"}))
