"""Accuracy: found by a job in one process, judged in another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.bench.accuracy import (
    Evaluation,
    accuracy_sections,
    load_measured,
    predict_job,
)
from edgepose.errors import DatasetError, InputError
from edgepose.estimator import Estimator
from edgepose.evaluate import CocoKeypoints, evaluate, evaluate_protocols
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.spec import Provenance
from tests.evaluate.folders import mpii_person, person, write_folder, write_mpii
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec, write_tiny_onnx

BOTH = (False, True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    people = [
        person(30, 139, (10, 10, 60, 100)),
        person(60, 139, (90, 20, 80, 90)),
        person(90, 785, (40, 20, 70, 90)),
    ]
    return write_folder(tmp_path / "c", people, {139: "000000000139.png", 785: "000000000785.png"})


@pytest.fixture
def estimator(tmp_path: Path) -> Estimator:
    return Estimator(OnnxRunner(write_tiny_onnx(tmp_path / "t.onnx", heatmap_spec()), threads=1))


def through_json(job: dict[str, Any]) -> dict[str, Any]:
    """As it arrives in another process."""
    data: dict[str, Any] = json.loads(json.dumps(job))
    return data


def test_both_protocols_in_one_pass_are_what_each_gives_alone(
    folder: Path, estimator: Estimator
) -> None:
    dataset = CocoKeypoints.load(folder)
    steps: list[tuple[int, int]] = []
    results = evaluate_protocols(
        estimator, dataset, BOTH, progress=lambda done, total: steps.append((done, total))
    )
    assert steps == [(3, 3)]
    assert results == [evaluate(estimator, dataset, flip=flip) for flip in BOTH]
    assert results[0].metrics.ap < 100


def test_a_job_and_its_sections(folder: Path, estimator: Estimator, tmp_path: Path) -> None:
    evaluation = Evaluation(coco=str(folder), flips=BOTH)
    job = through_json(evaluation.job(tmp_path / "out.npz", store=tmp_path / "so-far.npz"))
    steps: list[tuple[int, int]] = []
    reply = predict_job(estimator, job, lambda done, total: steps.append((done, total)))
    assert reply == through_json(reply) | {"seconds": pytest.approx(reply["seconds"])}
    assert (reply["persons"], reply["resumed"], steps) == (3, 0, [(3, 3)])
    assert not (tmp_path / "so-far.npz").exists()
    measured = load_measured(evaluation, reply["out"])
    assert measured.spec == estimator.spec
    sections = through_json(accuracy_sections(measured))
    wanted = [r.to_dict() for r in evaluate_protocols(estimator, CocoKeypoints.load(folder), BOTH)]
    for section, other in zip(sections, wanted, strict=True):
        assert section.pop("seconds") >= 0
        assert section.pop("resumed_persons") == 0
        assert section == other
    assert sections[0]["metrics"]["ap_medium"] is not None
    assert sections[0]["metrics"]["ap_large"] is None  # nobody here is that large


def test_a_job_that_was_stopped_goes_on(folder: Path, estimator: Estimator, tmp_path: Path) -> None:
    evaluation = Evaluation(coco=str(folder), batch=1)
    job = evaluation.job(tmp_path / "out.npz", store=tmp_path / "so-far.npz")

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_job(estimator, job, stop)
    assert not (tmp_path / "out.npz").exists()
    steps: list[int] = []
    reply = predict_job(estimator, job, lambda done, total: steps.append(done))
    assert (reply["resumed"], steps) == (2, [2, 3])
    assert accuracy_sections(load_measured(evaluation, reply["out"]))[0]["resumed_persons"] == 2
    assert not (tmp_path / "so-far.npz").exists()


@pytest.mark.parametrize("change", ["artefact", "flips", "people", "spec"])
def test_nothing_is_taken_up_of_another_measurement(
    folder: Path, tmp_path: Path, change: str
) -> None:
    store = tmp_path / "so-far.npz"

    def run(stops: bool, sha256: str = "a" * 64, padding: float = 1.25, **options: Any) -> int:
        def stop(done: int, total: int) -> None:
            if stops and done == 2:
                raise KeyboardInterrupt

        options = {"coco": str(folder), "batch": 1} | options
        job = Evaluation(**options).job(tmp_path / "o.npz", store=store, sha256=sha256)
        runner = FakeRunner(heatmap_spec(padding=padding), brightness_maps)
        resumed: int = predict_job(Estimator(runner), job, stop)["resumed"]
        return resumed

    with pytest.raises(KeyboardInterrupt):
        run(True)
    other: dict[str, Any] = {
        "artefact": {"sha256": "b" * 64},
        "flips": {"flips": BOTH},
        "people": {"limit": 1},
        "spec": {"padding": 1.1},
    }[change]
    assert run(False, **other) == 0
    with pytest.raises(KeyboardInterrupt):
        run(True)
    assert run(False) == 2


def test_random_weights_are_nobodys_and_keep_nothing(folder: Path, tmp_path: Path) -> None:
    job = Evaluation(coco=str(folder), batch=1).job(tmp_path / "o.npz", store=tmp_path / "s.npz")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_job(Estimator(FakeRunner(heatmap_spec(), brightness_maps)), job, stop)
    assert not (tmp_path / "s.npz").exists()


def test_the_holdout_rule_reaches_the_sections(folder: Path, tmp_path: Path) -> None:
    spec = heatmap_spec(provenance=Provenance(holdout_only=True))
    evaluation = Evaluation(coco=str(folder))
    out = predict_job(
        Estimator(FakeRunner(spec, brightness_maps)), evaluation.job(tmp_path / "o.npz")
    )["out"]
    (section,) = accuracy_sections(load_measured(evaluation, out))
    assert section["label"] == "AP on the edgepose hold-out (1 persons, GT boxes, flip off)"
    assert "1 of 2 photos" in section["protocol"]["note"]


def test_detections_through_a_job(folder: Path, estimator: Estimator, tmp_path: Path) -> None:
    file = tmp_path / "boxes.json"
    rows = [
        {"image_id": 139, "category_id": 1, "bbox": [10, 10, 60, 100], "score": score}
        for score in (0.9, 0.2)
    ]
    file.write_text(json.dumps(rows))
    evaluation = Evaluation(coco=str(folder), detections=str(file), box_threshold=0.5)
    out = predict_job(estimator, through_json(evaluation.job(tmp_path / "o.npz")))["out"]
    (section,) = accuracy_sections(load_measured(evaluation, out))
    assert section["label"] == "AP on val2017 (3 persons, detected boxes, flip off)"
    assert section["protocol"]["detections"]["boxes"] == 1
    file.write_text(json.dumps([rows[0] | {"image_id": 5}]))
    with pytest.raises(DatasetError, match=r"boxes\.json is not of the photos"):
        predict_job(estimator, evaluation.job(tmp_path / "o.npz"))


def test_pckh_through_a_job(estimator: Estimator, tmp_path: Path) -> None:
    people = [mpii_person("a.jpg", (51, 61), 0.4), mpii_person("b.jpg", (101, 81), 0.5)]
    evaluation = Evaluation(mpii=str(write_mpii(tmp_path / "m", people)), flips=BOTH, limit=1)
    out = predict_job(estimator, through_json(evaluation.job(tmp_path / "o.npz")))["out"]
    sections = through_json(accuracy_sections(load_measured(evaluation, out)))
    assert [s["protocol"]["flip"] for s in sections] == [False, True]
    assert sections[0]["protocol"]["metric"] == "PCKh"
    assert sections[0]["protocol"]["persons"] == 1
    assert set(sections[0]["metrics"]) == {"pckh@0.5", "pckh@0.1", "per_joint"}


def test_poses_of_other_people_are_not_judged(
    folder: Path, estimator: Estimator, tmp_path: Path
) -> None:
    evaluation = Evaluation(coco=str(folder))
    out = predict_job(estimator, evaluation.job(tmp_path / "o.npz"))["out"]
    with pytest.raises(InputError, match="not of these people"):
        load_measured(Evaluation(coco=str(folder), flips=(True,)), out)
    file = folder / "annotations" / "person_keypoints_val2017.json"
    data = json.loads(file.read_text())
    data["annotations"][0]["bbox"][0] += 1
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"annotations, .* changed since"):
        load_measured(evaluation, out)
    Path(out).write_bytes(Path(out).read_bytes()[:300])
    with pytest.raises(InputError, match="cannot read"):
        load_measured(evaluation, out)
    np.savez(out, poses=np.zeros(3))
    with pytest.raises(InputError, match="cannot read"):
        load_measured(evaluation, out)


def test_contradictions_are_refused() -> None:
    for options in (
        {},
        {"coco": "a", "mpii": "b"},
        {"mpii": "b", "detections": "d"},
        {"coco": "a", "flips": ()},
        {"coco": "a", "flips": (True, True)},
    ):
        with pytest.raises(ValueError, match=r"COCO folder|off, on"):
            Evaluation(**options)  # type: ignore[arg-type]
