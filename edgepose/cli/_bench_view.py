"""What the bench verb shows while it works and when it is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgepose.files import write_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, TaskID

    from edgepose.bench.record import ArtefactRecord

__all__ = ["BenchTalk", "bench_talk", "print_all", "warn", "write_reports"]


class BenchTalk:
    """Progress on stderr, one bar a step; where stderr is no terminal, a line a step.

    Args:
        progress: The bars.
        console: Of stderr.
    """

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._task: TaskID | None = None

    def step(self, title: str) -> Callable[[int, int], None]:
        """See :class:`edgepose.bench.session.Talk`."""
        if not self._console.is_terminal:
            sys.stderr.write(f"{title}\n")
            return lambda done, total: None
        if self._task is not None:
            self._progress.remove_task(self._task)
        task = self._task = self._progress.add_task(title, total=None)
        return lambda done, total: self._progress.update(task, completed=done, total=total)

    def warn(self, words: str) -> None:
        """See :class:`edgepose.bench.session.Talk`."""
        if self._console.is_terminal:
            self._progress.console.print(f"warning: {words}", style="yellow", highlight=False)
        else:
            warn(words)


@contextmanager
def bench_talk() -> Iterator[BenchTalk]:
    """Bars while the block runs."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        "{task.description}",
        BarColumn(None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, expand=True, transient=True, disable=not console.is_terminal
    ) as bar:
        yield BenchTalk(bar, console)


def warn(words: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"warning: {words}\n")


def write_reports(records: Sequence[ArtefactRecord], folder: Path, html: bool) -> None:
    """``report.md`` and, where asked for, ``report.html`` into the folder.

    Raises:
        OutputError: They cannot be written.
        MissingDependency: The page needs packages that are not installed.
    """
    from edgepose.bench.report import html as page
    from edgepose.bench.report import markdown

    write_text(folder / "report.md", markdown(records))
    sys.stderr.write(f"wrote {folder / 'report.md'}\n")
    if html:
        write_text(folder / "report.html", page(records, folder))
        sys.stderr.write(f"wrote {folder / 'report.html'}\n")


def print_all(parts: Iterable[RenderableType]) -> None:
    """Tables and sentences on stdout."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 100)
    for part in parts:
        console.print(part)
