"""The whole way from folders to weights, with a registry model."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgepose.errors import DatasetError, InputError, OutputError
from edgepose.models import build, load_weights
from edgepose.spec import COCO_KEYPOINTS
from edgepose.train import run as run_module
from edgepose.train.recipe import Recipe, Stage
from edgepose.zoo import find
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
    assert metadata["holdout_only"] == "true"  # the photos are named as COCO's
    assert (metadata["model"], metadata["input_size"]) == ("mitpose-lite", "32x32")
    with pytest.raises(OutputError, match="already holds a run"):
        train(folder, out)
    more = train(folder, out, Recipe(**{**vars(RECIPE), "epochs": 2}), resume=True)
    assert more.step > outcome.step
    larger = tmp_path / "larger"
    tuned = train(folder, larger, model="mitpose-lite@64x48", init=weights)
    assert tuned.before is not None
    assert tuned.before.loss != pytest.approx(tuned.validation.loss, abs=1e-4)
    assert outcome.before is None
    # Resuming does not forget what the run began with, nor what that could do.
    resumed = train(
        folder, larger, Recipe(**{**vars(RECIPE), "epochs": 2}), model="mitpose-lite@64x48",
        resume=True, init=weights.parent / "." / ".." / "out" / weights.name,  # the same file
    )  # fmt: skip
    assert resumed.before is not None
    assert resumed.before.loss == pytest.approx(tuned.before.loss, abs=1e-5)
    facts = json.loads((larger / "recipe.json").read_text())
    assert (facts["init"], facts["recipe"]["epochs"]) == (str(weights), 2)
    with pytest.raises(InputError, match="did not begin with mitpose-lite"):
        train(folder, larger, model="mitpose-lite@64x48", resume=True, init="mitpose-lite")


def test_weights_to_begin_with_may_be_the_zoos(folder, tmp_path, monkeypatch):
    shipped = find("mitpose-lite")
    (tmp_path / "mitpose-lite").mkdir()  # no file, and so no weights
    monkeypatch.chdir(tmp_path)
    assert run_module._weights("mitpose-lite") == shipped.weights.resolve()
    assert run_module._weights(shipped.name) == shipped.weights.resolve()
    with pytest.raises(InputError, match="no such file, and the zoo has no trained weights"):
        train(folder, tmp_path / "out", init="mitpose")
    assert not (tmp_path / "out").exists()


def test_what_a_resumed_run_began_with(tmp_path):
    assert run_module.init_of(tmp_path) is None
    facts = tmp_path / "recipe.json"
    facts.write_text('{"init": null}')
    assert run_module.init_of(tmp_path) is None
    for broken in ("{", "[]", "{}"):
        facts.write_text(broken)
        with pytest.raises(InputError, match="cannot read"):
            run_module.init_of(tmp_path)


def rename(folder, sources):
    """Let the pictures say that they are cut from these photos."""
    file = folder / "annotations" / "person_keypoints_val2017.json"
    content = json.loads(file.read_text())
    for image, source in zip(content["images"], sources, strict=True):
        image["source"] = source
    file.write_text(json.dumps(content))


ALL = Recipe(**{**vars(RECIPE), "fold": 0.0})


def test_the_packaged_holdout_is_refused_unless_allowed(folder, tmp_path):
    rename(folder, ["000000000785.jpg", "000000002261.jpg", "000000000785.jpg", "a.jpg", "b.jpg"])
    out = tmp_path / "out"
    with pytest.raises(DatasetError, match="--allow-holdout"):
        train(folder, out, ALL)
    assert not out.exists()
    train(folder, out, ALL, allow_holdout=True)
    metadata = load_weights(build("mitpose-lite", (32, 32)), out / "mitpose-lite.safetensors")
    assert metadata["trained_on"] == (
        "5 persons: 5 of val2017; includes 2 photos of the edgepose hold-out"
    )
    listed = tmp_path / "holdout.json"
    listed.write_text('["a.jpg"]')
    with pytest.raises(DatasetError, match=r"such as a\.jpg"):
        train(folder, tmp_path / "other", allow_holdout=True, holdout=listed)


@pytest.mark.parametrize(
    ("last", "listed", "holdout_only"),
    [("e.jpg", False, "false"), ("e.jpg", True, "true"), ("000000000139.jpg", False, "true")],
)
def test_coco_names_or_a_list_make_weights_holdout_only(
    folder, tmp_path, last, listed, holdout_only
):
    rename(folder, ["a.jpg", "b.jpg", "c.jpg", "d.jpg", last])
    file = tmp_path / "holdout.json"
    file.write_text("[1]")
    train(folder, tmp_path / "out", ALL, holdout=file if listed else None)
    weights = tmp_path / "out" / "mitpose-lite.safetensors"
    assert load_weights(build("mitpose-lite", (32, 32)), weights)["holdout_only"] == holdout_only


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


def test_a_stage_of_a_size_that_the_model_cannot_take_is_refused_at_once(folder, tmp_path):
    sizes = ((32, 32), (48, 48), (64, 64))
    stages = tuple(Stage(i / 3, size) for i, size in enumerate(sizes))
    with pytest.raises(InputError, match=r"0\.333333:48x48: .*multiples of 32"):
        train(folder, tmp_path / "out", replace(RECIPE, stages=stages), model="mgil-w32-64")
    assert not (tmp_path / "out").exists()
