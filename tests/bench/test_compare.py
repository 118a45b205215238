from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from edgepose.bench.compare import compare_records
from edgepose.bench.record import ArtefactRecord
from edgepose.errors import InputError
from tests.bench.artefacts import failed, milliseconds, records


def slowed(record: ArtefactRecord, factor: float, stage: str = "frame") -> ArtefactRecord:
    """As if a stage had taken so much longer, with other noise."""
    assert record.latency is not None
    random = np.random.default_rng(7)
    cells = []
    for cell in record.latency["cells"]:
        times = np.asarray(cell["samples_ms"])
        if cell["stage"] == stage:
            times = times * factor * random.normal(1, 0.002, times.shape)
        cells.append(cell | {"samples_ms": times.tolist(), "milliseconds": milliseconds(times)})
    return dataclasses.replace(record, latency=record.latency | {"cells": cells})


def verdicts(old: ArtefactRecord, new: ArtefactRecord, **options: Any) -> dict[str, str]:
    found = compare_records([old], [new], **options)
    return {change.what: change.verdict for change in found.changes}


def test_the_same_is_the_same() -> None:
    found = compare_records(records(2), records(2))
    assert not found.regressed
    assert found.warnings == ()
    assert {change.verdict for change in found.changes} == {"same"}
    assert {change.label for change in found.changes} == {
        "example-lite",
        "models/example-lite.onnx",
    }
    json.dumps(found.to_dict(), allow_nan=False)


def test_slower_beyond_tolerance_and_doubt_is_a_regression() -> None:
    old = records(1)[0]
    found = compare_records([old], [slowed(old, 1.2)])
    assert found.regressed
    worse = {change.what for change in found.changes if change.verdict == "worse"}
    assert "frame p50, 1 person" in worse
    assert not any(what.startswith("network") for what in worse)
    change = next(c for c in found.changes if c.what == "frame p50, 8 persons")
    assert change.change == pytest.approx(1.2, abs=0.01)
    assert change.interval_95 is not None
    low, high = change.interval_95
    assert 1.1 < low < change.change < high < 1.3


def test_slower_within_tolerance_or_doubt_is_not() -> None:
    old = records(1)[0]
    assert verdicts(old, slowed(old, 1.03))["frame p50, 1 person"] == "same"
    # 6 % with a drift of 2 % between rounds: beyond the tolerance, and not beyond doubt.
    assert verdicts(old, slowed(old, 1.055))["frame p50, 1 person"] == "unclear"
    assert not compare_records([old], [slowed(old, 1.2)], tolerance=0.5).regressed


def test_faster_is_better() -> None:
    old = records(1)[0]
    found = compare_records([old], [slowed(old, 0.7)])
    assert not found.regressed
    assert verdicts(old, slowed(old, 0.7))["frame p50, 1 person"] == "better"


def test_memory_files_and_accuracy_count() -> None:
    old = records(1)[0]
    assert old.memory is not None
    fat = old.memory | {"peak_bytes": int(old.memory["peak_bytes"] * 1.3)}
    assert verdicts(old, dataclasses.replace(old, memory=fat))["peak memory"] == "worse"
    small = old.artefact | {"bytes": old.artefact["bytes"] // 2}
    assert verdicts(old, dataclasses.replace(old, artefact=small))["file"] == "better"
    label = "AP on the edgepose hold-out (528 persons, GT boxes, flip off)"
    for drop, verdict in ((0.4, "same"), (0.6, "worse"), (-0.6, "better")):
        accuracy = [dict(entry) for entry in old.accuracy or []]
        accuracy[0]["metrics"] = accuracy[0]["metrics"] | {"ap": 62.31 - drop}
        assert verdicts(old, dataclasses.replace(old, accuracy=accuracy))[label] == verdict


def test_other_surroundings_are_named() -> None:
    old, new = records(1)[0], records(1)[0]
    hardware = new.environment["hardware"] | {"cpu": "Another"}
    stack = new.environment["stack"]
    packages = stack["packages"] | {"onnxruntime": "2.0"}
    environment = {"hardware": hardware, "stack": stack | {"packages": packages}}
    conditions = (new.conditions or {}) | {"threads": 1, "throttled": ["it became too hot"]}
    assert new.latency is not None
    cells = [cell for cell in new.latency["cells"] if cell["batch"] != 4]
    latency = new.latency | {"cells": cells}
    other = dataclasses.replace(
        new, environment=environment, conditions=conditions, latency=latency
    )
    warnings = "\n".join(compare_records([old], [other]).warnings)
    for words in (
        "other hardware, cpu: Example CPU E1 (made up) then, Another now",
        "other stack, onnxruntime: 1.31.1 then, 2.0 now",
        "other conditions, threads: 2 then, 1 now",
        "the machine was slowed down now: it became too hot",
        "other batches, frame: 1, 4, 8, 16 then, 1, 8, 16 now",
    ):
        assert words in warnings


def test_what_failed_or_is_gone_is_said() -> None:
    old = records(2)
    label = old[1].label
    found = compare_records(old, [old[0], failed(label=label)])
    assert found.regressed
    assert found.broken == (
        f"{label} failed now and not then: cannot load {label}: it is truncated after 4096 bytes",
    )
    assert f"{label}: latency was measured then and is not now (not asked for)" in found.warnings
    # It failed already: nothing new.
    assert not compare_records([failed()], [failed()]).regressed
    lonely = compare_records(old, [old[0], failed()]).warnings
    assert f"{label} is only in the old records" in lonely
    assert "models/broken.onnx is only in the new records" in lonely


def test_other_protocols_are_not_compared() -> None:
    old = records(1)[0]
    accuracy = [dict(entry) for entry in old.accuracy or []]
    for entry in accuracy:
        entry["protocol"] = entry["protocol"] | {"persons": 5}
    found = compare_records([old], [dataclasses.replace(old, accuracy=accuracy)])
    assert not any(change.unit == "AP" for change in found.changes)
    assert any("different protocols" in words for words in found.warnings)


def test_single_records_need_no_common_label_and_several_do() -> None:
    first, second = records(2)
    assert compare_records([first], [second]).changes
    with pytest.raises(InputError, match="no artefact is on both sides"):
        compare_records([first, second], [failed()])
    with pytest.raises(InputError, match="twice in the new"):
        compare_records([first, second], [first, first])
    with pytest.raises(ValueError, match="negative"):
        compare_records([first], [first], tolerance=-0.1)
