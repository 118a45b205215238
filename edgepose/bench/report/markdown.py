"""The report as Markdown: what goes into a README, with the labels that belong under it."""

from __future__ import annotations

from collections.abc import Sequence

from edgepose.bench.record import ArtefactRecord
from edgepose.bench.report import remarks, summary, words
from edgepose.bench.report.study import Study
from edgepose.bench.report.table import Table

__all__ = ["markdown", "markdown_table"]

_KEYS = (
    "artefact", "precision", "ap", "ap change", "p50", "p95", "ratio", "throughput", "peak",
    "gpu peak", "file", "joules",
)  # fmt: skip


def markdown(records: Sequence[ArtefactRecord]) -> str:
    """A compact table, and under it what its figures are of. Reads records only.

    Raises:
        InputError: There is no record.
    """
    study = Study.of(records)
    first = study.records[0]
    parts = [
        f"**{_escaped(remarks.title(study))}** ({words.date(first.created)}, edgepose "
        f"{_escaped(first.edgepose)}):",
        markdown_table(summary.compose(study, "", _KEYS)),
    ]
    table = summary.speed(study)
    if table is not None:
        parts += [f"{table.title}:", markdown_table(table)]
    lines = [*remarks.findings(study), *remarks.labels(study)]
    lines += [f"**Warning:** {text}" for text in remarks.warnings(study)]
    lines += [
        f"**Failed:** {subject.name}: {failure['what']}"
        for subject, failure in remarks.failures(study)
    ]
    parts.append("\n".join(f"- {_line(text)}" for text in lines))
    command = " ".join(first.command.replace("`", "").split())
    parts.append(f"Made by `{command}`")
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """A GitHub table; the best of a column is bold."""
    heads = [column.heading for column in table.columns]
    rule = ["---:" if column.numeric else "---" for column in table.columns]
    rows = [[_cell(cell.text, cell.note, cell.best) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (map(_escaped, heads), rule, *rows))


def _cell(text: str, note: str, best: bool) -> str:
    made = f"**{_escaped(text)}**" if best else _escaped(text)
    return f"{made} ({_escaped(note)})" if note else made


def _line(text: str) -> str:
    """Asterisks of our own stay; the rest has nothing that Markdown takes for its own."""
    head, mark, rest = text.partition(":** ")
    return f"{head}{mark}{_escaped(rest)}" if mark else _escaped(text)


def _escaped(text: str) -> str:
    for sign in ("\\", "|", "*", "_", "`", "<"):
        text = text.replace(sign, f"\\{sign}")
    return text.replace("](", "]\\(").replace("\n", " ")
