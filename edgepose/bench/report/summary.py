"""The tables that answer the first questions: how fast, how accurate, and what for which budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgepose.bench.choose import choose
from edgepose.bench.report import words
from edgepose.bench.report.study import Study, Subject
from edgepose.bench.report.table import Cell, Column, Row, Table, mark_best

__all__ = ["BUDGETS_FPS", "budgets", "compose", "speed", "verdict"]

BUDGETS_FPS = (60, 30, 15, 10, 5)

Made = tuple[Column, list[Cell]]

_VERDICT = (
    "artefact and runtime",
    "precision",
    "ap",
    "ap change",
    "p50",
    "p95",
    "ratio",
    "throughput",
    "peak",
    "gpu peak",
    "file",
    "joules",
)


def verdict(study: Study) -> Table:
    """Everything that decides, one row an artefact."""
    return compose(study, "Verdict", _VERDICT)


def compose(study: Study, title: str, keys: Sequence[str], caption: str = "") -> Table:
    """A table of some of the columns, without those in which nothing stands.

    Args:
        study: The artefacts.
        title: What it is of.
        keys: ``artefact``, ``precision``, ``ap``, ...: see the table at the end of this module.
        caption: What was measured.
    """
    made = [_COLUMNS[key](study) for key in keys]
    rows: tuple[Row, ...] = tuple(
        tuple(cells[place] for _, cells in made) for place, _ in enumerate(study.subjects)
    )
    return Table(title, tuple(column for column, _ in made), rows, caption).without_empty()


def speed(study: Study) -> Table | None:
    """Frame time by the number of persons in it; None if only one number was timed."""
    batches = study.batches("frame")
    if len(batches) < 2:
        return None
    columns = (
        Column("artefact", numeric=False),
        *(Column(words.persons(batch), "ms") for batch in batches),
    )
    made = []
    for batch in batches:
        times = [subject.times("frame", batch) for subject in study.subjects]
        cells = [Cell(_pair(found)) for found in times]
        made.append(mark_best(cells, [found["p50"] if found else None for found in times], min))
    rows = tuple(
        (Cell(subject.name, subject=subject.index), *(cells[place] for cells in made))
        for place, subject in enumerate(study.subjects)
    )
    return Table("Frame time by persons, p50 / p95", columns, rows)


def budgets(study: Study) -> Table | None:
    """The artefact to take for each frame rate and number of persons; None if none was timed."""
    batches = study.batches("frame")
    if not batches:
        return None
    columns = (
        Column("frames a second", numeric=False),
        *(Column(words.persons(batch), numeric=False) for batch in batches),
    )
    rows = tuple(
        (
            Cell(f"{rate}", note=f"{words.digits(1000 / rate)} ms"),
            *(_choice(study, 1000 / rate, batch) for batch in batches),
        )
        for rate in BUDGETS_FPS
    )
    return Table("What to take for which budget", columns, rows)


def _choice(study: Study, budget_ms: float, persons: int) -> Cell:
    fit = [subject.record for subject in study.subjects if not subject.random]
    choice = choose(fit, budget_ms, persons=persons)
    if choice.best is None:
        return Cell(words.NONE)
    row = next(row for row in choice.rows if row.name == choice.best)
    place = next(place for place, row in enumerate(choice.rows) if row.name == choice.best)
    subject = next(subject for subject in study.subjects if subject.record is fit[place])
    note = f"{words.digits(row.milliseconds)} ms"
    if row.ap is not None:
        note += f", AP {words.points(row.ap)}"
    return Cell(subject.name, subject=subject.index, note=note)


def _pair(times: dict[str, float] | None) -> str:
    if times is None:
        return words.NONE
    return f"{words.digits(times['p50'])} / {words.digits(times['p95'])}"


def _artefact(study: Study) -> Made:
    return Column("artefact", numeric=False), [
        Cell(subject.name, subject=subject.index, note=_note(subject)) for subject in study.subjects
    ]


def _note(subject: Subject) -> str:
    """What has to be known before any figure of the row is read."""
    notes = []
    if subject.record.status == "failed":
        notes.append("failed")
    elif subject.record.status == "partial":
        notes.append("incomplete")
    if subject.random:
        notes.append("random weights")
    return ", ".join(notes)


def _artefact_and_runtime(study: Study) -> Made:
    return Column("artefact", numeric=False), [
        Cell(
            subject.name,
            subject=subject.index,
            note="; ".join(filter(None, (_note(subject), _runtime(subject)))),
        )
        for subject in study.subjects
    ]


def _runtime(subject: Subject) -> str:
    return "" if subject.record.runner is None else words.stack(subject.record)


def _precision(study: Study) -> Made:
    return Column("precision", numeric=False), [
        Cell(subject.precision or words.NONE) for subject in study.subjects
    ]


def _ap(study: Study) -> Made:
    values = [subject.ap.ap if subject.ap else None for subject in study.subjects]
    cells = [Cell(words.points(value)) for value in values]
    meant = [
        None if subject.random else value
        for subject, value in zip(study.subjects, values, strict=True)
    ]
    return Column("AP", "%", brief="AP %"), mark_best(cells, meant, max)


def _ap_change(study: Study) -> Made:
    return Column("AP change", "points [95 %]", brief="AP change [95 %]"), [
        Cell(_against(subject, words.change(subject.ap_change), subject.ap is not None))
        for subject in study.subjects
    ]


def _ratio(study: Study) -> Made:
    batch = study.persons
    return Column("time ratio", "[95 %]", brief="time ratio [95 %]"), [
        Cell(
            _against(
                subject,
                words.ratio(subject.ratio("frame", batch)),
                subject.times("frame", batch) is not None,
            )
        )
        for subject in study.subjects
    ]


def _against(subject: Subject, figure: str, measured: bool) -> str:
    return "reference" if subject.is_reference and measured else figure


def _time(key: str) -> Callable[[Study], Made]:
    def column(study: Study) -> Made:
        found = [subject.times("frame", study.persons) for subject in study.subjects]
        values = [times[key] if times else None for times in found]
        cells = [Cell(words.digits(value)) for value in values]
        title = f"frame {key}" if study.persons == 1 else f"frame {key}, {study.persons} persons"
        return Column(title, "ms", brief=f"{key} ms"), mark_best(cells, values, min)

    return column


def _throughput(study: Study) -> Made:
    tops = [
        max(subject.throughput("frame"), key=lambda pair: pair[1], default=None)
        for subject in study.subjects
    ]
    cells = [
        Cell(
            words.NONE if top is None else words.digits(top[1]),
            note="" if top is None else f"at {words.persons(top[0])}",
        )
        for top in tops
    ]
    return Column("most persons", "a second", brief="persons/s"), mark_best(
        cells, [top[1] if top else None for top in tops], max
    )


def _peak(study: Study) -> Made:
    found = [subject.section("memory") for subject in study.subjects]
    values = [section["peak_bytes"] if section else None for section in found]
    cells = [Cell(words.mebibytes(value)) for value in values]
    return Column("peak memory", "MiB", brief="peak MiB"), mark_best(cells, values, min)


def _gpu_peak(study: Study) -> Made:
    values = []
    for subject in study.subjects:
        gpu = (subject.section("memory") or {}).get("gpu") or {}
        values.append(gpu.get("peak_bytes"))
    cells = [Cell(words.mebibytes(value)) for value in values]
    return Column("peak GPU memory", "MiB", brief="GPU MiB"), mark_best(cells, values, min)


def _file(study: Study) -> Made:
    values = [
        subject.record.artefact["bytes"] if subject.works else None for subject in study.subjects
    ]
    cells = [Cell(words.mebibytes(value)) for value in values]
    return Column("file", "MiB", brief="file MiB"), mark_best(cells, values, min)


def _gmacs(study: Study) -> Made:
    found = [subject.section("cost") for subject in study.subjects]
    return Column("GMACs", "a person", brief="GMACs"), [
        Cell(
            words.digits(section["gmacs"] if section else None),
            note=words.too_low(section),
        )
        for section in found
    ]


def _params(study: Study) -> Made:
    found = [subject.section("cost") for subject in study.subjects]
    return Column("parameters", "M", brief="params M"), [
        Cell(words.millions(section["params"] if section else None)) for section in found
    ]


def _joules(study: Study) -> Made:
    values = []
    for subject in study.subjects:
        rows = (subject.section("power") or {}).get("batches", [])
        values.append(
            next((r["joules_per_frame"] for r in rows if r["batch"] == study.persons), None)
        )
    cells = [Cell(words.digits(value)) for value in values]
    return Column("energy", "J a frame", brief="J a frame"), mark_best(cells, values, min)


_COLUMNS: dict[str, Callable[[Study], Made]] = {
    "artefact": _artefact,
    "precision": _precision,
    "artefact and runtime": _artefact_and_runtime,
    "ap": _ap,
    "ap change": _ap_change,
    "p50": _time("p50"),
    "p95": _time("p95"),
    "ratio": _ratio,
    "throughput": _throughput,
    "peak": _peak,
    "gpu peak": _gpu_peak,
    "file": _file,
    "gmacs": _gmacs,
    "params": _params,
    "joules": _joules,
}
