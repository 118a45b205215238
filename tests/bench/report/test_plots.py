from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from edgepose.bench.record import ArtefactRecord
from edgepose.bench.report import figures
from edgepose.bench.report.palette import DARK, LIGHT
from edgepose.bench.report.plots import Plot, plots
from edgepose.bench.report.plots.tradeoff import front, points
from edgepose.bench.report.study import Study
from edgepose.bench.report.words import MINUS
from tests.bench.artefacts import failed, only, records

ALL = [
    "tradeoff", "percentiles", "breakdown", "throughput", "changes", "joints", "memory", "roof",
]  # fmt: skip


@pytest.fixture(scope="module")
def made() -> list[Plot]:
    return plots(Study.of([*records(), failed()]))


def test_a_full_measurement_gives_all(made: list[Plot]) -> None:
    assert [plot.name for plot in made] == ALL
    for plot in made:
        assert plot.caption.endswith(".")
        for subject in plot.subjects:
            assert subject.name in plot.alt


def test_they_are_whole_and_take_their_colours_from_the_page(made: list[Plot]) -> None:
    ids: list[str] = []
    for svg in (text for plot in made for text in (plot.wide, plot.narrow)):
        ET.fromstring(svg)
        assert not re.search(r"#f[ed]00", svg)
        assert "var(--s1," in svg or "var(--s0," in svg
        # Any other colour would stay what it is in the dark.
        bare = re.sub(r"var\(--\w+,#[0-9a-f]{6}\)", "", svg)
        assert not re.search(r"#[0-9a-f]{6}\b", bare)
        assert "DejaVu" not in svg
        found = re.findall(r' id="([^"]+)"', svg)
        assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg)) <= set(found)
        ids += found
    assert len(ids) == len(set(ids))


def test_names_stand_in_the_wide_form_or_beside_the_plot(made: list[Plot]) -> None:
    for plot in made:
        for subject in plot.subjects:
            assert (subject.name in plot.wide) is (plot.key != "always"), plot.name
            assert (subject.name in plot.narrow) is (plot.key == "never"), plot.name


def test_the_figures_are_in_the_words(made: list[Plot]) -> None:
    by_name = {plot.name: plot for plot in made}
    assert "example-lite-int8.onnx: 5.08 ms, AP 60.9" in by_name["tradeoff"].alt
    assert f"{MINUS}1.41 [{MINUS}1.66, {MINUS}1.19] points" in by_name["changes"].alt
    assert "528 persons, GT boxes, flip off" in by_name["tradeoff"].caption
    assert "168 GFLOP/s" in by_name["roof"].caption


def test_percentile_curves_say_where_they_end(made: list[Plot]) -> None:
    caption = next(plot for plot in made if plot.name == "percentiles").caption
    assert caption.endswith("Of 120 calls the curves end at p99.2: the slowest call lies beyond.")
    first, second = records(2)
    assert second.latency is not None
    cells = [cell | {"samples_ms": cell["samples_ms"][:2]} for cell in second.latency["cells"]]
    few = only(second, latency=second.latency | {"cells": cells})
    drawn = plots(Study.of([only(first, latency=first.latency), few]))
    assert "Of 20 to 120 calls the curves end at p95 to p99.2" in drawn[0].caption
    cells = [cell | {"samples_ms": cell["samples_ms"][:8]} for cell in second.latency["cells"]]
    some = only(second, latency=second.latency | {"cells": cells})
    assert "p98.8" in plots(Study.of([some]))[0].wide


def test_names_stand_at_the_height_of_their_marks(made: list[Plot]) -> None:
    svg = ET.fromstring(next(plot for plot in made if plot.name == "changes").wide)
    places = {
        element.text: float(re.findall(r"[\d.]+", element.attrib.get("transform", ""))[-1])
        for element in svg.iter("text")
        if element.attrib.get("transform")
    } | {e.text: float(e.attrib["y"]) for e in svg.iter("text") if "y" in e.attrib}
    change = f"{MINUS}1.41 [{MINUS}1.66, {MINUS}1.19]"
    assert abs(places["example-lite-int8.onnx"] - places[change]) < 3


def test_the_same_records_give_the_same_picture() -> None:
    first, second = (plots(Study.of([only(r, memory=r.memory) for r in records(2)])) for _ in "ab")
    assert first == second


def test_names_are_taken_as_they_are() -> None:
    nasty = "a$b$<script>&_{x}.onnx"
    record = records(1, label=nasty)[0]
    (plot,) = plots(Study.of([only(record, memory=record.memory)]))
    tree = ET.fromstring(plot.wide)
    assert any(element.text == nasty for element in tree.iter("text"))


def test_as_files_they_follow_light_and_dark() -> None:
    record = records(1)[0]
    (text,) = figures([only(record, memory=record.memory)]).values()
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert f"--s0:{LIGHT.series[0]}" in text
    assert f"--s0:{DARK.series[0]}" in text.partition("prefers-color-scheme: dark")[2]
    assert "Peak memory" in root[0].text  # type: ignore[operator]


def test_only_what_was_measured_is_drawn() -> None:
    def of(*chosen: ArtefactRecord) -> list[str]:
        return [plot.name for plot in plots(Study.of(chosen))]

    first, second = records(2)
    assert of(failed()) == []
    assert of(only(first, accuracy=first.accuracy)) == []
    assert of(only(first, latency={"unavailable": "x"}, memory={"unavailable": "y"})) == []
    assert of(only(second, memory=second.memory, accuracy=second.accuracy)) == ["memory"]
    # One artefact has nothing to be held against.
    assert of(first) == ["percentiles", "breakdown", "throughput", "memory", "roof"]


def test_one_batch_size_one_stage_and_few_samples_are_enough() -> None:
    record = records(1)[0]
    assert record.latency is not None
    frame = record.latency["cells"][1] | {"samples_ms": [[5.0], [6.0]]}
    latency = record.latency | {"cells": [frame]}
    names = [plot.name for plot in plots(Study.of([only(record, latency=latency)]))]
    assert names == ["percentiles"]


def test_untrained_models_have_no_accuracy_to_show() -> None:
    made = records(3)
    artefact = made[1].artefact | {"random_weights": True}
    study = Study.of([made[0], dataclasses.replace(made[1], artefact=artefact), made[2]])
    assert "example-lite.onnx" not in [point.subject.name for point in points(study)]


def test_artefacts_that_move_nothing_are_named_and_not_drawn() -> None:
    made = records(4)
    assert made[1].parity is not None
    still = []
    for part in made[1].parity["by_protocol"]:
        rows = [row | {"median": 0.0, "p95": 0.004} for row in part["shift_px"]["per_joint"]]
        still.append(part | {"shift_px": part["shift_px"] | {"per_joint": rows}})
    parity = made[1].parity | {"by_protocol": still}
    made[1] = dataclasses.replace(made[1], parity=parity)
    (joints,) = plots(Study.of([only(record, parity=record.parity) for record in made]))
    assert "example-lite.onnx" not in [subject.name for subject in joints.subjects]
    assert "nothing at all moves by as much in example-lite.onnx" in joints.caption


def test_the_front_is_what_nothing_beats_in_both() -> None:
    found = front(points(Study.of(records())))
    assert [point.subject.name for point in found] == [
        "example-lite-int8.onnx",
        "example-lite.onnx",
        "example-large.onnx",
    ]


def test_nothing_is_drawn_with_before_it_is_asked_for() -> None:
    """A device prints its tables without matplotlib."""
    code = (
        "import sys, edgepose.bench.report; assert not {'matplotlib', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
