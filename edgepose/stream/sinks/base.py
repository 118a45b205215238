"""What every sink offers, and what it is given."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgepose.closing import Closing
from edgepose.draw import DrawStyle, draw_poses
from edgepose.errors import OutputError
from edgepose.poses import Frame, Poses, UInt8
from edgepose.spec import KeypointSet

__all__ = ["Result", "Sink", "check_writable"]


@dataclass(frozen=True)
class Result:
    """A frame and the people in it.

    Attributes:
        frame: The frame.
        poses: Its people.
        keypoints: What the joints are called and how they hang together.
        style: How to draw them.
    """

    frame: Frame
    poses: Poses
    keypoints: KeypointSet
    style: DrawStyle

    @cached_property
    def drawing(self) -> UInt8:
        """The frame with its skeletons; drawn when first asked for, once for all sinks."""
        return draw_poses(self.frame.image, self.poses, self.keypoints, self.style)


class Sink(Closing, ABC):
    """Takes results one by one.

    A context manager: leaving it keeps what was written, whatever ended the run.

    Attributes:
        target: The file or folder it writes, to be printed; None if there is none.
    """

    target: str | None

    @abstractmethod
    def write(self, result: Result) -> bool:
        """Take a result. Returns False to ask for the end of the run.

        Raises:
            OutputError: It cannot be written.
        """


def check_writable(folder: Path) -> None:
    """Make ``folder`` if need be and try to write there, before any work is done.

    Raises:
        OutputError: It cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"?")
            probe.flush()
    except OSError as error:
        raise OutputError(
            f"cannot write in {folder}",
            error.strerror or str(error),
            "choose another place, or free space and permissions there",
        ) from error
