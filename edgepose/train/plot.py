"""A picture of a training: loss and validation over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgepose.errors import require
from edgepose.files import atomic_path

__all__ = ["plot_curve"]


def plot_curve(entries: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draw loss (left axis) and AP (right axis) over minutes of training.

    Args:
        entries: Log entries: ``minutes`` with ``loss``, or with ``val_loss`` and ``ap``.
        path: PNG to write.
        title: Headline.

    Raises:
        MissingDependency: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    require("matplotlib", "train")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.subplots()
    for key, label, colour in (
        ("loss", "training loss", "tab:blue"),
        ("val_loss", "validation loss", "tab:cyan"),
    ):
        points = [(e["minutes"], e[key]) for e in entries if key in e]
        if points:
            left.plot(*zip(*points, strict=True), label=label, color=colour, linewidth=1.2)
    left.set_xlabel("minutes of training")
    left.set_ylabel("loss")
    left.set_title(title)
    left.grid(alpha=0.3)
    right = left.twinx()
    points = [(e["minutes"], e["ap"]) for e in entries if e.get("ap") is not None]
    if points:
        right.plot(*zip(*points, strict=True), label="validation AP", color="tab:orange")
    right.set_ylabel("AP of the validation fold (averaged weights)")
    right.set_ylim(bottom=0)
    lines = [*left.get_lines(), *right.get_lines()]
    if lines:
        left.legend(handles=lines, loc="center right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
