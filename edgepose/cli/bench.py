"""``edgepose bench``: how accurate and how fast an artefact is, with a record to prove it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgepose.bench import BenchRecord
    from edgepose.estimator import Estimator

__all__ = ["bench"]

_BATCHES = (1, 8)


def bench(
    artefact: Annotated[
        list[str],
        typer.Argument(help="Zoo name, .onnx or .engine file; several are measured side by side."),
    ],
    coco: Annotated[
        Path | None,
        typer.Option(help="COCO-layout folder: measure accuracy on it instead of latency."),
    ] = None,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="Flip test on or off, with --coco.")
    ] = None,
    both: Annotated[
        bool, typer.Option("--both", help="Flip test off and on (the default), with --coco.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first N photos, with --coco.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder whose first picture to time on, taken as one person."),
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="People in one call, such as 1,8 (the default when timing).")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="As of run: cpu by default, cuda for an .engine."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the runtime; all cores if not given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for one record (JSON) each.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as JSON.")] = False,
) -> None:
    """Measure ARTEFACT: latency on packaged photos, or accuracy on a COCO folder.

    Latency is timed in shuffled rounds, all artefacts and batch sizes together. Accuracy is the
    official OKS metrics with ground-truth boxes; weights that were trained on validation photos
    are measured on the edgepose hold-out alone.
    """
    batches = None if batch is None else _numbers(batch)
    _check_usage(coco, flip, both, limit, images, batches)
    import edgepose

    command = _command(artefact, coco, flip, limit, images, batches, device, threads)
    estimators = {
        name: edgepose.load(name, device=device, threads=threads)
        for name in dict.fromkeys(artefact)
    }
    if coco is not None:
        flips = (False, True) if flip is None else (flip,)
        records = _accuracy(
            estimators, coco, flips, limit, batches[0] if batches else None, command
        )
    else:
        records = _latency(estimators, images, tuple(batches or _BATCHES), command)
    for estimator in estimators.values():
        estimator.close()
    if out is not None:
        for record in records:
            sys.stderr.write(f"wrote {record.write(out)}\n")
    if as_json:
        sys.stdout.write(json.dumps([record.to_dict() for record in records]) + "\n")
    else:
        _show(records)


def _accuracy(
    estimators: dict[str, Estimator],
    folder: Path,
    flips: tuple[bool, ...],
    limit: int | None,
    batch: int | None,
    command: str,
) -> list[BenchRecord]:
    from edgepose.bench import accuracy_record
    from edgepose.evaluate import CocoKeypoints

    records = []
    for name, estimator in estimators.items():
        dataset = CocoKeypoints.load(folder, estimator.spec.keypoints)
        if limit is not None:
            dataset = dataset.first(limit)
        with _bar(f"{name}: persons") as progress:
            record = accuracy_record(
                name, estimator, dataset, flips, command, batch=batch, progress=progress
            )
        records.append(record)
        note = record.results[0]["protocol"]["note"]
        if note is not None:
            sys.stderr.write(f"{name}: {note}\n")
    return records


def _latency(
    estimators: dict[str, Estimator],
    images: Path | None,
    batches: tuple[int, ...],
    command: str,
) -> list[BenchRecord]:
    from edgepose.bench import folder_scene, latency_records, sample_scene

    scene = sample_scene() if images is None else folder_scene(images)
    with _bar("timing") as progress:
        return latency_records(estimators, scene, batches, command, progress=progress)


def _check_usage(
    coco: Path | None,
    flip: bool | None,
    both: bool,
    limit: int | None,
    images: Path | None,
    batch: list[int] | None,
) -> None:
    if both and flip is not None:
        raise typer.BadParameter("--both and --flip/--no-flip exclude each other")
    if coco is None and (both or flip is not None or limit is not None):
        raise typer.BadParameter("--flip, --no-flip, --both and --limit go with --coco DIR")
    if coco is not None and images is not None:
        raise typer.BadParameter("--images is for timing; the photos of --coco are its own")
    if coco is not None and batch is not None and len(batch) > 1:
        raise typer.BadParameter("with --coco there is one --batch")


def _numbers(text: str) -> list[int]:
    """``1,8`` -> [1, 8]."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' is not numbers with commas, such as 1,8") from error
    if min(numbers) < 1:
        raise typer.BadParameter(f"'{text}' holds a batch of nobody")
    return numbers


def _command(
    artefacts: list[str],
    coco: Path | None,
    flip: bool | None,
    limit: int | None,
    images: Path | None,
    batch: list[int] | None,
    device: str | None,
    threads: int | None,
) -> str:
    """The command that makes the records again, from what was asked for."""
    words = ["edgepose", "bench", *artefacts]
    if coco is not None:
        words += ["--coco", str(coco)]
        words.append({None: "--both", True: "--flip", False: "--no-flip"}[flip])
    given = {"--limit": limit, "--images": images, "--threads": threads, "--device": device}
    for name, value in given.items():
        if value is not None:
            words += [name, str(value)]
    sizes = batch or (_BATCHES if coco is None else ())
    if sizes:
        words += ["--batch", ",".join(map(str, sizes))]
    return shlex.join(words)


def _show(records: list[BenchRecord]) -> None:
    from rich.console import Console

    from edgepose.bench.report import accuracy_table, latency_table

    accuracy = records[0].kind == "accuracy"
    Console().print(accuracy_table(records) if accuracy else latency_table(records))


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr while the block runs; silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        "{task.description}",
        BarColumn(None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, expand=True, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
