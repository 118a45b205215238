"""The report on a terminal: tables of at most a hundred columns, and the sentences under them."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from edgepose.bench.choose import Choice
from edgepose.bench.compare import Change, Comparison
from edgepose.bench.reading import short_label
from edgepose.bench.record import ArtefactRecord
from edgepose.bench.report import details, remarks, summary, words
from edgepose.bench.report.study import Study
from edgepose.bench.report.table import Table

__all__ = ["choice_table", "comparison_tables", "rich_table", "terminal"]

_LEAST_NAME = 14
_ENDLESS = 1000
_STYLES = {"worse": "bold red", "better": "green", "unclear": "yellow", "not judged": "dim"}
_WITHIN = (
    "Intervals are of the rounds inside each run; how much this machine differs from run to run is "
    "not in them."
)
_TAIL = "The p99 of a run's few calls is nearly its slowest call: it is told and not judged."


def terminal(records: Sequence[ArtefactRecord]) -> list[RenderableType]:
    """What to print, in order. Reads records only.

    Raises:
        InputError: There is no record.
    """
    study = Study.of(records)
    shown: list[RenderableType] = [Text(remarks.title(study), style="bold")]
    first = ("artefact", "precision", "ap", "ap change", "p50", "p95", "ratio")
    tables: list[Table | None] = [summary.compose(study, "Speed and accuracy", first)]
    cost = study.measured("cost")
    convention = words.first_clause((cost[0].section("cost") or {})["convention"]) if cost else ""
    second = ("artefact", "throughput", "peak", "gpu peak", "file", "gmacs", "params", "joules")
    size = summary.compose(study, "Throughput, size and cost", second, convention).without_notes()
    tables += [size, summary.speed(study), *details.accuracy_tables(study)]
    shown += [Fitted(table) for table in tables if table is not None and table.has_figures]
    shown += [Text(f"• {text}") for text in remarks.findings(study)]
    shown.append(Text())
    shown += [Text(text, style="dim") for text in remarks.labels(study)]
    shown += [Text(f"WARNING: {text}", style="bold yellow") for text in remarks.warnings(study)]
    for subject, failure in remarks.failures(study):
        shown.append(Text(f"FAILED: {subject.name}: {_told(failure)}", style="bold red"))
    return [Padding(item, (0, 0)) if isinstance(item, Text) else item for item in shown]


class Fitted:
    """A table that folds the names in its first column before anything else, where it has to.

    Title and caption are lines of their own, as wide as the terminal: rich folds them to the width
    of the table.

    Args:
        table: What to show.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        made = rich_table(self._table)
        surplus = Measurement.get(console, options.update(width=_ENDLESS), made).maximum
        surplus -= options.max_width
        names = max((len(row[0].text) for row in self._table.rows), default=0)
        # Where that is not enough, rich folds all columns alike.
        if surplus > 0 and names - surplus >= _LEAST_NAME:
            made = rich_table(self._table, names - surplus)
        yield Text(self._table.title, style="italic")
        yield made
        if self._table.caption:
            yield Text(self._table.caption, style="dim italic")
            yield Text()


def rich_table(table: Table, name_width: int | None = None) -> RichTable:
    """The rows of a table for the terminal; the best of a column is bold."""
    made = RichTable(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for place, column in enumerate(table.columns):
        made.add_column(
            escape(column.brief or column.heading),
            justify="right" if column.numeric else "left",
            overflow="fold",
            width=name_width if place == 0 else None,
        )
    for row in table.rows:
        made.add_row(*(_text(cell.text, cell.note, cell.best) for cell in row))
    return made


def _text(text: str, note: str, best: bool) -> Text:
    made = Text(text, style="bold green" if best else "")
    if note:
        made.append(f" ({note})", style="dim")
    return made


def _told(failure: dict[str, str | None]) -> str:
    text = str(failure["what"])
    if failure["why"]:
        text += f": {failure['why']}"
    return f"{text} (next: {failure['hint']})" if failure["hint"] else text


def comparison_tables(comparison: Comparison) -> list[RenderableType]:
    """Old against new, what is broken or lost, and what else differs."""
    table = RichTable(
        title="Then and now", box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False
    )
    for title in ("artefact", "figure"):
        table.add_column(title, overflow="fold")
    for title in ("then", "now", "change [95 %]"):
        table.add_column(title, justify="right")
    table.add_column("verdict")
    for change in comparison.changes:
        style = _STYLES.get(change.verdict, "")
        table.add_row(
            Text(short_label(change.label)),
            Text(change.what),
            *(Text(figure, justify="right") for figure in _figures(change)),
            Text(change.verdict, style=style),
        )
    shown: list[RenderableType] = [table]
    shown += [Text(f"BROKEN: {text}", style="bold red") for text in comparison.broken]
    shown += [Text(f"note: {text}", style="yellow") for text in comparison.warnings]
    if any(change.interval_95 for change in comparison.changes):
        shown.append(Text(_WITHIN, style="dim"))
    if any(change.verdict == "not judged" for change in comparison.changes):
        shown.append(Text(_TAIL, style="dim"))
    limits = f"times and bytes may grow by {comparison.tolerance:.0%}, AP may drop by "
    limits += f"{comparison.ap_tolerance:g} points"
    worse = sum(change.verdict == "worse" for change in comparison.changes)
    if comparison.regressed:
        broken = f", {len(comparison.broken)} broken" if comparison.broken else ""
        shown.append(Text(f"REGRESSED: {worse} figures worse{broken} ({limits})", style="bold red"))
    else:
        shown.append(Text(f"No regression ({limits}).", style="bold"))
    return shown


def _figures(change: Change) -> tuple[str, str, str]:
    if change.unit in ("AP", "PCKh"):
        return (
            f"{words.points(change.old)} %",
            f"{words.points(change.new)} %",
            words.signed(change.change),
        )
    ends = f" [{words.NONE}]" if change.unit in ("ms", "ratio") else ""
    if change.interval_95 is not None:
        ends = " " + words.interval(*(f"{end:.2f}" for end in change.interval_95))
    old, new = (_figure(value, change.unit) for value in (change.old, change.new))
    return old, new, f"{words.TIMES} {change.change:.2f}{ends}"


def _figure(value: float, unit: str) -> str:
    if unit == "ratio":
        return words.digits(value)
    return f"{words.digits(value)} ms" if unit == "ms" else f"{words.mebibytes(int(value))} MiB"


def choice_table(choice: Choice) -> list[RenderableType]:
    """The answer, then every artefact with the reason why it is in or out."""
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("artefact", overflow="fold")
    table.add_column(f"{choice.percentile}, ms", justify="right")
    table.add_column("AP, %", justify="right")
    table.add_column("why", overflow="fold")
    for row in choice.rows:
        mark = "→" if row.name == choice.best else ("✓" if row.fits else "✗")
        table.add_row(
            mark,
            Text(row.name, style="bold" if row.name == choice.best else ""),
            words.digits(row.milliseconds),
            words.points(row.ap),
            Text(row.why),
        )
    answer = f"{choice.best}: {choice.why}." if choice.best else words.sentence(choice.why)
    shown: list[RenderableType] = [Text(answer, style="bold"), table]
    if choice.measured_by is not None:
        shown.append(Text(words.sentence(choice.measured_by), style="dim"))
    return shown
