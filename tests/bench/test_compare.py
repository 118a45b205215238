from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from edgepose.bench.compare import compare_records
from edgepose.bench.record import ArtefactRecord
from edgepose.bench.statistics import summary
from edgepose.errors import InputError
from tests.bench.artefacts import failed, records


def slowed(record: ArtefactRecord, factor: float, stage: str = "frame") -> ArtefactRecord:
    """As if a stage had taken so much longer, with other noise."""
    assert record.latency is not None
    random = np.random.default_rng(7)
    cells = []
    for cell in record.latency["cells"]:
        times = np.asarray(cell["samples_ms"])
        if cell["stage"] == stage:
            times = times * factor * random.normal(1, 0.002, times.shape)
        cells.append(cell | {"samples_ms": times.tolist(), "milliseconds": summary(times)})
    return dataclasses.replace(record, latency=record.latency | {"cells": cells})


def verdicts(old: ArtefactRecord, new: ArtefactRecord, **options: Any) -> dict[str, str]:
    found = compare_records([old], [new], **options)
    return {change.what: change.verdict for change in found.changes}


def test_the_same_is_the_same() -> None:
    found = compare_records(records(2), records(2))
    assert not found.regressed
    assert found.warnings == ()
    judged = {change.verdict for change in found.changes if " p99" not in change.what}
    assert judged == {"same"}
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
    conditions = (new.conditions or {}) | {
        "threads": 1,
        "throttled": ["it became too hot"],
        "load_before": 3.0,
    }
    assert new.latency is not None
    cells = [cell for cell in new.latency["cells"] if cell["batch"] != 4]
    protocol = new.latency["protocol"] | {"heap": "kept"}
    latency = new.latency | {"cells": cells, "protocol": protocol}
    other = dataclasses.replace(
        new, environment=environment, conditions=conditions, latency=latency
    )
    warnings = "\n".join(compare_records([old], [other]).warnings)
    for words in (
        "other hardware, cpu: Example CPU E1 (made up) then, Another now",
        "other stack, onnxruntime: 1.31.1 then, 2.0 now",
        "other conditions, threads: 2 then, 1 now",
        "timed otherwise, heap: nothing then, kept now",
        "the machine was slowed down now: it became too hot",
        "other batches, frame: 1, 4, 8, 16 then, 1, 8, 16 now",
        "other load before the start: 0.21 then, 3.00 now",
    ):
        assert words in warnings


def test_what_failed_or_is_gone_is_said() -> None:
    old = records(2)
    label = old[1].label
    found = compare_records(old, [old[0], failed(label=label)])
    assert found.regressed
    assert found.broken[0] == (
        f"{label} failed now and not then: cannot load {label}: it is truncated after 4096 bytes"
    )
    assert f"{label}: latency was measured then and is not now (it is missing)" in found.broken
    # It failed already: nothing new.
    assert not compare_records([failed()], [failed()]).regressed
    lonely = compare_records(old, [old[0], failed()])
    assert lonely.broken == (f"{label} was measured then and is not in the new records",)
    assert lonely.regressed
    assert "models/broken.onnx is only in the new records" in lonely.warnings
    # What had failed then is no loss.
    assert not compare_records([old[0], failed()], [old[0]]).regressed


def test_other_protocols_are_not_compared() -> None:
    old = records(1)[0]
    accuracy = [dict(entry) for entry in old.accuracy or []]
    for entry in accuracy:
        entry["protocol"] = entry["protocol"] | {"persons": 5}
    found = compare_records([old], [dataclasses.replace(old, accuracy=accuracy)])
    assert not any(change.unit == "AP" for change in found.changes)
    assert len(found.broken) == 2  # flip off and on
    assert (
        "not measured now by the protocol of then: AP on the edgepose hold-out" in found.broken[0]
    )


def test_single_records_need_no_common_label_and_several_do() -> None:
    first, second = records(2)
    assert compare_records([first], [second]).changes
    with pytest.raises(InputError, match="no artefact is on both sides"):
        compare_records([first, second], [failed()])
    with pytest.raises(InputError, match="twice in the new"):
        compare_records([first, second], [first, first])
    with pytest.raises(ValueError, match="negative"):
        compare_records([first], [first], tolerance=-0.1)


