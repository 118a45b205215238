"""``edgepose run``: people in a photo, folder, video, camera or stream."""

from __future__ import annotations

import contextlib
import json as json_module
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from edgepose.estimator import Estimator
    from edgepose.spec import PoseSpec
    from edgepose.stream.boxes import BoxFile
    from edgepose.stream.detector import Detector
    from edgepose.stream.pipeline import Pipeline
    from edgepose.stream.sinks import Sink
    from edgepose.stream.sources import Source
    from edgepose.stream.statistics import RunStatistics

__all__ = ["run"]

_INTERRUPTED = 130
_GUESS = "guess"


def run(
    artefact: Annotated[
        str,
        typer.Argument(metavar="ARTEFACT|MODEL", help="An .onnx or .engine file, or a zoo name."),
    ],
    source: Annotated[
        str,
        typer.Option(
            "--source", "-s", help="Photo, folder, glob, video, camera (0, /dev/video0) or URL."
        ),
    ],
    boxes: Annotated[
        Path | None,
        typer.Option(
            help='Boxes: {"photo.jpg" or frame index: [[x0, y0, x1, y1], …]}, one list for every '
            "frame, COCO annotations or detections."
        ),
    ] = None,
    detector: Annotated[
        Path | None,
        typer.Option(
            help="Person detector, .onnx. Without it and --boxes one person is looked for."
        ),
    ] = None,
    detector_format: Annotated[
        str | None, typer.Option(help="Its format, where the output shapes do not tell.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Annotated picture, folder or video (.mp4, .avi, …).")
    ] = None,
    jsonl: Annotated[Path | None, typer.Option(help="Poses, one JSON line a frame.")] = None,
    draw_boxes: Annotated[
        bool, typer.Option("--draw-boxes", help="Draw the boxes and pose scores too.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Show a window; q ends.")] = False,
    score_threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Least score of a joint to be drawn and followed; by kind of model."
        ),
    ] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    spec: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.toml|guess", help="Spec of a foreign .onnx file, or guess from shapes."
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda, cuda:1, tensorrt, openvino, …; cpu by default, cuda for an .engine."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads inside one operator; all cores by default.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Statistics as JSON on stdout.")] = False,
) -> None:
    """Find the people in a photo, folder, video, camera or stream, joint by joint.

    A live source is never queued: a slow model drops frames and stays at the newest one. Ctrl-C
    (exit code 130) and a stream that breaks off (1) leave every output whole up to there.
    """
    if boxes and detector:
        raise typer.BadParameter("give --boxes or --detector, not both")
    if detector_format and not detector:
        raise typer.BadParameter("--detector-format goes with --detector")

    from rich.console import Console

    from edgepose import load
    from edgepose.cli._run_progress import progress_of
    from edgepose.draw import DrawStyle
    from edgepose.stream.boxes import load_boxes
    from edgepose.stream.loop import run_loop
    from edgepose.stream.sources import open_source
    from edgepose.stream.thresholds import joint_threshold

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_terminate_as_interrupt())
        given = _spec(spec, artefact, console)
        pose = stack.enter_context(load(artefact, device=device, threads=threads, spec=given))
        finder = _detector(detector, device, threads, detector_format, console)
        box_file = load_boxes(boxes) if boxes else None
        frames = stack.enter_context(open_source(source, warn=lambda text: _say(console, text)))
        threshold = joint_threshold(pose.spec) if score_threshold is None else score_threshold
        pipeline = _pipeline(pose, frames, box_file, finder, threshold)
        read = {
            "the boxes": boxes,
            "the detector": detector,
            "the spec": Path(spec) if spec else None,
        }
        _check_outputs({"--save": save, "--jsonl": jsonl}, read, source, frames, pose)
        sinks = [stack.enter_context(s) for s in _sinks(frames, save, jsonl, show)]
        style = DrawStyle(joint_threshold=threshold, boxes=draw_boxes)
        total = min((n for n in (frames.length, max_frames) if n is not None), default=None)
        with progress_of(frames, total, console) as on_frame:
            statistics = run_loop(
                frames,
                pipeline,
                sinks,
                pose.spec.keypoints,
                style=style,
                max_frames=max_frames,
                on_frame=on_frame,
            )
        outputs = [sink.target for sink in sinks if sink.target is not None]
    _report(statistics, outputs, console)
    if json:
        setting = {"artefact": artefact, "model": pose.spec.model, "device": pose.runner.device}
        if finder is not None:
            setting |= {"detector": str(detector), "detector_format": finder.format.name}
        report: dict[str, Any] = {**setting, "outputs": outputs, **statistics.to_dict()}
        typer.echo(json_module.dumps(report))
    _finish(statistics)


