from __future__ import annotations

import dataclasses

from edgepose.bench.report import markdown
from edgepose.bench.report.words import MINUS
from tests.bench.artefacts import failed, records


def table(text: str, place: int = 0) -> list[list[str]]:
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in blocks[place].splitlines()
    ]


def test_the_table_and_its_honest_labels() -> None:
    text = markdown([*records(), failed()])
    rows = table(text)
    assert len({len(row) for row in rows}) == 1
    assert rows[1][0] == "---"
    assert rows[1][-1] == "---:"
    head = rows[0]
    int8 = dict(
        zip(head, next(row for row in rows if row[0] == "example-lite-int8.onnx"), strict=True)
    )
    assert int8["AP, %"] == "60.9"
    assert int8["AP change, points [95 %]"] == (f"{MINUS}1.41 [{MINUS}1.66, {MINUS}1.19]")
    assert int8["frame p50, ms"] == "**5.08**"
    assert "- AP on the edgepose hold-out (528 persons, GT boxes, flip off)" in text
    assert "It is not COCO val AP" in text
    assert "- Power is not readable here; tried: RAPL, NVML." in text
    assert "powercap" not in text
    assert "- **Failed:** broken.onnx: cannot load models/broken.onnx" in text
    assert "Made by `edgepose bench example-lite" in text
    assert table(text, 1)[0][1:] == [
        "1 person, ms",
        "4 persons, ms",
        "8 persons, ms",
        "16 persons, ms",
    ]


def test_names_and_commands_are_no_markdown() -> None:
    record = dataclasses.replace(
        records(1)[0], label="a_b|*c*<i>[x](y)`.onnx", command="edgepose bench `rm`\n# x"
    )
    text = markdown([record])
    assert "a\\_b\\|\\*c\\*\\<i>[x]\\(y)\\`.onnx" in text
    rows = table(text.replace("\\|", "/"))
    assert len({len(row) for row in rows}) == 1
    assert "`rm`" not in text
    assert "\n# x" not in text


def test_one_batch_size_needs_no_second_table() -> None:
    record = records(1)[0]
    assert record.latency is not None
    cells = [cell for cell in record.latency["cells"] if cell["batch"] == 8]
    text = markdown([dataclasses.replace(record, latency=record.latency | {"cells": cells})])
    assert "frame p50, 8 persons, ms" in text
    assert "Frame time by persons" not in text
