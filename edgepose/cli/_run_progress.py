"""What a run shows on stderr while it goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from edgepose.stream.sources import Source
from edgepose.stream.statistics import RunStatistics

__all__ = ["progress_of"]


class OnFrame(Protocol):
    """Told of every frame."""

    def __call__(self, statistics: RunStatistics, age: float | None) -> None:
        """Show it."""
        ...


@contextlib.contextmanager
def progress_of(source: Source, total: int | None, console: Console) -> Iterator[OnFrame]:
    """A bar with fps for files; a spinner with fps, drops and frame age for live sources.

    Nothing is shown where stderr is no terminal.
    """
    # Names may hold square brackets, which must not be taken for markup.
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
    if source.live or total is None:
        columns.insert(0, SpinnerColumn())
        columns.append(TextColumn("{task.completed} frames"))
    else:
        columns += [BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    columns.append(TextColumn("{task.fields[rate]}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(source.name, total=total, rate="")

        def on_frame(statistics: RunStatistics, age: float | None) -> None:
            rate = f"{statistics.fps:.1f} fps"
            if age is not None:
                rate += f"  {statistics.dropped} dropped  {age * 1000:.0f} ms old"
            done = statistics.frames + len(source.skipped)
            # A file may hold more frames than it says.
            bar = None if total is not None and done > total else total
            progress.update(task, completed=done, total=bar, rate=rate)

        yield on_frame
