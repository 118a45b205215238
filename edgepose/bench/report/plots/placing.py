"""Where labels go so that they cover neither each other nor what they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Rectangle", "place_beside", "spread"]


@dataclass(frozen=True)
class Rectangle:
    """Lower left and upper right corner, in any unit."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Rectangle) -> float:
        """Area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    def outside(self, frame: Rectangle) -> float:
        """Area that is not in the frame."""
        return (self.right - self.left) * (self.top - self.bottom) - self.overlap(frame)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, in their order, at least ``gap`` apart, within low and high.

    Where there is not room for all, the gap shrinks to what there is.
    """
    count = len(wanted)
    if count < 2:
        return [min(max(value, low), high) for value in wanted]
    gap = min(gap, (high - low) / (count - 1))
    order = sorted(range(count), key=lambda index: wanted[index])
    # Pools of labels that touch each take the mean of what they want (isotonic regression).
    pools: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        pools.append((wanted[index] - rank * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (first, many), (second, more) = pools[-2], pools[-1]
            pools[-2:] = [((first * many + second * more) / (many + more), many + more)]
    flat = [value for value, size in pools for _ in range(size)]
    top = high - (count - 1) * gap
    placed = [0.0] * count
    for rank, index in enumerate(order):
        placed[index] = min(max(flat[rank], low), top) + rank * gap
    return placed


def place_beside(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    frame: Rectangle,
    taken: Sequence[Rectangle],
    distance: float,
) -> list[Rectangle]:
    """A place near each point for a label of that size, one after the other, the best that is left.

    Args:
        points: What the labels name.
        sizes: Width and height of each label.
        frame: What they should stay in.
        taken: What they should not cover.
        distance: Between a point and its label.
    """
    covered = list(taken)
    placed = []
    for (x, y), (width, height) in zip(points, sizes, strict=True):
        choices = list(_around(x, y, width, height, distance))
        best = min(
            range(len(choices)),
            key=lambda index: (
                sum(choices[index].overlap(other) for other in covered)
                + 3 * choices[index].outside(frame),
                index,
            ),
        )
        placed.append(choices[best])
        covered.append(choices[best])
    return placed


def _around(x: float, y: float, width: float, height: float, distance: float) -> list[Rectangle]:
    """Beside, above, below, then farther and farther away; nearer ones first."""
    found = []
    for step in (1.0, 2.2, 3.4, 4.6):
        far = distance * step
        for left, bottom in (
            (x + far, y - height / 2),
            (x - far - width, y - height / 2),
            (x - width / 2, y + far),
            (x - width / 2, y - far - height),
            (x + far * 0.7, y + far * 0.7),
            (x + far * 0.7, y - far * 0.7 - height),
            (x - far * 0.7 - width, y + far * 0.7),
            (x - far * 0.7 - width, y - far * 0.7 - height),
        ):
            found.append(Rectangle(left, bottom, left + width, bottom + height))
    return found
