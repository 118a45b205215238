"""The whole way: folder -> crops -> model -> image pixels -> official metrics."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.errors import DatasetError, ImageError
from edgepose.estimator import Estimator
from edgepose.evaluate import CocoKeypoints, evaluate, holdout_ids
from edgepose.evaluate import coco as coco_module
from edgepose.images import read_image, write_image
from edgepose.spec import COCO_KEYPOINTS, Provenance
from tests.evaluate.folders import oracle, person, write_folder
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec

# 785 and 2261 are hold-out photos, 139 is not.
PHOTOS = {139: "000000000139.jpg", 785: "000000000785.png", 2261: "000000002261.png"}


def five_people() -> list[dict[str, Any]]:
    return [
        person(10, 785, (100, 20, 50, 120)),
        person(20, 139, (10, 10, 60, 100)),
        person(30, 2261, (-8, 30, 70, 90)),  # over the border
        person(40, 785, (20, 40, 70, 60)),
        person(50, 139, (90.5, 20.25, 80, 90.5)),
        person(60, 139, (5, 5, 190, 140), iscrowd=1, keypoints=[0] * 51, num_keypoints=0),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "coco", five_people(), PHOTOS)


@pytest.mark.parametrize("batch", [None, 1, 2, 3, 16])
@pytest.mark.parametrize("buckets", [None, (1, 4)])
def test_a_perfect_model_scores_100_however_it_is_batched(
    folder: Path, batch: int | None, buckets: tuple[int, ...] | None
) -> None:
    runner = oracle(five_people(), buckets=buckets)
    steps: list[tuple[int, int]] = []
    result = evaluate(
        Estimator(runner),
        CocoKeypoints.load(folder),
        batch=batch,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert result.metrics.ap == pytest.approx(100)
    assert result.metrics.ar == pytest.approx(100)
    assert min(result.joint_similarity) > 0.9999
    assert steps[-1] == (5, 5)
    assert result.label == "AP on val2017 (5 persons, GT boxes, flip off)"
    if batch is None:
        assert len(runner.batches) == (1 if buckets is None else 2)


def test_the_result_does_not_depend_on_batches_or_order(tmp_path: Path) -> None:
    """A model that is wrong everywhere, in its own way for each person."""
    people = five_people()
    one = CocoKeypoints.load(write_folder(tmp_path / "one", people, PHOTOS))
    turned = CocoKeypoints.load(
        write_folder(tmp_path / "two", people[::-1], dict(reversed(PHOTOS.items())))
    )
    results = [
        evaluate(Estimator(FakeRunner(heatmap_spec(), brightness_maps)), dataset, batch=batch)
        for dataset in (one, turned)
        for batch in (1, 2, 5)
    ]
    assert 0 <= results[0].metrics.ap < 50
    assert len({r.metrics for r in results}) == 1
    similarities = np.array([r.joint_similarity for r in results])
    np.testing.assert_allclose(similarities, similarities[:1].repeat(len(results), 0), rtol=1e-12)


def test_swapped_sides_score_low(folder: Path) -> None:
    runner = oracle(five_people())
    right = runner.respond
    order = list(runner.spec.keypoints.flip_order)
    runner.respond = lambda crops: {n: v[:, order] for n, v in right(crops).items()}
    assert evaluate(Estimator(runner), CocoKeypoints.load(folder)).metrics.ap < 20


def test_flip_runs_every_crop_twice_and_says_so(folder: Path) -> None:
    runner = FakeRunner(heatmap_spec(), brightness_maps)
    result = evaluate(Estimator(runner), CocoKeypoints.load(folder), flip=True)
    assert runner.batches == [5, 5]
    assert result.flip
    assert result.label.endswith("flip on)")


def test_weights_that_saw_validation_photos_are_measured_on_the_holdout_alone(
    folder: Path,
) -> None:
    tainted = Provenance(trained_on="some val2017 photos", holdout_only=True)
    runner = oracle(five_people(), provenance=tainted)
    result = evaluate(Estimator(runner), CocoKeypoints.load(folder))
    assert sum(runner.batches) == 3
    assert (result.persons, result.images) == (3, 2)
    assert result.label == "AP on the edgepose hold-out (3 persons, GT boxes, flip off)"
    assert result.note is not None
    assert "2 of 3 photos" in result.note
    assert result.to_dict()["protocol"]["note"] == result.note
    assert "val2017" not in result.label


def test_the_holdout_goes_by_photo_not_by_number(tmp_path: Path) -> None:
    """Crops with their own numbering name the photo they were cut from."""
    people = [person(10, 1, (20, 10, 50, 100)), person(20, 785, (30, 10, 50, 100))]
    root = write_folder(tmp_path / "s", people, {1: "000001.png", 785: "000785.png"}, flat=True)
    file = root / "person_keypoints.json"
    data = json.loads(file.read_text())
    data["images"][0]["source"] = "000000000785.jpg"
    data["images"][1]["source"] = "000000000139.jpg"
    file.write_text(json.dumps(data))
    tainted = oracle(people, provenance=Provenance(holdout_only=True))
    result = evaluate(Estimator(tainted), CocoKeypoints.load(root))
    assert (result.persons, result.metrics.ap) == (1, pytest.approx(100))


def test_a_running_number_is_no_photo_of_the_holdout(tmp_path: Path) -> None:
    people = [person(10, 785, (20, 10, 50, 100)), person(20, 2261, (30, 10, 50, 100))]
    root = write_folder(tmp_path / "s", people, {785: "785.png", 2261: "002261.png"}, flat=True)
    dataset = CocoKeypoints.load(root)
    tainted = oracle(people, provenance=Provenance(trained_on="two dots", holdout_only=True))
    result = evaluate(Estimator(tainted), dataset)
    assert (result.name, result.images) == ("s", 2)
    assert result.note is not None and "seen 2 of the photos" in result.note
    assert result.note.endswith("they were trained on two dots")
    assert evaluate(Estimator(oracle(people)), dataset).note is None


def test_ones_own_photos_stay_beside_the_holdouts(tmp_path: Path) -> None:
    names = {1: "000000000139.png", 2: "000000000785.png", 3: "camera-1.png"}
    people = [person(10 * n, n, (20, 10, 50, 100)) for n in names]
    dataset = CocoKeypoints.load(write_folder(tmp_path / "s", people, names))
    tainted = oracle(people[1:], provenance=Provenance(holdout_only=True))
    result = evaluate(Estimator(tainted), dataset)
    assert (result.images, result.metrics.ap) == (2, pytest.approx(100))
    assert result.name != "the edgepose hold-out"
    assert result.note is not None
    assert "2 of 3 photos, those that are not COCO's and those of the edgepose" in result.note
    assert "seen 1 of the photos" in result.note


def test_an_artefact_does_not_say_how_strictly_it_is_judged(folder: Path) -> None:
    """With sigmas ten times COCO's, poses that are wrong everywhere would be nearly right."""
    own = replace(COCO_KEYPOINTS, sigmas=tuple(s * 10 for s in COCO_KEYPOINTS.sigmas))
    results = [
        evaluate(
            Estimator(FakeRunner(replace(heatmap_spec(), keypoints=keypoints), brightness_maps)),
            CocoKeypoints.load(folder, keypoints),
        )
        for keypoints in (COCO_KEYPOINTS, own)
    ]
    assert results[1].metrics == results[0].metrics
    assert results[1].joint_similarity == results[0].joint_similarity
    assert results[0].note is None
    assert results[1].note is not None
    assert "judged by COCO's OKS sigmas" in results[1].note
    tainted = replace(heatmap_spec(), keypoints=own, provenance=Provenance(holdout_only=True))
    note = coco_module.coco_task(CocoKeypoints.load(folder, own), tainted).note or ""
    assert "2 of 3 photos" in note and "OKS sigmas" in note


