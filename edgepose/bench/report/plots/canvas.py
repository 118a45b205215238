"""From a matplotlib figure to an SVG that takes its colours and letters from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from edgepose.bench.report.palette import DARK, LIGHT, SERIES, Theme
from edgepose.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["GRID", "INK", "MUTED", "PAPER", "clean_axes", "colour", "render", "standalone"]

# Stand-ins that occur nowhere else: in the SVG they become the page's variables.
PAPER, INK, MUTED, GRID = "#fe0001", "#fe0002", "#fe0003", "#fe0004"
_SERIES = tuple(f"#fd00{index:02x}" for index in range(SERIES))
_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_INHERITED = f"font-family:{_FONT};stroke-linejoin:round;stroke-linecap:butt"
_POINT = 72.0
_CLEANING = (
    (r"<metadata>.*?</metadata>|<!--.*?-->|<defs>\s*<style.*?</style>\s*</defs>", ""),
    (r' (?:xmlns:xlink|xmlns|version)="[^"]*"', ""),
    (r"xlink:href", "href"),
    (r'(<svg[^>]*?) width="[\d.]+pt"', r"\1"),
    (r'(<svg[^>]*?) height="[\d.]+pt"', r"\1"),
    # The letters are the page's, and are inherited.
    (r"(font: [\d.]+px) [^;\"]*", r"\1"),
    (r"font: ([\d.]+px)", r"font-size: \1"),
    (r" font-family: [^;\"]*;?", ""),
    (r' transform="rotate\(-?0 [^"]*\)"', ""),
    (r"(\d+\.\d{2})\d+", r"\1"),
    (r"\s*\n\s*", " "),
    (r">\s+<", "><"),
    (r"(?:<g/>)+", ""),
)

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    # Otherwise the same record gives another file every time.
    "svg.hashsalt": "edgepose",
    # A name with two dollars in it is no formula.
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.linewidth": 0.8,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "axes.unicode_minus": True,
}


def colour(index: int) -> str:
    """Of an artefact."""
    return _SERIES[index % SERIES]


def render(draw: Callable[[Figure], None], width: int, height: int, name: str) -> str:
    """An ``<svg>`` element, to be put into a page that sets the variables of a theme.

    Args:
        draw: Draws into the figure.
        width: CSS pixels at natural size.
        height: Likewise.
        name: Prefix of its ids, unique in the page.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    require("matplotlib", "report")
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(width / _POINT, height / _POINT), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _own(buffer.getvalue(), name)


def standalone(svg: str, title: str) -> str:
    """The same as a file of its own, which follows the reader's light or dark setting.

    Args:
        svg: From :func:`render`.
        title: What it shows, for those who cannot see it.
    """
    style = (
        f"<title>{escape(title)}</title><style>{_variables(LIGHT)}"
        f"@media (prefers-color-scheme: dark){{{_variables(DARK)}}}</style>"
        '<rect width="100%" height="100%" style="fill:var(--paper)"/>'
    )
    head, mark, rest = svg.partition(">")
    space = ' xmlns="http://www.w3.org/2000/svg"' if "xmlns=" not in head else ""
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}{space}{mark}{style}{rest}\n'


def clean_axes(axes: Axes, grid: Literal["x", "y"] = "y") -> None:
    """No frame, and quiet lines across only."""
    for side in ("top", "right", "left" if grid == "y" else "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, pad=5)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _variables(theme: Theme) -> str:
    return f":root{{{';'.join(f'--{name}:{value}' for name, value in theme.variables().items())}}}"


def _own(text: str, name: str) -> str:
    """Without what only a file of its own needs, smaller, and with variables for colours."""
    svg = text[text.index("<svg") :].strip()
    for pattern, replacement in _CLEANING:
        svg = re.sub(pattern, replacement, svg, flags=re.DOTALL)
    for stand_in, variable in _colours():
        svg = svg.replace(stand_in, variable)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    return svg.replace("<svg", f'<svg style="{_INHERITED}"', 1)


def _colours() -> Iterator[tuple[str, str]]:
    names = dict(zip((PAPER, INK, MUTED, GRID), ("paper", "ink", "muted", "grid"), strict=True))
    names |= {stand_in: f"s{index}" for index, stand_in in enumerate(_SERIES)}
    fixed = LIGHT.variables()
    for stand_in, name in names.items():
        # The colour after the comma is for viewers that know no variables.
        yield stand_in, f"var(--{name},{fixed[name]})"
