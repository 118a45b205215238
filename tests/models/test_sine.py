from __future__ import annotations

import math

import pytest
import torch

from edgepose.models.sine import sine_table


def value(c: int, row: int, column: int, d: int, height: int, width: int) -> float:
    """One value of the table by the written rule, with nothing but floats."""
    half = d // 2
    if c < half:
        place, last, index = row + 1, height, c
    else:
        place, last, index = column + 1, width, c - half
    angle = place / (last + 1e-6) * 2 * math.pi
    phase = angle / 10000 ** (2 * math.floor(index / 2) / half)
    return math.sin(phase) if index % 2 == 0 else math.cos(phase)


@pytest.mark.parametrize(("d", "height", "width"), [(8, 3, 5), (64, 16, 12), (6, 4, 1)])
def test_every_value_is_the_rule_s(d: int, height: int, width: int) -> None:
    table = sine_table(d, height, width)
    assert table.shape == (1, d, height, width)
    assert table.dtype == torch.float32
    expected = torch.tensor(
        [
            [[value(c, i, j, d, height, width) for j in range(width)] for i in range(height)]
            for c in range(d)
        ]
    )
    torch.testing.assert_close(table[0], expected, rtol=0, atol=2e-7)


def test_tokens_run_row_by_row() -> None:
    """The third token of a grid three wide is the end of the first row, the fourth the next."""
    tokens = sine_table(8, 2, 3).flatten(2).transpose(1, 2)[0]
    by_row, by_column = tokens[:, :4], tokens[:, 4:]
    assert torch.equal(by_row[0], by_row[2])
    assert torch.equal(by_column[0], by_column[3])
    assert not torch.allclose(by_row[2], by_row[3])


def test_no_two_cells_are_alike() -> None:
    tokens = sine_table(64, 64, 48).flatten(2).transpose(1, 2)[0]
    assert len(torch.unique(tokens, dim=0)) == 64 * 48


def test_an_odd_number_of_channels_is_refused() -> None:
    with pytest.raises(AssertionError, match="even number of channels, not 7"):
        sine_table(7, 2, 2)
