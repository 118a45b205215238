"""One colour and one mark for each artefact, the same in every plot and table.

Hues begin with those of Okabe and Ito's set, which people with colour-blindness tell apart. From
there they were moved until each has a contrast of 3 to 1 with the page, and no two of them look
alike with protanopia, deuteranopia or tritanopia as Machado et al. (2009) simulate them; a test
holds them to it. Marks say the same again without colour.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DARK", "LIGHT", "MARKS", "SERIES", "Theme", "series_variable"]

SERIES = 8
# Names of matplotlib's marks, and the same as characters for tables.
MARKS = (
    ("o", "●"),
    ("s", "■"),
    ("^", "▲"),
    ("D", "◆"),
    ("v", "▼"),
    ("*", "★"),
    ("P", "✚"),
    ("X", "✖"),
)


@dataclass(frozen=True)
class Theme:
    """Colours of the page.

    Attributes:
        paper: Behind everything.
        ink: Words and figures.
        muted: Captions, axes.
        grid: Lines that only guide the eye.
        series: One an artefact; after the last it begins again.
    """

    paper: str
    ink: str
    muted: str
    grid: str
    series: tuple[str, ...]

    def variables(self) -> dict[str, str]:
        """Name of the CSS variable -> colour."""
        named = {"paper": self.paper, "ink": self.ink, "muted": self.muted, "grid": self.grid}
        return named | {series_variable(i): colour for i, colour in enumerate(self.series)}


def series_variable(index: int) -> str:
    """Name of the CSS variable of an artefact."""
    return f"s{index % SERIES}"


LIGHT = Theme(
    paper="#fdfdfc",
    ink="#1b1f24",
    muted="#5d6670",
    grid="#dfe2e5",
    series=(
        "#1b65af",
        "#cc5200",
        "#068f6b",
        "#a94387",
        "#a58849",
        "#4a5767",
        "#6758cb",
        "#7b4e2d",
    ),
)
DARK = Theme(
    paper="#14171a",
    ink="#e8eaed",
    muted="#a0a8b1",
    grid="#31373d",
    series=(
        "#8abbf7",
        "#ff914d",
        "#3dcaa3",
        "#d27dba",
        "#fac942",
        "#b0b6c3",
        "#a89fff",
        "#d3a07c",
    ),
)