def test_no_holdout_photo_at_all_is_an_error(folder: Path) -> None:
    only = CocoKeypoints.load(folder).where(lambda image: image.id == 139)
    tainted = oracle(five_people(), provenance=Provenance(holdout_only=True))
    with pytest.raises(DatasetError, match="none of them is here"):
        evaluate(Estimator(tainted), only)


def test_a_set_of_holdout_photos_is_called_so_for_any_weights(folder: Path) -> None:
    part = CocoKeypoints.load(folder).where(lambda image: image.id != 139)
    result = evaluate(Estimator(oracle(five_people())), part)
    assert (result.name, result.note) == ("the edgepose hold-out", None)


def test_a_quick_look_is_not_called_the_holdout(folder: Path) -> None:
    dataset = CocoKeypoints.load(folder)
    estimator = Estimator(oracle(five_people()))
    tainted = Estimator(oracle(five_people(), provenance=Provenance(holdout_only=True)))
    part = dataset.where(lambda image: image.id != 139)
    names = [
        evaluate(e, d).name
        for e, d in (
            (estimator, part.first(1)),
            (estimator, part.first(2)),  # all there are
            (estimator, dataset.first(2)),
            (tainted, part.first(1)),
            (tainted, dataset.first(2)),
        )
    ]
    assert names == [
        "the first 1 photo of the edgepose hold-out",
        "the edgepose hold-out",
        "the first 2 photos of val2017",
        "the first 1 photo of the edgepose hold-out",
        "1 photo of the edgepose hold-out, among the first 2 of val2017",
    ]


