"""Every error edgepose raises on purpose, and the exit code each one ends the program with.

    EdgeposeError                1   base: says what, why, and what to type next
    ├── InputError               1   something handed in cannot be used
    │   ├── ImageError           1   unreadable, truncated or oddly typed image
    │   ├── BoxError             1   a box that is NaN, empty or of the wrong shape
    │   ├── DatasetError         1   annotations or folders that do not fit together
    │   └── SourceError          1   a camera, stream, video or folder that gives no frames
    ├── ArtefactError            1   a model file that cannot be used
    │   ├── SpecError            1   no spec, a broken spec, or a spec that contradicts the graph
    │   ├── WeightsError         1   weights of another model, corrupt or pickled weights
    │   ├── GraphError           1   a corrupt graph, or one the target cannot run
    │   │   └── LintError        1   a node that the target of the export does not read
    │   └── EngineError          1   an engine that is damaged, stale, or of another machine
    ├── OutputError              1   a result that cannot be written (read-only, disk full)
    ├── ParityError              3   an artefact that does not compute the same poses
    ├── MissingDependency        4   an optional package that is not installed
    └── DeviceError              4   a device or provider that was asked for and is not in force

Exit code 2 is usage (unknown option), given by the command line parser itself. A bug inside
edgepose is an AssertionError or any other exception, never an EdgeposeError.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = [
    "ArtefactError",
    "BoxError",
    "DatasetError",
    "DeviceError",
    "EdgeposeError",
    "EngineError",
    "GraphError",
    "ImageError",
    "InputError",
    "LintError",
    "MissingDependency",
    "OutputError",
    "ParityError",
    "SourceError",
    "SpecError",
    "WeightsError",
    "require",
]


class EdgeposeError(Exception):
    """Base of all deliberate errors.

    Args:
        what: What could not be done, in one clause.
        why: The reason, as far as it is known.
        hint: What to type or change next.
    """

    exit_code = 1

    def __init__(self, what: str, why: str | None = None, hint: str | None = None) -> None:
        self.what = what
        self.why = why
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        text = self.what
        if self.why:
            text += f": {self.why}"
        if self.hint:
            text += f"\n  next: {self.hint}"
        return text


class InputError(EdgeposeError):
    """Something handed in cannot be used."""


class ImageError(InputError):
    """An image is unreadable, truncated or of a type that cannot be understood."""


class BoxError(InputError):
    """A box is NaN, empty, or the array of boxes has the wrong shape."""


class DatasetError(InputError):
    """Annotations, images or folders of a data set do not fit together."""


class SourceError(InputError):
    """A camera, stream, video or folder gives no frames."""


class ArtefactError(EdgeposeError):
    """A model file cannot be used."""


class SpecError(ArtefactError):
    """A spec is missing, broken, or contradicts the graph it travels in."""


class WeightsError(ArtefactError):
    """Weights are corrupt, pickled, or belong to another model."""


class GraphError(ArtefactError):
    """A graph is corrupt, or holds what its target cannot run."""


class LintError(GraphError):
    """A graph holds what the target of the export does not read.

    Args:
        what: As for the base.
        why: As for the base.
        hint: As for the base.
        lint: What was found.
    """

    def __init__(
        self, what: str, why: str | None = None, hint: str | None = None, *, lint: Any
    ) -> None:
        self.lint = lint
        super().__init__(what, why, hint)


class EngineError(ArtefactError):
    """An engine is damaged, stale, or was built for another machine."""


class OutputError(EdgeposeError):
    """A result cannot be written."""


class ParityError(EdgeposeError):
    """An artefact does not compute the poses of the model it was made from.

    Args:
        what: As for the base.
        why: As for the base.
        hint: As for the base.
        parity: The comparison that failed, where there was one.
    """

    exit_code = 3

    def __init__(
        self, what: str, why: str | None = None, hint: str | None = None, *, parity: Any = None
    ) -> None:
        self.parity = parity
        super().__init__(what, why, hint)


class MissingDependency(EdgeposeError):
    """An optional package is not installed."""

    exit_code = 4


class DeviceError(EdgeposeError):
    """A device or execution provider was asked for and is not in force."""

    exit_code = 4


def require(module: str, extra: str | None) -> Any:
    """Import an optional module, or say what brings it.

    Args:
        module: Dotted name to import.
        extra: Name of the extra in pyproject.toml that installs it; None where the plain install
            should have.

    Returns:
        The imported module.

    Raises:
        MissingDependency: With the exact pip command, when the module (or one it needs) is absent.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or module).partition(".")[0]
        origin = f"it comes with the '{extra}' extra" if extra else "it belongs to every install"
        raise MissingDependency(
            f"this needs the package '{missing}'",
            f"{origin}, and cannot be imported ({error})",
            f'pip install "edgepose[{extra}]"' if extra else f"pip install {missing}",
        ) from error
