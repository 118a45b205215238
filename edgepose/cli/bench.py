"""``edgepose bench``: which artefact meets a frame budget here, and what accuracy it costs."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgepose.errors import OutputError, require

if TYPE_CHECKING:
    from edgepose.bench.choose import Choice
    from edgepose.bench.compare import Comparison
    from edgepose.bench.plan import Plan
    from edgepose.bench.record import ArtefactRecord

__all__ = ["bench"]

_REGRESSED = 3
_FAILED = 1
_INTERRUPTED = 130
_DEFAULT_OUT = Path("bench-out")
_WHAT = "What to measure"
_ACCURACY = "Accuracy"
_DECIDE = "Deciding"


def bench(
    artefact: Annotated[
        list[str] | None,
        typer.Argument(
            help="An .onnx or .engine file, or a model's name (PyTorch, with the zoo's weights); "
            "NAME.onnx also means the zoo's ready file. The first is the reference for the others. "
            "A record (.json), or a folder of them, is read and not measured."
        ),
    ] = None,
    suite: Annotated[
        Path | None,
        typer.Option(help="TOML file that says what to measure.", rich_help_panel=_WHAT),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(help="People in one call.", show_default="1,8", rich_help_panel=_WHAT),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            help="Some of latency,memory,cost,power,accuracy.",
            show_default="all",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder whose first picture to time on, taken as one person.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="As of run: cpu by default, cuda for an .engine.", rich_help_panel=_WHAT),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Threads inside one operator; all cores by default.", rich_help_panel=_WHAT
        ),
    ] = None,
    spec: Annotated[
        Path | None,
        typer.Option(help="Spec (TOML) of a foreign .onnx file.", rich_help_panel=_WHAT),
    ] = None,
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights",
            help="Measure untrained models; accuracy then means nothing.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="One setting of a suite, as seconds=60, limit=50, calib=DIR; may be repeated.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    coco: Annotated[
        Path | None,
        typer.Option(help="COCO-layout folder to measure AP on.", rich_help_panel=_ACCURACY),
    ] = None,
    detections: Annotated[
        Path | None,
        typer.Option(
            help="Boxes of a detector (COCO results) in place of the annotated ones.",
            rich_help_panel=_ACCURACY,
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            help="Flip test on or off alone; both by default.",
            rich_help_panel=_ACCURACY,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="What a frame may take (33ms, 30fps): name the most accurate that keeps to it.",
            rich_help_panel=_DECIDE,
        ),
    ] = None,
    min_ap: Annotated[
        float | None,
        typer.Option(
            min=0, max=100, help="Least AP (0..100), with --budget.", rich_help_panel=_DECIDE
        ),
    ] = None,
    persons: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="People in a frame, with --budget.",
            show_default="1",
            rich_help_panel=_DECIDE,
        ),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="OLD NEW",
            help="Measure nothing: hold two records, or folders of them, against one another.",
            rich_help_panel=_DECIDE,
        ),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0,
            help="Percent by which --compare lets times and sizes grow (AP: half a point).",
            rich_help_panel=_DECIDE,
        ),
    ] = 5.0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for a record (JSON) each and the report."),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Write report.html too, into --out (or ./bench-out).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as JSON.")] = False,
) -> None:
    """Measure ARTEFACTs together: latency, memory, GMACs, power, and accuracy with --coco.

    All are timed in shuffled rounds, each in a process of its own, so that drift hits all alike;
    they are compared by paired ratios with 95 % intervals. Exit code 1 if an artefact failed (the
    others are measured all the same), 3 if nothing keeps to --budget or --compare finds a
    regression. Ctrl-C keeps what was measured.
    """
    named = artefact or []
    if compare is not None:
        if named or any((suite, coco, only, out, html, budget)):
            raise typer.BadParameter("--compare measures nothing: it goes with --tolerance alone")
        _compare(*compare, tolerance, as_json)
        return
    if budget is None and (min_ap is not None or persons is not None):
        raise typer.BadParameter("--min-ap and --persons go with --budget")
    if coco is None and suite is None and (flip is not None or detections is not None):
        raise typer.BadParameter("--flip, --no-flip and --detections go with --coco DIR")
    if coco is not None and only is not None and "accuracy" not in only:
        raise typer.BadParameter("--coco is for accuracy: add it to --only")
    from edgepose.bench.choose import choose, parse_budget

    budget_ms = None if budget is None else parse_budget(budget)
    if html:
        for module in ("jinja2", "matplotlib"):  # now, and not after minutes of measuring
            require(module, "report")
    options: dict[str, object | None] = {
        "batches": None if batch is None else _numbers(batch),
        "sections": None if only is None else [word.strip() for word in only.split(",")],
        "images": _text(images),
        "device": device,
        "threads": threads,
        "coco": _text(coco),
        "detections": _text(detections),
        "flip": {None: None, True: "on", False: "off"}[flip],
    }
    place = out or (_DEFAULT_OUT if html else None)
    kept = [word for word in named if _holds_records(word)]
    asked = [word for word in named if not _holds_records(word)]
    run = _Run(_read(kept))
    if asked or suite is not None or not kept:
        plan = _plan(asked, suite, options, settings or [], spec, random_weights)
        command = _command(asked, suite, options, settings, spec, random_weights)
        run = _measure(plan, place, command, run.records)
    elif any(value is not None for value in options.values()) or random_weights or settings:
        raise typer.BadParameter("records are read, not measured: leave out what is for measuring")
    choice = None
    if budget_ms is not None:
        choice = choose(run.records, budget_ms, min_ap, persons or 1)
    _tell(run.records, choice, as_json)
    if place is not None and not run.interrupted and any(r.status != "failed" for r in run.records):
        from edgepose.cli._bench_view import write_reports

        write_reports(run.records, place, html)
    _end(run, choice)


@dataclass(frozen=True)
class _Run:
    """Records, read or measured, and what went wrong beside them.

    Attributes:
        records: In the order given, those that were read first.
        interrupted: Whether the measurement was.
        trouble: What has to be raised at the end: records that could not be written, or a fault.
    """

    records: list[ArtefactRecord]
    interrupted: bool = False
    trouble: Exception | None = None


def _plan(
    named: Sequence[str],
    suite: Path | None,
    options: dict[str, object | None],
    settings: Sequence[str],
    spec: Path | None,
    random_weights: bool,
) -> Plan:
    from edgepose.bench.plan import Artefact, plan_for
    from edgepose.bench.worker.onnx_facts import onnx_facts

    short = Counter(Path(name).name for name in set(named))
    artefacts = []
    for place, name in enumerate(named):
        label = Path(name).name if short[Path(name).name] == 1 else name
        again = named[:place].count(name)
        # A file that says how it is to be used is not told otherwise.
        foreign = name.endswith(".onnx") and not onnx_facts(Path(name)).carries_spec
        artefacts.append(
            Artefact(
                use=name,
                label=f"{label} #{again + 1}" if again else label,
                spec=_text(spec) if foreign else None,
                random_weights=random_weights and not name.endswith((".onnx", ".engine")),
            )
        )
    return plan_for(artefacts, suite, options, settings)


def _measure(plan: Plan, place: Path | None, command: str, before: list[ArtefactRecord]) -> _Run:
    """Measure, and write a record of each."""
    from edgepose.bench.folder import OutFolder
    from edgepose.bench.session import measure_plan
    from edgepose.cli._bench_view import bench_talk
    from edgepose.cli._interrupting import one_interruption

    with OutFolder(place) as folder, one_interruption():
        with bench_talk() as talk:
            outcome = measure_plan(plan, folder, command, talk)
        trouble: Exception | None = outcome.fault
        if folder.kept:
            try:
                for path in folder.write(outcome.records):
                    sys.stderr.write(f"wrote {path}\n")
            except OutputError as error:  # they can still be printed
                trouble = trouble or error
    return _Run([*before, *outcome.records], outcome.interrupted, trouble)


def _holds_records(name: str) -> bool:
    return name.endswith(".json") or Path(name).is_dir()


def _read(names: Sequence[str]) -> list[ArtefactRecord]:
    from edgepose.bench.record import in_order, read_artefact_records

    return in_order([record for name in names for record in read_artefact_records(name)])


def _compare(old: Path, new: Path, tolerance: float, as_json: bool) -> None:
    from edgepose.bench.compare import compare_records
    from edgepose.bench.record import read_artefact_records

    comparison: Comparison = compare_records(
        read_artefact_records(old), read_artefact_records(new), tolerance / 100
    )
    if as_json:
        _print_json(comparison.to_dict())
    else:
        from edgepose.bench.report import comparison_tables
        from edgepose.cli._bench_view import print_all

        print_all(comparison_tables(comparison))
    if comparison.regressed:
        raise typer.Exit(_REGRESSED)


def _tell(records: list[ArtefactRecord], choice: Choice | None, as_json: bool) -> None:
    if as_json:
        data: dict[str, Any] = {"records": [record.to_dict() for record in records]}
        _print_json(data if choice is None else data | {"choice": choice.to_dict()})
        return
    from edgepose.bench.report import choice_table, terminal
    from edgepose.cli._bench_view import print_all

    if any(record.status != "failed" for record in records):  # else there is nothing to show
        print_all(terminal(records))
    if choice is not None:
        print_all(choice_table(choice))


def _end(run: _Run, choice: Choice | None) -> None:
    """The exit code; what failed is said once more where nobody can miss it."""
    for record in run.records:
        for failure in record.failures:
            words = ": ".join(filter(None, (failure["what"], failure["why"])))
            sys.stderr.write(f"edgepose: {record.label}: {failure['section']}: {words}\n")
            if failure["hint"]:
                sys.stderr.write(f"  next: {failure['hint']}\n")
    if run.trouble is not None:
        raise run.trouble
    if run.interrupted:
        sys.stderr.write("interrupted; what was measured until then is kept\n")
        raise typer.Exit(_INTERRUPTED)
    if any(record.failures for record in run.records):
        raise typer.Exit(_FAILED)
    if choice is not None and choice.best is None:
        raise typer.Exit(_REGRESSED)


def _numbers(text: str) -> list[int]:
    """``1,8`` -> [1, 8]."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' is not numbers with commas, such as 1,8") from error
    if min(numbers) < 1:
        raise typer.BadParameter(f"'{text}' holds a batch of nobody")
    return numbers


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _command(
    named: Sequence[str],
    suite: Path | None,
    options: dict[str, object | None],
    settings: Sequence[str] | None,
    spec: Path | None,
    random_weights: bool,
) -> str:
    """The command that makes the records again, from what was asked for."""
    words = ["edgepose", "bench", *named]
    if suite is not None:
        words += ["--suite", str(suite)]
    for name, value in options.items():
        if value is None:
            continue
        if name == "flip":
            words.append("--flip" if value == "on" else "--no-flip")
            continue
        option = {"batches": "--batch", "sections": "--only"}.get(name, f"--{name}")
        words += [option, ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    for setting in settings or ():
        words += ["--set", setting]
    words += [] if spec is None else ["--spec", str(spec)]
    words += ["--random-weights"] if random_weights else []
    return shlex.join(words)


def _print_json(data: object) -> None:
    sys.stdout.write(json.dumps(data) + "\n")