def test_the_shared_photos_are_the_holdout_until_limited(shared: Path) -> None:
    dataset = CocoKeypoints.load(shared / "data" / "coco")
    assert (coco_module._called(dataset), dataset.persons) == ("the edgepose hold-out", 528)
    limited = coco_module._called(dataset.first(20))
    assert limited == "the first 20 photos of the edgepose hold-out"


def test_a_damaged_photo_is_named(folder: Path) -> None:
    photo = folder / "val2017" / PHOTOS[785]
    photo.write_bytes(photo.read_bytes()[:60])
    with pytest.raises(ImageError, match="000000000785"):
        evaluate(Estimator(oracle(five_people())), CocoKeypoints.load(folder))


def test_pixels_are_taken_as_stored_whatever_exif_says(tmp_path: Path) -> None:
    """COCO annotates the stored pixels; a viewer would turn this photo by a quarter."""
    people = [person(100, 785, (30, 20, 100, 110))]
    root = write_folder(tmp_path / "c", people, {785: "000000000785.jpg"})
    photo = root / "val2017" / "000000000785.jpg"
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x0112, 3, 1, 6, 0)
    data = photo.read_bytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    photo.write_bytes(data[:2] + segment + data[2:])
    assert read_image(photo).shape == (200, 150, 3)  # turned, so that the tag is really there
    runner = FakeRunner(heatmap_spec(), brightness_maps)
    cropped: list[np.ndarray] = []
    runner.respond = lambda images: cropped.append(images) or brightness_maps(images)
    evaluate(Estimator(runner), CocoKeypoints.load(root))
    photo.write_bytes(data)
    evaluate(Estimator(runner), CocoKeypoints.load(root))
    np.testing.assert_array_equal(cropped[0], cropped[1])


def test_a_photo_of_another_size_is_not_the_one_annotated(folder: Path) -> None:
    photo = folder / "val2017" / PHOTOS[785]
    write_image(photo, np.zeros((150, 100, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"100x150, annotated were 200x150"):
        evaluate(Estimator(oracle(five_people())), CocoKeypoints.load(folder))


def test_the_packaged_list_is_the_projects(shared: Path) -> None:
    listed = json.loads((shared / "data" / "coco" / "holdout_image_ids.json").read_text())
    assert holdout_ids() == {str(i) for i in listed}
    assert len(holdout_ids()) == 520
