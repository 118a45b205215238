"""The whole way from folders to weights, with a registry model."""

from __future__ import annotations

import json

import pytest

from edgepose.errors import DatasetError, InputError, OutputError
from edgepose.models import build, load_weights
from edgepose.spec import COCO_KEYPOINTS
from edgepose.train import run as run_module
from edgepose.train.recipe import Recipe
from tests.train.helpers import coco_person, make_set, write_annotations

RECIPE = Recipe(epochs=1, batch=2, validations=1, fold=0.2, bf16="off")
MODEL = "mitpose-lite@32x32"


@pytest.fixture
def folder(tmp_path):
    """Five pictures, all with the 17 COCO joints labelled (somewhere)."""
    folder = make_set(tmp_path / "set", 5)
    file = folder / "annotations" / "person_keypoints_val2017.json"
    images = json.loads(file.read_text())["images"]
    people = [coco_person(id=i + 1, image_id=image["id"]) for i, image in enumerate(images)]
    write_annotations(file, images, people, COCO_KEYPOINTS.names)
    return folder


def train(folder, out, recipe=RECIPE, **options):
    return run_module.train(
        options.pop("model", MODEL), [folder], out, recipe, device="cpu",
        cache=out.parent / "cache", **options,
    )  # fmt: skip


def test_trains_resumes_and_begins_from_weights(folder, tmp_path):
    out = tmp_path / "out"
    packing: list[tuple[str, int, int]] = []
    outcome = train(folder, out, packing=lambda *report: packing.append(report))
    assert outcome.finished
    assert packing[-1] == ("val2017", 5, 5)
    facts = json.loads((out / "recipe.json").read_text())
    kept = facts["trained_on"]["val2017"]
    assert kept + facts["validation_fold"] == 5
    assert facts["recipe"]["batch"] == 2
    weights = out / "mitpose-lite.safetensors"
    metadata = load_weights(build("mitpose-lite", (32, 32)), weights)
    assert metadata["trained_on"] == f"{kept} persons: {kept} of val2017"
    assert (metadata["model"], metadata["input_size"]) == ("mitpose-lite", "32x32")
    with pytest.raises(OutputError, match="already holds a run"):
        train(folder, out)
    more = train(folder, out, Recipe(**{**vars(RECIPE), "epochs": 2}), resume=True)
    assert more.step > outcome.step
    train(folder, tmp_path / "larger", model="mitpose-lite@64x48", init=weights)


def test_the_holdout_is_refused_before_anything_is_written(folder, tmp_path):
    listed = tmp_path / "holdout.json"
    listed.write_text("[1002]")
    with pytest.raises(DatasetError, match="hold-out"):
        train(folder, tmp_path / "out", holdout=listed)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "cache").exists()


def test_too_little_data_and_batches_that_cannot_be_shared(folder, tmp_path):
    with pytest.raises(DatasetError, match="too small"):
        train(folder, tmp_path / "out", Recipe(epochs=1, batch=64))
    with pytest.raises(InputError, match="cannot be shared by 2 processes"):
        run_module._check_batch(7, 100, 2)
    run_module._check_batch(8, 100, 2)


def test_unknown_model(folder, tmp_path):
    with pytest.raises(InputError, match="no model"):
        train(folder, tmp_path / "out", model="mitpose-light")
