from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.bench.plan import SECTIONS, Artefact, plan_for
from edgepose.errors import InputError
from edgepose.recipes import load_recipe

SUITES = Path(__file__).parent.parent.parent / "benchmarks" / "suites"
SUITE = """
title = "two of a kind"
batches = [1, 4]
flip = "off"
seconds = 3

[[artefact]]
use = "near.onnx"
[[artefact]]
label = "eight bits"
export = ["mitpose-lite", "--precision", "int8"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "suite.toml"
    path.write_text(text)
    return path


def test_a_suite_and_what_is_typed_beside_it(tmp_path: Path) -> None:
    (tmp_path / "near.onnx").write_bytes(b"")
    suite = written(tmp_path, SUITE)
    plan = plan_for(
        (Artefact(use="mine.onnx"),),
        suite,
        {"threads": 2, "device": None, "coco": "people"},
        ("seconds=1.5", "limit=20", "sections=latency,accuracy"),
    )
    assert [one.name for one in plan.artefact] == ["mine.onnx", "near.onnx", "eight bits"]
    assert plan.artefact[1].use == str(tmp_path / "near.onnx")
    assert (plan.threads, plan.device, plan.seconds, plan.limit) == (2, None, 1.5, 20)
    assert plan.flips == (False,)
    assert plan.wants("latency")
    assert plan.wants("accuracy")
    assert not plan.wants("cost")


def test_without_a_suite_everything_is_measured_but_accuracy() -> None:
    plan = plan_for((Artefact(use="a.onnx"),), None, {})
    assert plan.sections == SECTIONS
    assert plan.flips == (False, True)
    assert not plan.wants("accuracy")
    assert plan.to_dict()["artefact"] == [{"use": "a.onnx", "export": [], "random_weights": False}]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("batches = [1, 4]", "batches = [0]", "batches"),
        ("batches = [1, 4]", "batches = [4, 4]", "batches"),
        ("batches = [1, 4]", "batch = [4]", "did you mean batches"),
        ('flip = "off"', 'flip = "of"', "did you mean off"),
        ("seconds = 3", "seconds = 0", "seconds"),
        ("seconds = 3", "limit = 3", "--coco"),
        ('use = "near.onnx"', 'uses = "near.onnx"', r"artefact\[1\]"),
        ('use = "near.onnx"', "", "a file or name"),
        ('label = "eight bits"', 'label = "near.onnx"', "called differently"),
    ],
)
def test_what_is_wrong_with_a_suite_is_named(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    assert old in SUITE
    with pytest.raises(InputError, match=words) as caught:
        plan_for((), written(tmp_path, SUITE.replace(old, new, 1)), {})
    assert "suite.toml cannot be used" in str(caught.value)


def test_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to measure"):
        plan_for((), None, {})
    with pytest.raises(InputError, match="cannot read the suite"):
        plan_for((), tmp_path / "none.toml", {})
    with pytest.raises(InputError, match="--coco DIR"):
        plan_for((Artefact(use="a.onnx"),), None, {"sections": ["accuracy"]})
    with pytest.raises(InputError, match="unknown setting 'second'"):
        plan_for((Artefact(use="a.onnx"),), None, {}, ("second=3",))


@pytest.mark.parametrize("suite", sorted(SUITES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_suites_that_come_with_edgepose(suite: Path) -> None:
    plan = plan_for((), suite, {})
    assert plan.title
    assert plan.why
    for artefact in plan.artefact:
        words = artefact.export
        if "--recipe" in words:
            load_recipe(words[words.index("--recipe") + 1])


def test_there_are_suites() -> None:
    assert {path.stem for path in SUITES.glob("*.toml")} == {"cpu", "desktop-gpu", "jetson"}
