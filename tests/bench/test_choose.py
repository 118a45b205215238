from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edgepose.bench.choose import choose, parse_budget
from edgepose.bench.reading import ap_between, ap_protocol, names, references
from edgepose.bench.record import ArtefactRecord
from edgepose.bench.report.study import Study
from edgepose.errors import InputError
from tests.bench.artefacts import failed, records

TORCH, FP32, FP16, INT8, LARGE = (
    "example-lite",
    "example-lite.onnx",
    "example-lite-fp16.onnx",
    "example-lite-int8.onnx",
    "example-large.onnx",
)


def without(record: ArtefactRecord, **sections: Any) -> ArtefactRecord:
    return dataclasses.replace(record, **sections)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("33ms", 33), ("0.033s", 33), ("30fps", 1000 / 30), (" 12.5 MS ", 12.5), (".5s", 500)],
)
def test_budgets_are_read(text: str, milliseconds: float) -> None:
    assert parse_budget(text) == pytest.approx(milliseconds)


@pytest.mark.parametrize("text", ["33", "ms", "-3ms", "0ms", "0fps", "1e400s", "nanms", "3 m", ""])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"33ms, 0\.033s or 30fps"):
        parse_budget(text)


def test_the_most_accurate_within_the_budget() -> None:
    choice = choose(records(), 40)
    assert choice.best == LARGE
    assert "the highest AP (68.7 %) of the 5" in choice.why
    assert choice
    assert choice.to_dict()["rows"][4]["fits"] is True


def test_of_accuracies_that_cannot_be_told_apart_the_fastest() -> None:
    """Torch, FP32 and FP16 are within each other's intervals; INT8 is not."""
    choice = choose(records(4), 20)
    assert choice.best == FP32
    rows = {row.name: row.why for row in choice.rows}
    assert "cannot be told from that of example-lite.onnx, and it is slower" in rows[FP16]
    assert "AP 60.9 is less" in rows[INT8]


def test_the_fastest_of_a_tie_may_have_the_lower_figure() -> None:
    torch, fp32, fp16, int8 = records(4)
    assert int8.parity is not None
    part = int8.parity["by_protocol"][0] | {
        "ap_difference": {"value": -1.41, "interval_95": [-2.9, 0.1], "draws": 1, "seed": 0}
    }
    unsure = without(int8, parity=int8.parity | {"by_protocol": [part]})
    choice = choose([torch, fp32, fp16, unsure], 20)
    assert choice.best == INT8
    assert "cannot be told from the highest (62.3 % of example-lite.onnx)" in choice.why


def test_intervals_of_two_others_are_added() -> None:
    """Neither is the reference: 1 apart, each sure to 0.8, so that together they are not."""
    made = records(3)
    sure = []
    for record, value in zip(made[1:], (0.0, 1.0), strict=True):
        assert record.parity is not None
        interval = [value - 0.8, value + 0.8]
        part = record.parity["by_protocol"][0] | {
            "ap_difference": {"value": value, "interval_95": interval, "draws": 1, "seed": 0}
        }
        accuracy = [dict(entry) for entry in record.accuracy or []]
        accuracy[0]["metrics"] = accuracy[0]["metrics"] | {"ap": 60 + value}
        parity = record.parity | {"by_protocol": [part]}
        sure.append(without(record, parity=parity, accuracy=accuracy))
    low = [dict(entry) for entry in made[0].accuracy or []]
    low[0]["metrics"] = low[0]["metrics"] | {"ap": 50.0}
    base = without(made[0], accuracy=low)
    assert choose([base, *sure], 100).best == FP32
    other_run = [sure[0], without(sure[1], run="another")]
    assert choose([base, *other_run], 100).best == FP16


def test_min_ap_excludes() -> None:
    choice = choose(records(), 60, min_ap=61, persons=8)
    assert choice.best == FP32
    why = {row.name: row.why for row in choice.rows}
    assert "AP 60.9 is below 61" in why[INT8]
    assert "too slow" in why[LARGE]


def test_nothing_fits() -> None:
    choice = choose(records(), 1)
    assert not choice
    assert "the nearest is example-lite-int8.onnx with 5.31 ms" in choice.why
    assert not any(row.fits for row in choice.rows)


def test_nothing_fits_for_want_of_accuracy() -> None:
    """What keeps the time is not told as if it were too slow."""
    why = choose(records(), 6, min_ap=61).why
    assert why.endswith(
        "; example-lite-int8.onnx keeps the time with 5.31 ms, but its AP of 60.9 % is too low"
    )
    bare = [without(record, accuracy=None, parity=None) for record in records()]
    assert choose(bare, 6, min_ap=61).why.endswith("with 5.31 ms, but its AP was not measured")


def test_nobody_timed_so_many_persons() -> None:
    assert choose(records(), 40, persons=99).why.endswith(": no frame with 99 persons was timed")
    assert choose([failed()], 40).why.endswith(": no frame was timed")


def test_the_only_one_is_called_so() -> None:
    assert choose(records(), 6).why == (
        "the only one that keeps within 6 ms a frame at p95 with 1 person: 5.31 ms, AP 60.9 %"
    )
    made = records(4)
    made[1:3] = [without(record, accuracy=None, parity=None) for record in made[1:3]]
    made[3] = without(made[3], accuracy=None, parity=None)
    assert choose(made, 20).why.startswith("the only one with a known AP (62.3 %) of the 4 that")
    assert choose(made, 6).why.startswith("the only one that keeps within 6 ms")


