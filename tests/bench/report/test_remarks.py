from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edgepose.bench.record import ArtefactRecord
from edgepose.bench.report import html, markdown, terminal
from edgepose.bench.report.details import cost_table, latency_table, parity_table
from edgepose.bench.report.remarks import findings, labels, state, tried, warnings
from edgepose.bench.report.study import Study
from edgepose.bench.report.words import MINUS, NONE
from tests.bench.artefacts import only, records
from tests.bench.report.test_html import Page
from tests.bench.report.test_terminal import printed


def said(records: list[ArtefactRecord]) -> str:
    return " ".join(findings(Study.of(records)))


def with_latency(record: ArtefactRecord, **values: Any) -> ArtefactRecord:
    assert record.latency is not None
    return dataclasses.replace(record, latency=record.latency | values)


def forms(made: list[ArtefactRecord]) -> dict[str, str]:
    """What each form of the report says, as words."""
    return {
        "terminal": " ".join(printed(terminal(made)).split()),
        "markdown": " ".join(markdown(made).replace("\\", "").split()),
        "html": " ".join("".join(Page(html(made)).texts).split()),
    }


def first_rounds(record: ArtefactRecord, rounds: int) -> ArtefactRecord:
    assert record.latency is not None
    cells = [c | {"samples_ms": c["samples_ms"][:rounds]} for c in record.latency["cells"]]
    against = record.latency["against"]
    if against is not None and rounds < 6:
        rows = [row | {"interval_95": None} for row in against["ratios"]]
        against = against | {"ratios": rows}
    return with_latency(record, cells=cells, against=against)


def test_the_fastest_and_the_most_accurate_are_named_beyond_doubt() -> None:
    text = said(records())
    assert "Fastest is example-lite-int8.onnx" in text
    assert "Most accurate is example-large.onnx with an AP of 68.7 %." in text


def test_what_cannot_be_told_apart_is_not_called_the_best() -> None:
    torch, fp32, fp16, int8 = records(4)
    # The same times under two names.
    twin = dataclasses.replace(
        with_latency(int8), label="models/twin.onnx", accuracy=fp16.accuracy, parity=fp16.parity
    )
    text = said([torch, fp32, fp16, int8, twin])
    assert "Fastest is" not in text
    assert "The lowest median is that of example-lite-int8.onnx" in text
    assert "It cannot be told from twin.onnx." in text
    assert "Most accurate" not in text
    assert (
        "The highest AP is that of example-lite, 62.3 %. It cannot be told from "
        "example-lite.onnx, example-lite-fp16.onnx and twin.onnx."
    ) in text


@pytest.mark.parametrize(
    ("value", "ends", "text"),
    [
        (0.0, [0.0, 0.0], "Its AP is the same."),
        (0.001, [0.0, 0.002], "No change in AP can be shown: 0.00 [0.00, 0.00] points."),
        (-0.2, [-0.5, 0.1], f"No change in AP can be shown: {MINUS}0.20"),
        (-0.2, [-0.5, -0.1], f"It changes AP by {MINUS}0.20"),
    ],
)
def test_what_the_fastest_loses(value: float, ends: list[float], text: str) -> None:
    assert text in said([records(1)[0], changed(records(2)[1], False, value, ends)])


def changed(record: ArtefactRecord, flip: bool, value: float, ends: list[float]) -> ArtefactRecord:
    """With that AP difference under a flip setting."""
    assert record.parity is not None
    parts = [
        part | {"ap_difference": {"value": value, "interval_95": ends, "draws": 1, "seed": 0}}
        if part["flip"] is flip
        else part
        for part in record.parity["by_protocol"]
    ]
    return dataclasses.replace(record, parity=record.parity | {"by_protocol": parts})


def test_a_loss_under_the_other_flip_setting_is_a_warning() -> None:
    torch, fp32 = records(2)
    lost = changed(fp32, True, -1.6, [-2.1, -1.1])
    sentence = "With the flip test example-lite.onnx loses 1.60 points of AP against example-lite"
    for form, text in forms([torch, lost]).items():
        assert f"{sentence} ({MINUS}1.60 [{MINUS}2.10, {MINUS}1.10])." in text, form
    spec = (lost.artefact["spec"] or {}) | {"output": "keypoints"}
    folded = dataclasses.replace(lost, artefact=lost.artefact | {"spec": spec})
    assert any(
        text.startswith(sentence) and text.endswith(": it averages keypoints, not maps.")
        for text in warnings(Study.of([torch, folded]))
    )
    # In doubt, or what the verdict shows as well.
    unsure = changed(fp32, True, -1.6, [-3.5, 0.1])
    both = changed(lost, False, -1.5, [-2.0, -1.0])
    for quiet in (unsure, both, fp32):
        assert not any("flip test" in text for text in warnings(Study.of([torch, quiet])))


