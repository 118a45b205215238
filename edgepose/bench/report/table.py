"""A table as a value, which the terminal, Markdown and the page each write in their own way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edgepose.bench.report.words import NONE

__all__ = ["Cell", "Column", "Row", "Table", "mark_best"]


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        title: Its head.
        unit: Unit of its figures, or "".
        numeric: Whether it holds figures, which stand to the right.
        brief: Head where there is little room; by default title and unit.
    """

    title: str
    unit: str = ""
    numeric: bool = True
    brief: str = ""

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: What stands in it.
        best: Whether it is the best of its column.
        subject: Index of the artefact it names, for its colour and mark; None if it names none.
        share: Length of a bar behind it, 0..1; None for no bar.
        note: Small print under it.
    """

    text: str
    best: bool = False
    subject: int | None = None
    share: float | None = None
    note: str = ""


Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: What it is of.
        columns: Its columns.
        rows: As many cells a row as there are columns.
        caption: What was measured, and how.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: {len(row)} cells for {len(self.columns)} columns")

    @property
    def has_figures(self) -> bool:
        """Whether a figure stands in any of its columns."""
        return any(
            row[place].text not in ("", NONE)
            for row in self.rows
            for place, column in enumerate(self.columns)
            if column.numeric
        )

    def without_notes(self) -> Table:
        """Without the small print."""
        rows = tuple(tuple(replace(cell, note="") for cell in row) for row in self.rows)
        return replace(self, rows=rows)

    def without_empty(self) -> Table:
        """Without the columns in which nothing stands."""
        kept = [
            place
            for place, _ in enumerate(self.columns)
            if any(row[place].text not in ("", NONE) for row in self.rows)
        ]
        return replace(
            self,
            columns=tuple(self.columns[place] for place in kept),
            rows=tuple(tuple(row[place] for place in kept) for row in self.rows),
        )


def mark_best(
    cells: Sequence[Cell],
    values: Sequence[float | None],
    best: Callable[[Sequence[float]], float],
) -> list[Cell]:
    """Mark the cells with the best value, where there is anything to be better than.

    Args:
        cells: One an artefact.
        values: What they stand for; None where nothing was measured.
        best: ``min`` or ``max``.
    """
    known = [value for value in values if value is not None]
    if len(set(known)) < 2:
        return list(cells)
    top = best(known)
    return [replace(cell, best=value == top) for cell, value in zip(cells, values, strict=True)]