def test_a_label_that_is_no_path_keeps_its_slashes() -> None:
    record, other = records(2)
    assert names([without(record, label="timm/b"), other]) == ["timm/b", FP32]
    assert names([without(other, label="int8/edge.v2")]) == ["int8/edge.v2"]
    file = other.artefact | {"file": "edge.v2"}
    assert names([without(other, label="int8/edge.v2", artefact=file)]) == ["edge.v2"]
    twice = [without(other, run=run) for run in ("aaaaaaaa", "bbbbbbbb")]
    assert names(twice) == [f"{FP32} (run aaaaaa)", f"{FP32} (run bbbbbb)"]


def test_the_percentile_decides() -> None:
    time = records(1)[0].latency["cells"][1]["milliseconds"]  # type: ignore[index]
    between = (time["p50"] + time["p99"]) / 2
    assert choose(records(1), between, percentile="p50")
    assert not choose(records(1), between, percentile="p99")
    with pytest.raises(ValueError, match="p42"):
        choose(records(1), between, percentile="p42")


def test_numbers_of_persons_that_were_not_timed() -> None:
    row = choose(records(1), 1000, persons=5).rows[0]
    assert row.timed_with == 8
    assert "(timed with 8 persons)" in row.why
    row = choose(records(1), 1000, persons=17).rows[0]
    assert not row.fits
    assert "measure with --batch 17" in row.why


def test_without_any_accuracy_the_fastest_is_taken_and_it_is_said() -> None:
    bare = [without(record, accuracy=None, parity=None) for record in records()]
    choice = choose(bare, 40)
    assert choice.best == INT8
    assert "no AP was measured" in choice.why
    assert choice.measured_by is None
    assert not choose(bare, 40, min_ap=10)


def test_what_has_no_ap_or_failed_cannot_win() -> None:
    made = records(4)
    made[3] = without(made[3], accuracy=None, parity=None)
    choice = choose([*made, failed()], 40)
    assert choice.best == FP32
    why = {row.name: row.why for row in choice.rows}
    assert "its AP is not known" in why[INT8]
    assert "it failed: cannot load models/broken.onnx" in why["broken.onnx"]


def test_an_ap_of_another_protocol_is_not_compared() -> None:
    made = records(2)
    other = [dict(entry) for entry in made[1].accuracy or []]
    for entry in other:
        entry["protocol"] = entry["protocol"] | {"persons": 3}
        entry["metrics"] = entry["metrics"] | {"ap": 99.0}
    choice = choose([made[0], without(made[1], accuracy=other)], 40)
    assert choice.best == TORCH


def test_a_reference_is_one_in_its_own_run_only() -> None:
    """The FP32 file is the reference here, and one of those that are held to PyTorch there."""
    torch, fp32, fp16 = records(3)
    assert fp16.parity is not None
    parity = fp16.parity | {"reference": fp32.label}
    here = [
        without(fp32, run="here", parity=None, latency=None),
        without(fp16, run="here", parity=parity, latency=None),
    ]
    for mixed in ([*here, torch, fp32], [torch, fp32, *here]):
        against = references(mixed, ("parity",))
        assert against == {torch.run: torch.label, "here": fp32.label}
        there = ap_between(fp32, torch, False, against)
        assert fp32.parity is not None
        told = fp32.parity["by_protocol"][0]["ap_difference"]
        assert there is not None
        assert [there.low, there.high] == pytest.approx(told["interval_95"])
        assert ap_between(here[1], here[0], False, against) is not None
        assert ap_between(here[1], fp32, False, against) is None
        flags = {(s.record.run, s.record.label): s.is_reference for s in Study.of(mixed).subjects}
        assert [key for key, is_reference in flags.items() if is_reference] in (
            [(torch.run, torch.label), ("here", fp32.label)],
            [("here", fp32.label), (torch.run, torch.label)],
        )


def test_protocols_differ_by_detections_and_ranking() -> None:
    record = records(1)[0]

    def key(**changes: Any) -> Any:
        entry = dict((record.accuracy or [])[0])  # type: ignore[arg-type]
        entry["protocol"] = entry["protocol"] | changes
        return ap_protocol([without(record, accuracy=[entry])])

    boxes = {"sha256": "d" * 64, "boxes": 9, "least_score": 0.0}
    keys = [
        key(),
        key(detections=boxes),
        key(detections=boxes | {"sha256": "e" * 64}),
        key(detections=boxes | {"least_score": 0.3}),
        key(ranking="mean of keypoint scores above 0.3"),
        key(ranking="box score times mean of keypoint scores above 0.2"),
    ]
    assert len(set(keys)) == len(keys)
    # The threshold that belongs to the head is no other protocol.
    spec = (record.artefact["spec"] or {}) | {"output": "simcc"}
    entry = dict((record.accuracy or [])[0])  # type: ignore[arg-type]
    entry["protocol"] = entry["protocol"] | {"ranking": "mean of keypoint scores above 0"}
    simcc = without(record, artefact=record.artefact | {"spec": spec}, accuracy=[entry])
    assert ap_protocol([simcc]) == keys[0]


def test_a_99th_percentile_of_few_calls_is_called_what_it_is() -> None:
    row = choose(records(1), 1000, percentile="p99").rows[0]
    assert "nearly the slowest of 120 calls" in row.why
    assert "nearly" not in choose(records(1), 1000).rows[0].why