def test_the_state_of_the_machine_is_not_called_good_unseen() -> None:
    made = records(2)
    assert state(Study.of(made)) == [
        "Throttling could not be read here.",
        "Load (mean of a minute): 0.21 before the start, 1.93 at the end.",
    ]

    def under(**changes: Any) -> str:
        conditions = (made[0].conditions or {}) | changes
        return " ".join(state(Study.of([dataclasses.replace(made[0], conditions=conditions)])))

    assert under(unread=["clocks: none"]).startswith("Nothing was found to slow the machine down.")
    assert under(unread=[], throttled=["heat"]).startswith("Slowed down: heat. Load")
    assert state(Study.of([dataclasses.replace(made[0], conditions=None)])) == []


def test_a_file_of_weights_is_told_from_a_graph() -> None:
    torch, onnx = records(2)
    assert torch.cost is not None
    size = 2 * torch.cost["params"] + 9000
    artefact = torch.artefact | {"file": "example.safetensors", "bytes": size}
    stored = dataclasses.replace(torch, artefact=artefact)
    text = "File of example-lite: its weights alone"
    assert f"{text}, 2 bytes a parameter." in labels(Study.of([stored, onnx]))
    bare = dataclasses.replace(stored, cost=None)
    assert f"{text}." in labels(Study.of([bare, onnx]))
    assert not any("its weights alone" in line for line in labels(Study.of([torch, onnx])))


def test_joints_that_count_are_told_by_flip_test() -> None:
    record = records(2)[1]
    assert record.parity is not None
    parts = [
        part
        | {"shift_px": part["shift_px"] | {"counted": f"{937 if part['flip'] else 925} of 986"}}
        for part in record.parity["by_protocol"]
    ]
    made = dataclasses.replace(record, parity=record.parity | {"by_protocol": parts})
    table = parity_table(Study.of([made]))
    assert table is not None
    assert table.caption == "Joints that count, flip off: 925 of 986; flip on: 937 of 986."


def test_without_intervals_nothing_is_called_the_fastest() -> None:
    text = said([first_rounds(record, 5) for record in records(2)])
    assert "Fastest is" not in text
    assert "It cannot be told from example-lite." in text
    other_run = records(2)
    other_run[1] = dataclasses.replace(other_run[1], run="another", parity=None, accuracy=None)
    assert "Fastest is" not in said(other_run)


def test_few_rounds_leave_a_dash_for_the_interval() -> None:
    for text in forms([first_rounds(record, 5) for record in records(2)]).values():
        assert f"0.57 [{NONE}]" in text
        assert "Fewer than 6 rounds give no interval." in text


def test_a_p99_of_few_calls_is_marked() -> None:
    made = records(2)
    table = latency_table(Study.of(made))
    assert table is not None
    place = [column.title for column in table.columns].index("p99")
    assert all(row[place].text.startswith("~") for row in table.rows)
    assert not any(row[place - 1].text.startswith("~") for row in table.rows)
    assert table.caption == "~ The p99 of 120 calls is nearly the slowest of them."
    assert made[0].latency is not None
    cells = [c | {"samples_ms": c["samples_ms"] * 3} for c in made[0].latency["cells"]]
    many = latency_table(Study.of([with_latency(made[0], cells=cells)]))
    assert many is not None
    assert "~" not in many.caption + many.rows[0][place].text


def test_batches_that_were_left_out_are_named_with_the_reason() -> None:
    made = records(2)
    assert made[1].latency is not None
    protocol = made[1].latency["protocol"] | {
        "left_out": [{"batch": 32, "why": "it takes at most 16 people"}],
        "failed": [{"stage": "frame", "batch": 16, "rounds": 9, "why": "out of memory"}],
    }
    power = {
        "meter": "RAPL",
        "rails": ["package"],
        "idle_watts": 4.0,
        "batches": [
            {
                "batch": 1,
                "watts": 9.5,
                "joules_per_frame": 0.1,
                "joules_per_person": 0.1,
                "seconds": 5.0,
                "samples": 50,
            }
        ],
        "left_out": [{"batch": 8, "why": "the meter did not move"}],
    }
    made[1] = dataclasses.replace(with_latency(made[1], protocol=protocol), power=power)
    for form, text in forms(made).items():
        for words in (
            "Not timed with 32 persons: example-lite.onnx (it takes at most 16 people).",
            "Power not measured with 8 persons: example-lite.onnx (the meter did not move).",
            "example-lite.onnx failed at frame with 16 persons after 9 rounds, and its figures are "
            "of those: out of memory",
        ):
            assert words in text, form
    table = latency_table(Study.of(made))
    assert table is not None
    assert [row[-1].note for row in table.rows].count("then it failed") == 1


