from __future__ import annotations

import pytest

from edgepose.bench.report.table import Cell, Column, Table, mark_best
from edgepose.bench.report.words import NONE


def test_rows_fit_the_columns() -> None:
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        Table("t", (Column("a"),), ((Cell("1"), Cell("2")),))


def test_columns_without_figures_are_left_out() -> None:
    table = Table(
        "t",
        (Column("a"), Column("b", "ms"), Column("c")),
        ((Cell("1"), Cell(NONE), Cell("")), (Cell(NONE), Cell(NONE), Cell("3"))),
    ).without_empty()
    assert [column.title for column in table.columns] == ["a", "c"]
    assert [[cell.text for cell in row] for row in table.rows] == [["1", ""], [NONE, "3"]]


@pytest.mark.parametrize(
    ("values", "best", "marked"),
    [
        ([3.0, 1.0, None], min, [False, True, False]),
        ([3.0, 1.0, 3.0], max, [True, False, True]),
        ([2.0, 2.0], min, [False, False]),  # nothing to be better than
        ([5.0, None], max, [False, False]),
    ],
)
def test_the_best_is_marked(values: list[float | None], best: object, marked: list[bool]) -> None:
    cells = [Cell(str(value)) for value in values]
    assert [cell.best for cell in mark_best(cells, values, best)] == marked  # type: ignore[arg-type]
