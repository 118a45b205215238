"""The loop: source, pipeline, sinks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edgepose.draw import DrawStyle
from edgepose.errors import SourceError
from edgepose.poses import Frame, Poses
from edgepose.spec import KeypointSet
from edgepose.stream.pipeline import Pipeline
from edgepose.stream.sinks.base import Result, Sink
from edgepose.stream.sources.base import Source
from edgepose.stream.statistics import RunStatistics

__all__ = ["Refine", "run_loop"]

# Works on the poses of successive frames: a tracker, a smoother.
Refine = Callable[[Frame, Poses], Poses]


def run_loop(
    source: Source,
    pipeline: Pipeline,
    sinks: Sequence[Sink],
    keypoints: KeypointSet,
    *,
    style: DrawStyle | None = None,
    refine: Sequence[Refine] = (),
    max_frames: int | None = None,
    on_frame: Callable[[RunStatistics, float | None], None] | None = None,
) -> RunStatistics:
    """Take frames from one source through to the sinks until something ends it.

    One source, one pipeline: a pipeline remembers earlier frames. Several cameras are several
    loops, whose frames tell their ``source``. Opening and closing is the caller's.

    Args:
        source: Frames.
        pipeline: Frame to poses.
        sinks: Each gets every result, in this order.
        keypoints: Of the poses.
        style: How to draw.
        refine: Applied to the poses in this order, timed as ``refine``.
        max_frames: Stop after so many.
        on_frame: Called after each frame with the statistics so far and the frame's age in
            seconds (None for files).

    Returns:
        The statistics. A source that breaks off and Ctrl-C are ends like others, told by ``end``;
        all other errors are raised.
    """
    statistics = RunStatistics(source.name, source.live)
    watch = statistics.stages
    style = style or DrawStyle()
    started = time.perf_counter()
    try:
        frames = iter(source)
        while True:
            if max_frames is not None and statistics.frames >= max_frames:
                statistics.end = "limit"
                break
            with watch("read"):
                frame = next(frames, None)
            if frame is None:
                break
            poses = pipeline(frame, watch)
            if refine:
                with watch("refine"):
                    for step in refine:
                        poses = step(frame, poses)
            result = Result(frame, poses, keypoints, style)
            with watch("output"):
                wanted = [sink.write(result) for sink in sinks]
            age = source.age(frame)
            if age is not None:
                watch.add("age", age)
            statistics.frames += 1
            statistics.persons += len(poses)
            statistics.dropped = source.dropped
            statistics.seconds = time.perf_counter() - started
            if on_frame:
                on_frame(statistics, age)
            if not all(wanted):
                statistics.end = "window closed"
                break
    except SourceError as error:
        statistics.end, statistics.error = "broke off", error
    except KeyboardInterrupt:
        statistics.end = "interrupted"
    statistics.seconds = time.perf_counter() - started
    statistics.dropped = source.dropped
    statistics.skipped = list(source.skipped)
    return statistics
