from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable

import pytest
from rich.console import Console, RenderableType

from edgepose.bench.choose import choose
from edgepose.bench.compare import compare_records
from edgepose.bench.record import ArtefactRecord
from edgepose.bench.report import choice_table, comparison_tables, terminal
from edgepose.bench.report.words import MINUS
from edgepose.errors import InputError
from tests.bench.artefacts import failed, only, records


def printed(parts: Iterable[RenderableType], width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for part in parts:
        console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_hundred_columns_hold_it_all() -> None:
    text = printed(terminal([*records(), failed()]))
    assert max(map(len, text.splitlines())) <= 100
    rows = [line.split() for line in text.splitlines()]
    assert ["example-lite", "fp32", "62.3", "reference", "14.9", "15.6", "reference"] in rows
    int8 = next(row for row in rows if row[:2] == ["example-lite-int8.onnx", "int8"])
    change = f"{MINUS}1.41 [{MINUS}1.66, {MINUS}1.19]".split()
    assert int8[2:] == ["60.9", *change, "5.08", "5.31", "0.34", "[0.34,", "0.34]"]
    for words in (
        "FAILED: broken.onnx: cannot load models/broken.onnx: it is truncated",
        "It is not COCO val AP and cannot be compared with published figures.",
        "Power is not readable here; tried: RAPL, NVML.",
        "For 30 frames a second take",
    ):
        assert words in " ".join(text.split())
    assert "powercap" not in text


@pytest.mark.parametrize("width", [60, 80, 100])
def test_narrow_or_long_names_nothing_is_cut_off(width: int) -> None:
    long = "models/a-model-with-quite-a-long-name-256x192-int8-fp16.onnx"
    made = records(3)
    made[2] = dataclasses.replace(made[2], label=long)
    text = printed(terminal(made), width)
    assert max(map(len, text.splitlines())) <= width
    letters = "".join(text.split())
    assert letters.count("0.57]") >= 1
    assert "…" not in text


def test_titles_are_lines_of_their_own() -> None:
    lines = [line.strip() for line in printed(terminal(records())).splitlines()]
    for title in ("Speed and accuracy", "Throughput, size and cost", "Accuracy (COCO keypoints)"):
        assert title in lines


def test_tables_without_figures_are_left_out() -> None:
    made = [only(record, memory=record.memory) for record in records(2)]
    text = printed(terminal(made))
    assert "Speed and accuracy" not in text
    assert "Throughput, size and cost" in text


def test_labels_are_no_markup() -> None:
    record = records(1, label="[red]x.onnx")[0]
    assert "[red]x.onnx" in printed(terminal([record]))


def test_warnings_are_shouted() -> None:
    made = records(2)
    conditions = (made[0].conditions or {}) | {"throttled": ["heat"], "load_before": 3.5}
    artefact = made[1].artefact | {"random_weights": True}
    assert made[0].latency is not None
    cells = [cell | {"stable": False} for cell in made[0].latency["cells"][:1]]
    made[0] = dataclasses.replace(
        made[0], conditions=conditions, latency=made[0].latency | {"cells": cells}
    )
    made[1] = dataclasses.replace(made[1], artefact=artefact, run="another")
    text = " ".join(printed(terminal(made)).split())
    for words in (
        "WARNING: The machine was slowed down while it measured example-lite: heat",
        "WARNING: The machine was not idle before the start (load 3.5)",
        "WARNING: example-lite.onnx has random weights",
        "WARNING: These records are of several runs",
        "WARNING: example-lite did not settle during warm-up: network with 1 person",
    ):
        assert words in text


def test_records_with_next_to_nothing_in_them() -> None:
    bare = dataclasses.replace(
        records(1)[0],
        **dict.fromkeys(("latency", "memory", "cost", "power", "accuracy", "parity", "conditions")),
    )
    assert "example-lite" in printed(terminal([bare]))
    assert "FAILED" in printed(terminal([failed()]))
    with pytest.raises(InputError, match="nothing to report"):
        terminal([])


def test_a_comparison_says_what_is_worse() -> None:
    old = records(1)
    memory = (old[0].memory or {}) | {"peak_bytes": (old[0].memory or {})["peak_bytes"] * 2}
    text = printed(comparison_tables(compare_records(old, records(1, memory=memory))))
    row = next(line for line in text.splitlines() if "peak memory" in line)
    assert "2.00" in row
    assert "worse" in row
    assert "REGRESSED: 1 figures worse (times and bytes may grow by 5%" in text
    assert "Intervals are of the rounds inside each run" in text
    assert "it is told and not judged" in text
    assert "not judged" in next(line for line in text.splitlines() if "frame p99, 1 person" in line)
    assert "No regression" in printed(comparison_tables(compare_records(old, old)))
    assert max(map(len, text.splitlines())) <= 100


def test_a_choice_says_why() -> None:
    made: list[ArtefactRecord] = [*records(), failed()]
    text = " ".join(printed(choice_table(choose(made, 40))).split())
    assert text.startswith("example-large.onnx: the highest AP (68.7 %)")
    assert "it failed: cannot load" in text
    assert "AP on the edgepose hold-out (528 persons, GT boxes, flip off)." in text
    assert printed(choice_table(choose(made, 0.1))).startswith("Nothing keeps within")


def test_a_comparison_holds_ratios_to_the_reference_and_losses() -> None:
    old = records(2)
    lost = dataclasses.replace(old[1], memory={"unavailable": "no /proc"})
    text = printed(comparison_tables(compare_records(old, [old[0], lost])))
    row = next(line for line in text.splitlines() if "frame, 1 person, time" in line)
    assert "0.570" in row
    words = " ".join(text.split())
    assert "BROKEN: models/example-lite.onnx: memory was measured then and is not now (no" in words
    assert max(map(len, text.splitlines())) <= 100
