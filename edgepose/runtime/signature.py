"""Inputs and outputs of an artefact, held against its spec: the same rules for every runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepose.errors import SpecError
from edgepose.spec import PoseSpec

__all__ = ["Port", "Signature", "match_outputs"]

# A size that the artefact leaves open is None.
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes:
        name: In the artefact.
        shape: None where any size will do.
        dtype: numpy's name of the element type.
    """

    name: str
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Signature:
    """What an artefact takes and gives."""

    inputs: Sequence[Port]
    outputs: Sequence[Port]

    def check_input(
        self, spec: PoseSpec, path: Path, also: Mapping[str, Sequence[str]] | None = None
    ) -> Port:
        """The one input, if it is what the spec says.

        Args:
            spec: The spec.
            path: Of the artefact, for messages.
            also: Element types of an artefact that the runner converts the spec's one to.

        Raises:
            SpecError: It is not.
        """
        if len(self.inputs) != 1:
            raise SpecError(f"{path} has {len(self.inputs)} inputs", "a pose graph takes one")
        port = self.inputs[0]
        height, width = spec.input_size
        tail = (3, height, width) if spec.layout == "nchw" else (height, width, 3)
        if not _fits(port.shape, (None, *tail)):
            raise _contradiction(
                path,
                f"the graph takes {_words(port.shape)}, the spec says "
                f"[batch, {', '.join(map(str, tail))}]",
            )
        if port.dtype not in (spec.dtype, *(also or {}).get(spec.dtype, ())):
            raise _contradiction(path, f"the graph takes {port.dtype}, the spec says {spec.dtype}")
        return port


def match_outputs(
    signature: Signature, spec: PoseSpec, path: Path, *, foreign: bool
) -> dict[str, str]:
    """Output of the artefact -> the name that the spec knows it by.

    Args:
        signature: Of the artefact.
        spec: Its spec.
        path: Of the artefact, for messages.
        foreign: Whether outputs may have other names, and are then told by their shapes.

    Raises:
        SpecError: An output that the spec expects is missing or has another shape.
    """
    shapes = {port.name: port.shape for port in signature.outputs}
    names = {name: name for name in shapes}
    wanted = _expected_outputs(spec)
    if foreign:
        for name in [n for n in wanted if n not in shapes]:
            fitting = [
                o for o in shapes if names[o] not in wanted and _fits(shapes[o], wanted[name])
            ]
            if fitting:
                names[fitting[0]] = name
    known = {names[name]: shape for name, shape in shapes.items()}
    for name, expected in wanted.items():
        if name not in known:
            raise _contradiction(
                path,
                f"a {spec.output} model has an output '{name}', this graph has {list(known)}",
            )
        if not _fits(known[name], expected):
            raise _contradiction(
                path,
                f"output '{name}' is {_words(known[name])}, the spec says "
                f"{['any' if v is None else v for v in expected]}",
            )
    return names


def _fits(actual: Shape, expected: Shape) -> bool:
    """Whether a shape can be the expected one."""
    return len(actual) == len(expected) and all(
        a is None or b is None or a == b for a, b in zip(actual, expected, strict=True)
    )


def _expected_outputs(spec: PoseSpec) -> dict[str, Shape]:
    """Output name -> shape."""
    k = len(spec.keypoints)
    if spec.output == "heatmap":
        return {"heatmaps": (None, k, None, None)}
    if spec.output == "keypoints":
        return {"keypoints": (None, k, 2), "scores": (None, k)}
    height, width = (int(np.rint(v * spec.decoder.split_ratio)) for v in spec.input_size)
    return {"simcc_x": (None, k, width), "simcc_y": (None, k, height)}


def _contradiction(path: Path, why: str) -> SpecError:
    return SpecError(f"the spec contradicts the graph of {path}", why)


def _words(shape: Shape) -> str:
    return f"[{', '.join('any' if n is None else str(n) for n in shape)}]"
