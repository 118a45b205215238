"""Finding poses: in any batches, read ahead, stopped and taken up again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import edgepose
from edgepose.errors import DatasetError, ImageError, OutputError
from edgepose.estimator import Estimator
from edgepose.evaluate import CocoKeypoints, Predicted, PredictionStore, coco_task, predict
from edgepose.evaluate.people import People, Picture
from edgepose.images import read_image, write_image
from tests.evaluate.folders import person, write_folder
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec

PHOTOS = 9


@pytest.fixture
def people(tmp_path: Path) -> People:
    """Two persons in every photo, on noise, so that each crop is another."""
    annotations = [
        person(2 * i + k, i, (10 + 70 * k, 12 + i, 60, 100 + i))
        for i in range(1, PHOTOS + 1)
        for k in (0, 1)
    ]
    names = {i: f"{i:012}.png" for i in range(1, PHOTOS + 1)}
    root = write_folder(tmp_path / "c", annotations, names)
    rng = np.random.default_rng(3)
    for name in names.values():
        write_image(root / "val2017" / name, rng.integers(0, 256, (150, 200, 3), np.uint8))
    return coco_task(CocoKeypoints.load(root), heatmap_spec()).people


def finder(fails_after: int | None = None, error: type[BaseException] = KeyboardInterrupt):
    """A model, and the sizes of the batches it was asked for."""
    runner = FakeRunner(heatmap_spec(), brightness_maps)

    def respond(images: np.ndarray) -> dict[str, np.ndarray]:
        if fails_after is not None and len(runner.batches) > fails_after:
            raise error
        return brightness_maps(images)

    runner.respond = respond
    return Estimator(runner), runner.batches


def same(one: list[Predicted], other: list[Predicted]) -> bool:
    return [p.flip for p in one] == [p.flip for p in other] and all(
        np.array_equal(a.keypoints, b.keypoints) and np.array_equal(a.scores, b.scores)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("ahead", [0, 1, 100])
@pytest.mark.parametrize("batch", [1, 3, 5, 18, 99])
def test_neither_batches_nor_reading_ahead_change_anything(
    people: People, batch: int, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict(finder()[0], people, flips=(False, True))
    monkeypatch.setattr(sys.modules["edgepose.evaluate.predict"], "_AHEAD", ahead)
    estimator, batches = finder()
    steps: list[int] = []
    parts = predict(
        estimator, people, flips=(False, True), batch=batch, progress=lambda d, n: steps.append(d)
    )
    assert same(whole, parts)
    assert steps[-1] == len(people) == 18
    assert sum(batches) == 2 * 18  # once plain, once mirrored, for both protocols


def test_each_pose_is_what_the_estimator_finds_alone(people: People) -> None:
    found = predict(finder()[0], people, flips=(True, False))
    for flip, predicted in zip((True, False), found, strict=True):
        row = 0
        for picture in people.pictures:
            image = read_image(picture.path)
            boxes = people.boxes[people.image_ids == picture.id]
            for one in finder()[0](image, boxes, flip=flip).keypoints:
                np.testing.assert_array_equal(predicted.keypoints[row], one)
                row += 1
        assert row == len(people)


def test_a_shipped_model_finds_the_same_in_any_batch(shared: Path, repo_root: Path) -> None:
    """Real convolutions round otherwise in other batches; poses must not notice."""
    dataset = CocoKeypoints.load(shared / "data" / "coco").first(5)
    file = repo_root / "models/mitpose-lite/mitpose-lite-128x96.onnx"
    with edgepose.load(file, threads=1) as estimator:
        some = coco_task(dataset, estimator.spec).people
        alone, together = (predict(estimator, some, batch=b)[0] for b in (1, 32))
    np.testing.assert_allclose(alone.keypoints, together.keypoints, atol=0.01)
    np.testing.assert_allclose(alone.scores, together.scores, atol=1e-4)


def store(path: Path, every_s: float = 0.0, **key: str) -> PredictionStore:
    return PredictionStore(path, {"artefact": "a", "protocol": "p"} | key, every_s)


def test_an_interrupted_evaluation_goes_on_where_it_was(people: People, tmp_path: Path) -> None:
    path = tmp_path / "so-far.npz"
    estimator, _ = finder(fails_after=5)  # in the middle of the third batch
    with pytest.raises(KeyboardInterrupt):
        predict(estimator, people, flips=(False, True), batch=4, store=store(path, every_s=1e9))
    again, batches = finder()
    steps: list[tuple[int, int]] = []
    taken_up = store(path)
    found = predict(
        again,
        people,
        flips=(False, True),
        batch=4,
        store=taken_up,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert same(found, predict(finder()[0], people, flips=(False, True)))
    assert taken_up.resumed == 8
    assert steps == [(8, 18), (12, 18), (16, 18), (18, 18)]
    assert sum(batches) == 2 * 10


def test_it_goes_on_with_other_batches_too(people: People, tmp_path: Path) -> None:
    """In the middle of a photo as well."""
    with pytest.raises(KeyboardInterrupt):
        predict(finder(fails_after=2)[0], people, batch=3, store=store(tmp_path / "s.npz"))
    taken_up = store(tmp_path / "s.npz")
    found = predict(finder()[0], people, batch=7, store=taken_up)
    assert taken_up.resumed == 6
    assert same(found, predict(finder()[0], people))


KILLED = """
import sys, time
from tests.evaluate.test_predict import finder, store
from edgepose.evaluate import CocoKeypoints, coco_task, predict
from tests.fakes import heatmap_spec
people = coco_task(CocoKeypoints.load(sys.argv[1]), heatmap_spec()).people
def slow(done, total):
    print(done, flush=True)
    if done == 9:
        time.sleep(600)
