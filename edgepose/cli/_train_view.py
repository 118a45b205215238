"""What a training shows on stderr: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from edgepose.train.loop import Listener

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["TrainView"]


class TrainView(Listener):
    """Progress of packing and training.

    Args:
        quiet: Show nothing (all processes but the first).

    Attributes:
        training: Whether the steps have begun, so that there is something to stop and save.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._packs: dict[str, TaskID] = {}
        self._training: TaskID | None = None
        self._speed = 0.0
        self._note = ""
        self._stop = False
        self.training = False

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def stop(self) -> None:
        """The user wants the run to end after this step."""
        self._stop = True
        self._console.print("stopping after this step; writing a checkpoint")

    def started(self) -> None:
        self.training = True

    def stopping(self) -> bool:
        return self._stop

    def packing(self, name: str, done: int, count: int) -> None:
        """Persons of a set packed so far."""
        if name not in self._packs:
            self._packs[name] = self._bar.add_task(f"packing {name}", total=count, note="")
        self._bar.update(self._packs[name], completed=done)
        if done == count and self._bar.disable:
            self._console.print(f"packed {name}: {count} persons")

    def stepped(self, done: float, persons: int, seconds: float) -> None:
        if self._training is None:
            self._training = self._bar.add_task("training", total=1.0, note="")
        present = persons / max(seconds, 1e-9)
        # Averaged over some 20 steps, so that the number can be read.
        self._speed = present if self._speed == 0 else 0.95 * self._speed + 0.05 * present
        note = f"{self._speed:.0f} persons/s {self._note}"
        self._bar.update(self._training, completed=min(done, 1.0), note=note)

    def logged(self, entry: dict[str, Any]) -> None:
        if "loss" in entry:
            self._note = f"loss {entry['loss']:.3f}"
        if "ap" in entry or self._bar.disable:
            self._console.print(
                "  ".join(f"{name} {value}" for name, value in entry.items()), soft_wrap=True
            )