def test_rounds_may_differ_in_length_and_number() -> None:
    old = records(1)[0]
    assert old.latency is not None
    cell = old.latency["cells"][0] | {"samples_ms": [[10.0, 10.1, 10.2], [10.0], [10.3, 9.9]] * 2}
    then = dataclasses.replace(old, latency=old.latency | {"cells": [cell]})
    twice = cell | {
        "samples_ms": [[20.0, 20.2], [20.1, 19.9, 20.3]] * 4,
        "milliseconds": {key: 2 * value for key, value in cell["milliseconds"].items()},
    }
    now = dataclasses.replace(old, latency=old.latency | {"cells": [twice]})
    change = compare_records([then], [now]).changes[0]
    assert change.verdict == "worse"
    assert change.interval_95 == pytest.approx((2.0, 2.0), abs=0.05)


def replaced(record: ArtefactRecord, section: str, **values: Any) -> ArtefactRecord:
    return dataclasses.replace(record, **{section: getattr(record, section) | values})


def test_few_rounds_leave_it_unclear() -> None:
    def short(record: ArtefactRecord) -> ArtefactRecord:
        assert record.latency is not None
        cells = [c | {"samples_ms": c["samples_ms"][:5]} for c in record.latency["cells"]]
        return replaced(record, "latency", cells=cells)

    old = records(1)[0]
    found = compare_records([short(old)], [short(slowed(old, 2.0))])
    times = [c for c in found.changes if c.unit == "ms" and c.what.startswith("frame p")]
    assert all(change.interval_95 is None for change in times)
    assert {c.verdict for c in times if "p99" not in c.what} == {"unclear"}
    assert not found.regressed


def test_the_99th_percentile_is_told_and_not_judged() -> None:
    old = records(1)[0]
    assert old.latency is not None
    random = np.random.default_rng(3)
    cells = []
    for cell in old.latency["cells"]:
        times = np.asarray(cell["samples_ms"])
        times[random.random(times.shape) > 0.97] *= 5  # a few calls that nobody wants
        cells.append(cell | {"samples_ms": times.tolist(), "milliseconds": summary(times)})
    found = compare_records([old], [replaced(old, "latency", cells=cells)])
    tails = [change for change in found.changes if " p99" in change.what]
    assert max(change.change for change in tails) > 2
    assert {change.verdict for change in tails} == {"not judged"}
    assert {c.what.split()[1] for c in found.changes if c.unit == "ms"} == {"p50,", "p95,", "p99,"}


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("latency", {"unavailable": "it crashed"}),
        ("memory", {"unavailable": "no /proc"}),
        ("accuracy", {"unavailable": "the run ended before it was measured"}),
        ("cost", {"unavailable": "damaged"}),
        ("parity", {"unavailable": "it found nobody"}),
        ("accuracy", None),
    ],
)
def test_a_section_that_is_gone_is_a_regression(section: str, value: Any) -> None:
    old = records(2)
    found = compare_records(old, [old[0], dataclasses.replace(old[1], **{section: value})])
    assert found.regressed
    (said,) = found.broken
    assert f"{section} was measured then and is not now" in said
    assert value is None or value["unavailable"] in said


def test_a_section_that_nobody_asked_for_is_named_alone() -> None:
    old = records(2)
    command = "edgepose bench --only latency"
    bare = [dataclasses.replace(r, accuracy=None, parity=None, command=command) for r in old]
    found = compare_records(old, bare)
    assert not found.regressed
    assert f"{old[1].label}: accuracy was measured then and was not asked for now" in found.warnings
    # One of the run has it, so that it was asked for.
    some = [dataclasses.replace(old[0], command=command), bare[1]]
    assert compare_records(old, some).regressed
    # The reference of now is held to nothing.
    turned = [dataclasses.replace(old[0], parity=old[1].parity), old[1]]
    assert not compare_records(turned, old).regressed