def test_power_is_one_line_but_on_the_page() -> None:
    found = forms(records(2))
    for form in ("terminal", "markdown"):
        assert found[form].count("Power is not readable here; tried: RAPL, NVML.") == 1
        assert "powercap" not in found[form]
        assert "libnvidia" not in found[form]
    assert "RAPL: /sys/class/powercap holds no package domain" in found["html"]
    # Missing for another reason: that is said, and not that there is no meter.
    power = {
        "unavailable": "batch 1: the artefact was not busy",
        "tried": [{"meter": "X", "why": "y"}],
    }
    study = Study.of([dataclasses.replace(record, power=power) for record in records(2)])
    assert tried(study) == []
    assert "Power was not measured. Batch 1: the artefact was not busy." in labels(study)


def test_counts_that_are_too_low_are_shouted_and_notes_are_seen() -> None:
    made = records(2)
    note = "The count is TOO LOW: 2 nodes are not in it, first /x (Foo)."
    check = "PyTorch's counter finds 0.4400 GMACs and 1 parameters in m: so does this count."
    assert made[1].cost is not None
    made[1] = dataclasses.replace(made[1], cost=made[1].cost | {"notes": [note, check]})
    for form, text in forms(made).items():
        assert f"example-lite.onnx: {note}" in text, form
        assert (check in text) is (form == "html")
    before = html(made).partition('<ul class="labels" id="counts">')[0]
    assert before.count("<details>") == before.count("</details>")  # in nothing that is folded
    table = cost_table(Study.of(made))
    assert table is not None
    assert [row[1].note for row in table.rows] == ["", "TOO LOW"]
    assert any("TOO LOW" in words for words in warnings(Study.of(made)))
    assert not any("TOO LOW" in words for words in warnings(Study.of(records(2))))


@pytest.mark.parametrize("order", [1, -1])
def test_a_label_of_two_runs_is_the_reference_of_one(order: int) -> None:
    made = records(2)
    alone = only(dataclasses.replace(made[0], run="later"), latency=made[0].latency)
    study = Study.of([*made, alone][::order])
    assert [s.record.run for s in study.subjects if s.is_reference] == [made[0].run]


def test_a_machine_that_was_not_steady_is_called_so() -> None:
    steady = records(2)
    assert not _unsteady(steady)
    shaken = [_with_turns(record, [10.0, 13.0, 13.0, 13.0] * 5) for record in steady]
    (text,) = _unsteady(shaken)
    assert "not steady: half of all turns took 1.30 times as long" in text
    busy = (shaken[0].conditions or {}) | {"load_before": 1.5}
    both = warnings(Study.of([dataclasses.replace(shaken[0], conditions=busy), *shaken[1:]]))
    assert any("not idle" in each for each in both)
    assert text in both


def test_each_run_is_steady_or_not_by_itself() -> None:
    steady = [_with_turns(record, [10.0] * 20) for record in records(3)]
    shaken = _with_turns(records(1)[0], [10.0, 13.0, 13.0, 13.0] * 5)
    (text,) = _unsteady([*steady, dataclasses.replace(shaken, run="beef00")])
    assert "not steady in run beef00" in text


def test_a_process_that_is_slower_for_life_is_not_the_machine() -> None:
    turns = [10.0] * 8 + [12.0] * 8 + [11.0] * 8
    (record,) = records(1)
    assert _unsteady([_with_turns(record, turns, launches=1)])
    assert not _unsteady([_with_turns(record, turns, launches=3)])


def _unsteady(made: list[ArtefactRecord]) -> list[str]:
    return [text for text in warnings(Study.of(made)) if "steady" in text]


def _with_turns(record: ArtefactRecord, turns: list[float], launches: int = 1) -> ArtefactRecord:
    assert record.latency is not None
    samples = [[milliseconds] * 2 for milliseconds in turns]
    return with_latency(
        record,
        protocol=record.latency["protocol"] | {"launches": launches},
        cells=[cell | {"samples_ms": samples} for cell in record.latency["cells"]],
    )
