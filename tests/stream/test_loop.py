from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgepose.errors import BoxError, SourceError
from edgepose.poses import Frame, Poses
from edgepose.spec import COCO_KEYPOINTS
from edgepose.stream.loop import run_loop
from edgepose.stream.pipeline import TopDown
from edgepose.stream.sinks import Result, Sink
from edgepose.stream.statistics import RunStatistics, Stopwatch
from tests.stream.helpers import ListSource, brightest_spot, poses_of, standing_person


class ListSink(Sink):
    target = None

    def __init__(self, wants: int = 10**9) -> None:
        self.results: list[Result] = []
        self.wants = wants

    def write(self, result: Result) -> bool:
        self.results.append(result)
        return len(self.results) < self.wants


def two_people(frame: Frame, watch: Stopwatch) -> Poses:
    with watch("pose"):
        return poses_of(standing_person(), standing_person((40, 60)))


def raising(error: BaseException, at: int) -> Callable[[Frame, Stopwatch], Poses]:
    def pipeline(frame: Frame, watch: Stopwatch) -> Poses:
        if frame.index == at:
            raise error
        return two_people(frame, watch)

    return pipeline


def test_every_frame_goes_to_every_sink() -> None:
    sinks = [ListSink(), ListSink()]
    statistics = run_loop(ListSource(5), two_people, sinks, COCO_KEYPOINTS)
    for sink in sinks:
        assert [r.frame.index for r in sink.results] == list(range(5))
    assert sinks[0].results[0].drawing is sinks[1].results[0].drawing
    assert (statistics.frames, statistics.persons, statistics.end) == (5, 10, "finished")
    assert statistics.fps == pytest.approx(5 / statistics.seconds)


def test_the_report_is_plain_data() -> None:
    report = run_loop(ListSource(5), two_people, [ListSink()], COCO_KEYPOINTS).to_dict()
    assert report["frames"] == 5
    assert report["error"] is None
    assert set(report["stages_ms"]) == {"read", "pose", "output"}
    for times in report["stages_ms"].values():
        assert 0 <= times["p50"] <= times["p95"]


def test_it_stops_after_max_frames() -> None:
    statistics = run_loop(ListSource(5), two_people, [], COCO_KEYPOINTS, max_frames=3)
    assert (statistics.frames, statistics.end) == (3, "limit")


def test_a_sink_can_end_it() -> None:
    sinks = [ListSink(), ListSink(wants=2)]
    statistics = run_loop(ListSource(5), two_people, sinks, COCO_KEYPOINTS)
    assert (statistics.frames, statistics.end) == (2, "window closed")
    assert len(sinks[0].results) == 2


def test_ctrl_c_is_an_end() -> None:
    statistics = run_loop(ListSource(5), raising(KeyboardInterrupt(), 3), [], COCO_KEYPOINTS)
    assert (statistics.frames, statistics.end, statistics.error) == (3, "interrupted", None)


def test_a_source_that_breaks_off_is_an_end_with_its_error_redacted() -> None:
    error = SourceError("rtsp://admin:hunter2@host broke off")
    statistics = run_loop(ListSource(4, error, live=True), two_people, [], COCO_KEYPOINTS)
    assert (statistics.frames, statistics.end, statistics.error) == (4, "broke off", error)
    assert statistics.to_dict()["error"] == "rtsp://***@host broke off"


@pytest.mark.parametrize("error", [BoxError("bad box"), ValueError("a bug")])
def test_other_errors_are_raised(error: Exception) -> None:
    with pytest.raises(type(error)):
        run_loop(ListSource(5), raising(error, 2), [], COCO_KEYPOINTS)


def test_poses_are_refined_in_order() -> None:
    def keep_first(frame: Frame, poses: Poses) -> Poses:
        return poses_of(*poses.keypoints[:1])

    def move(frame: Frame, poses: Poses) -> Poses:
        return poses_of(*(poses.keypoints + frame.index))

    sink = ListSink()
    statistics = run_loop(
        ListSource(3), two_people, [sink], COCO_KEYPOINTS, refine=[keep_first, move]
    )
    assert [len(r.poses) for r in sink.results] == [1, 1, 1]
    moved = sink.results[2].poses.keypoints - sink.results[0].poses.keypoints
    assert moved.min() == moved.max() == 2
    assert "refine" in statistics.to_dict()["stages_ms"]


def test_progress_is_told_with_the_age_of_live_frames() -> None:
    class Aged(ListSource):
        def age(self, frame: Frame) -> float:
            return 0.25

        @property
        def dropped(self) -> int:
            return 7

    told: list[tuple[int, Any]] = []

    def on_frame(statistics: RunStatistics, age: float | None) -> None:
        told.append((statistics.frames, age))

    run_loop(ListSource(2), two_people, [], COCO_KEYPOINTS, on_frame=on_frame)
    statistics = run_loop(Aged(2, live=True), two_people, [], COCO_KEYPOINTS, on_frame=on_frame)
    assert told == [(1, None), (2, None), (1, 0.25), (2, 0.25)]
    assert statistics.to_dict()["dropped"] == 7
    assert statistics.to_dict()["stages_ms"]["age"]["p50"] == 250


def test_boxes_come_first_and_one_batch_holds_all_people() -> None:
    estimator = brightest_spot()
    boxes = [[10, 40, 60, 80], [30, 40, 90, 80], [0, 0, 160, 120]]
    pipeline = TopDown(estimator, lambda frame: (boxes, [0.9, 0.8, 0.7]))  # type: ignore[arg-type, return-value]
    sink = ListSink()
    statistics = run_loop(ListSource(2), pipeline, [sink], COCO_KEYPOINTS)
    assert estimator.runner.batches == [3, 3]  # type: ignore[attr-defined]
    assert sink.results[0].poses.box_scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert set(statistics.to_dict()["stages_ms"]) == {"read", "boxes", "pose", "output"}


def test_the_stopwatch_remembers_a_bounded_number() -> None:
    watch = Stopwatch()
    for _ in range(10_000):
        watch.add("x", 0.001)
    for _ in range(10_000):
        watch.add("x", 0.002)
    assert watch.summary() == {"x": {"p50": 2.0, "p95": 2.0}}