def test_lost_batches_and_interrupted_rounds_are_regressions() -> None:
    old = records(1)[0]
    assert old.latency is not None
    assert old.memory is not None
    cells = [c for c in old.latency["cells"] if (c["stage"], c["batch"]) != ("network", 8)]
    found = compare_records([old], [replaced(old, "latency", cells=cells)])
    assert found.broken == (
        "example-lite: network was measured with 8 persons then and is not now",
    )
    fewer = replaced(old, "memory", by_batch=old.memory["by_batch"][:-1])
    assert compare_records([old], [fewer]).broken == (
        "example-lite: memory was measured with 16 persons then and is not now",
    )
    protocol = old.latency["protocol"] | {"interrupted": True}
    stopped = replaced(old, "latency", protocol=protocol)
    assert compare_records([old], [stopped]).broken == (
        "example-lite: latency was interrupted now",
    )
    assert not compare_records([stopped], [stopped]).regressed


def test_another_failure_of_the_same_section_is_new() -> None:
    old = records(1)[0]

    def failing(what: str) -> ArtefactRecord:
        row = {"section": "latency", "what": what, "why": None, "hint": None}
        return dataclasses.replace(old, failures=[row], status="partial")

    assert not compare_records([failing("one")], [failing("one")]).regressed
    assert compare_records([failing("one")], [failing("two")]).broken == (
        "example-lite failed now and not then: two",
    )


def test_every_protocol_and_pckh_is_compared() -> None:
    def measured(flipped: float, pckh: float) -> ArtefactRecord:
        record = records(1)[0]
        off, on = (dict(entry) for entry in record.accuracy or [])
        on["metrics"] = on["metrics"] | {"ap": flipped}
        entry = {
            "label": "PCKh@0.5 on mpii (9 persons, flip off)",
            "metrics": {"pckh@0.5": 81.25, "pckh@0.1": pckh, "per_joint": {}},
            "protocol": {"metric": "PCKh", "set": "mpii", "persons": 9, "flip": False},
        }
        return dataclasses.replace(record, accuracy=[off, on, entry])

    old = measured(63.2, 22.5)
    assert compare_records([old], [measured(62.0, 22.5)]).regressed
    found = compare_records([old], [measured(63.2, 20.0)])
    (worse,) = [change for change in found.changes if change.verdict == "worse"]
    assert (worse.unit, worse.change) == ("PCKh", -2.5)
    assert worse.what == "PCKh@0.1 on mpii (9 persons, flip off)"
    assert sum(change.unit in ("AP", "PCKh") for change in found.changes) == 4
    assert not compare_records([old], [old]).regressed


def test_ratios_to_a_common_reference_are_compared_too() -> None:
    """The machine is 1.3 times as slow: the times say so, the ratios do not."""
    old = records(2)
    slow = [slowed(slowed(record, 1.3), 1.3, "network") for record in old]
    found = compare_records(old, slow)
    assert {c.verdict for c in found.changes if c.unit == "ms" and "p99" not in c.what} == {"worse"}
    ratios = [change for change in found.changes if change.unit == "ratio"]
    assert {change.what for change in ratios} >= {"frame, 1 person, time ÷ example-lite"}
    assert {change.verdict for change in ratios} == {"same"}
    assert any("its ratios to the reference did not" in words for words in found.warnings)
    # The artefact alone is: both say so.
    assert old[1].latency is not None
    against = old[1].latency["against"]
    rows = [
        row | {"ratio": row["ratio"] * 1.3, "interval_95": [e * 1.3 for e in row["interval_95"]]}
        for row in against["ratios"]
    ]
    now = replaced(old[1], "latency", against=against | {"ratios": rows})
    worse = [c for c in compare_records(old, [old[0], now]).changes if c.verdict == "worse"]
    assert {change.unit for change in worse} == {"ratio"}
    low, high = worse[0].interval_95 or (0, 0)
    assert low < 1.3 < high
    # Another file under the reference's name is no common reference.
    other = replaced(old[0], "artefact", sha256="e" * 64)
    unlike = compare_records(old, [other, old[1]])
    assert not any(change.unit == "ratio" for change in unlike.changes)
    assert any("is another file now" in words for words in unlike.warnings)
    few = [row | {"interval_95": None} for row in rows]
    vague = replaced(old[1], "latency", against=against | {"ratios": few})
    found = compare_records(old, [old[0], vague])
    assert {c.verdict for c in found.changes if c.unit == "ratio"} == {"unclear"}
