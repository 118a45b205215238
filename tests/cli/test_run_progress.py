from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgepose.cli._run_progress import progress_of
from edgepose.stream.statistics import RunStatistics
from tests.stream.helpers import ListSource


def shown(
    source: ListSource, total: int | None, frames: int, age: float | None, *, terminal: bool = True
) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, color_system=None)
    with progress_of(source, total, console) as on_frame:
        statistics = RunStatistics(source.name, source.live, seconds=2.0, dropped=5)
        for number in range(frames):
            statistics.frames = number + 1
            on_frame(statistics, age)
    return text.getvalue()


def test_files_show_a_bar_with_fps() -> None:
    text = shown(ListSource(6), 6, 6, None)
    assert "memory" in text
    assert "6/6" in text
    assert "3.0 fps" in text
    assert "dropped" not in text


def test_skipped_pictures_count_as_done() -> None:
    source = ListSource(6)
    source.skipped = ["a.jpg: empty"]
    assert "6/6" in shown(source, 6, 5, None)


def test_live_sources_show_drops_and_age() -> None:
    text = shown(ListSource(6, live=True), None, 4, 0.25)
    for word in ("4 frames", "2.0 fps", "5 dropped", "250 ms old"):
        assert word in text


@pytest.mark.parametrize("total", [None, 3])
def test_more_frames_than_promised(total: int | None) -> None:
    assert "6" in shown(ListSource(6), total, 6, None)


def test_names_are_no_markup() -> None:
    source = ListSource(1)
    source.name = "shots/[bold]*[/nothing].jpg"
    assert "shots/[bold]*[/nothing].jpg" in shown(source, 1, 1, None)


def test_nothing_without_a_terminal() -> None:
    assert shown(ListSource(6), 6, 6, None, terminal=False).strip() == ""