def _spec(text: str | None, artefact: str, console: Console) -> PoseSpec | None:
    """The spec given with ``--spec``; a guessed one is shown, so that it can be corrected."""
    if text is None:
        return None
    from edgepose.spec_guess import guess_spec
    from edgepose.spec_toml import load_spec_toml, spec_to_toml

    if text != _GUESS:
        return load_spec_toml(text)
    spec = guess_spec(artefact)
    _say(console, f"guessed from the shapes of {artefact}; colours, mean, std and alignment are")
    _say(console, "conventions. If poses look wrong, correct this and give it as --spec FILE.toml:")
    _say(console, spec_to_toml(spec))
    return spec


def _detector(
    path: Path | None,
    device: str | None,
    threads: int | None,
    format_name: str | None,
    console: Console,
) -> Detector | None:
    if path is None:
        return None
    from edgepose.stream.detector import Detector

    detector = Detector(path, device=device or "cpu", threads=threads, format_name=format_name)
    height, width = detector.size
    _say(console, f"detector {path.name}: {detector.format.name} at {width}x{height}")
    return detector


def _pipeline(
    pose: Estimator,
    source: Source,
    box_file: BoxFile | None,
    detector: Detector | None,
    threshold: float,
) -> Pipeline:
    from functools import partial

    from edgepose.stream.pipeline import TopDown
    from edgepose.stream.region import RegionFollower, RegionSettings
    from edgepose.stream.sources.pictures import PictureSource

    if box_file is not None:
        if isinstance(source, PictureSource):
            box_file.check_covers(source.paths)
        else:
            box_file.check_indexed(source.name)
        return TopDown(pose, partial(box_file.boxes_in, independent=source.independent))
    if detector is not None:
        return TopDown(pose, detector.boxes_in)
    settings = RegionSettings(joint_threshold=threshold)
    return RegionFollower(pose, settings, independent=source.independent)


def _check_outputs(
    outputs: Mapping[str, Path | None],
    read: Mapping[str, Path | None],
    text: str,
    source: Source,
    pose: Estimator,
) -> None:
    """Refuse to write over anything that is read. ``text`` is the source as it was typed."""
    from edgepose.stream.sinks import check_outputs
    from edgepose.stream.sources.pictures import PictureSource

    inputs = [(what, path) for what, path in read.items() if path is not None]
    artefact = getattr(pose.runner, "path", None)  # a zoo name leads to a file as well
    if artefact is not None:
        inputs.append(("the artefact", artefact))
    inputs.append(("the source itself", Path(text)))
    if isinstance(source, PictureSource):
        inputs += [("one of the source's pictures", path) for path in source.paths]
    check_outputs({o: path for o, path in outputs.items() if path is not None}, inputs)


def _sinks(source: Source, save: Path | None, jsonl: Path | None, show: bool) -> Iterator[Sink]:
    """Opened one by one, so that the first that cannot be opened leaves the others closed."""
    from edgepose.stream.sinks import JsonlSink, WindowSink, open_save

    if save is not None:
        yield open_save(save, source)
    if jsonl is not None:
        yield JsonlSink(jsonl)
    if show:
        yield WindowSink(f"edgepose: {source.name}", hold=source.independent)


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM (a service being stopped) closes files as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(statistics: RunStatistics, outputs: list[str], console: Console) -> None:
    persons, frames = statistics.persons, statistics.frames
    line = f"{frames} frame{'s' * (frames != 1)}, {persons} pose{'s' * (persons != 1)}"
    line += f", {statistics.fps:.1f} fps"
    if statistics.live:
        line += f", {statistics.dropped} dropped"
    if statistics.end != "finished":
        line += f" ({statistics.end})"
    _say(console, line)
    stages = statistics.stages.summary()
    if stages:
        times = (f"{name} {t['p50']:.1f}/{t['p95']:.1f}" for name, t in stages.items())
        _say(console, f"ms at p50/p95: {', '.join(times)}")
    if outputs and frames:
        _say(console, f"wrote {', '.join(outputs)}")


def _finish(statistics: RunStatistics) -> None:
    """End with the exit code that fits."""
    if statistics.error is not None:
        raise statistics.error
    if statistics.end == "interrupted":
        raise typer.Exit(_INTERRUPTED)
    if statistics.skipped:
        from edgepose.errors import ImageError

        raise ImageError(
            f"{len(statistics.skipped)} of the pictures could not be read",
            "\n  " + "\n  ".join(statistics.skipped),
            "the others are done; replace or remove these",
        )


def _say(console: Console, text: str) -> None:
    from edgepose.redact import redact

    if console.is_terminal:
        console.print(redact(text), markup=False)
    else:
        sys.stderr.write(redact(text) + "\n")