predict(finder()[0], people, batch=3, store=store(sys.argv[2]), progress=slow)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_evaluation_goes_on_where_it_was(
    people: People, tmp_path: Path, repo_root: Path
) -> None:
    path = tmp_path / "s.npz"
    words = [sys.executable, "-c", KILLED, str(tmp_path / "c"), str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=repo_root) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == "9":
                child.send_signal(signal.SIGKILL)
        assert child.wait(30) == -signal.SIGKILL
    taken_up = store(path)
    assert same(predict(finder()[0], people, store=taken_up), predict(finder()[0], people))
    assert taken_up.resumed == 9


@pytest.mark.parametrize("damage", ["other key", "cut", "not npz", "no array", "too long"])
def test_a_stale_or_damaged_store_is_redone(people: People, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "s.npz"
    wrong = [np.full((1, 20, 17, 2), 7, np.float32), np.full((1, 20, 17), 7, np.float32)]
    store(path, **({"artefact": "b"} if damage == "other key" else {})).keep(
        20 if damage == "too long" else 4, *wrong
    )
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:700])
    elif damage == "not npz":
        path.write_text("poses")
    elif damage == "no array":
        with np.load(path) as file:
            kept = {"key": file["key"], "keypoints": file["keypoints"]}
        np.savez(path, **kept)
    taken_up = store(path)
    assert same(predict(finder()[0], people, store=taken_up), predict(finder()[0], people))
    assert taken_up.resumed == 0


def test_it_is_written_now_and_then_whole(people: People, tmp_path: Path) -> None:
    kept = store(tmp_path / "s.npz", every_s=1e9)
    predict(finder()[0], people, batch=1, store=kept)
    assert not kept.path.exists()
    predict(finder()[0], people, batch=1, store=store(kept.path))
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["s.npz"]
    kept.discard()
    kept.discard()
    assert not kept.path.exists()


def test_what_stopped_it_is_told_not_the_full_disk(people: People, tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("no folder")
    with pytest.raises(KeyboardInterrupt):
        kept = store(nowhere / "s.npz", every_s=1e9)
        predict(finder(fails_after=2)[0], people, batch=2, store=kept)
    with pytest.raises(OutputError):
        predict(finder()[0], people, batch=2, store=store(nowhere / "s.npz"))


def test_no_thread_outlives_a_failure(people: People) -> None:
    with pytest.raises(KeyboardInterrupt):
        predict(finder(fails_after=0)[0], people, batch=2)
    ended = time.monotonic() + 20
    while any(t.name.startswith("photos") for t in threading.enumerate()):
        assert time.monotonic() < ended
        time.sleep(0.01)


def test_what_goes_wrong_while_reading_ahead_is_raised(people: People) -> None:
    damaged, other = people.pictures[4].path, people.pictures[6].path
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:50])
    with pytest.raises(ImageError, match=damaged.name):
        predict(finder()[0], people)
    damaged.unlink()
    with pytest.raises(ImageError, match=damaged.name):
        predict(finder()[0], people)
    damaged.write_bytes(whole)
    write_image(other, np.zeros((150, 100, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"100x150, annotated were 200x150"):
        predict(finder()[0], people)


def test_people_out_of_order_or_of_other_lengths_are_refused() -> None:
    picture = Picture(1, Path("a.png"), None)
    ids, boxes = np.array([2, 1]), np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match="not ascending"):
        People((picture,), ids, ids, boxes, np.ones(2), "x")
    with pytest.raises(ValueError, match=r"boxes has shape \(2, 4\), expected \(1, 4\)"):
        People((picture,), ids[:1], ids[:1], boxes, np.ones(1), "x")


def test_the_digest_tells_people_apart(people: People) -> None:
    def changed(**values: object) -> str:
        return People(**(vars(people) | values)).sha256

    assert changed() == people.sha256
    others = [
        changed(boxes=people.boxes + 1),
        changed(box_scores=people.box_scores / 2),
        changed(numbers=people.numbers + 1),
        changed(image_ids=people.image_ids + 1),
        changed(pictures=people.pictures[1:]),
    ]
    assert len({people.sha256, *others}) == 6
