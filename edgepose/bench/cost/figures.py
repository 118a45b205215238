"""What an artefact costs: totals, layers, and what could not be counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Cost", "Layer", "Uncounted"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A node, or a PyTorch module, that multiplies or holds parameters.

    Attributes:
        name: Its name, without the module's.
        op: Operator, or class of the module.
        shape: Of its first output; None where unknown.
        macs: Multiply-adds for one person.
        params: Parameters that it is the first to read.
        path: Dotted path of the PyTorch module it belongs to, empty for the model itself; None
            where nobody knows.
        kind: That module's class, where known.
    """

    name: str
    op: str
    shape: tuple[int, ...] | None
    macs: float
    params: int
    path: str | None = None
    kind: str | None = None

    @property
    def module(self) -> str | None:
        """Path and class for people: ``decoder.0.unpool (MaxUnpool2d)``."""
        if self.path is None:
            return None
        name = self.path or "the model itself"
        return f"{name} ({self.kind})" if self.kind else name

    def to_dict(self) -> dict[str, Any]:
        """As records hold it."""
        return {
            "name": self.name,
            "op": self.op,
            "shape": None if self.shape is None else list(self.shape),
            "macs": int(self.macs) if float(self.macs).is_integer() else self.macs,
            "params": self.params,
            "module": self.module,
        }


@dataclass(frozen=True, kw_only=True)
class Uncounted:
    """A node whose multiply-adds are unknown, so that the total is too low.

    Attributes:
        name: Of the node.
        op: Operator.
        module: PyTorch module, where known.
        why: Why nothing is counted for it.
    """

    name: str
    op: str
    module: str | None
    why: str

    def __str__(self) -> str:
        place = f" of {self.module}" if self.module else ""
        return f"{self.op} '{self.name}'{place}: {self.why}"

    def to_dict(self) -> dict[str, Any]:
        """As records hold it."""
        return {"name": self.name, "op": self.op, "module": self.module, "why": self.why}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one person costs; the layers add up to the totals.

    Attributes:
        counted_on: The ONNX graph, or the PyTorch model.
        layers: In the order of computing.
        activation_peak_bytes: None where sizes or types of tensors are unknown.
        peak_means: What that figure is, or why there is none.
        uncounted: Nodes that nothing is counted for; empty means that the total is whole.
        notes: What else a reader has to know, in sentences.
        batch: Persons that shapes and peak are for: 1, or the one batch that the graph takes.
        model: ``model@HxW`` of the spec, where there is one.
        keypoints: How many it predicts, where there is a spec.
        rewrites: Names of the exact rewrites that the export says it applied; None if it is mute.
        kinds: Class of every PyTorch module by path; of PyTorch models only.
    """

    counted_on: Literal["onnx", "torch"]
    layers: tuple[Layer, ...]
    activation_peak_bytes: int | None
    peak_means: str
    uncounted: tuple[Uncounted, ...] = ()
    notes: tuple[str, ...] = ()
    batch: int = 1
    model: str | None = None
    keypoints: int | None = None
    rewrites: tuple[str, ...] | None = None
    kinds: dict[str, str] = field(default_factory=dict)

    @property
    def gmacs(self) -> float:
        """10^9 multiply-adds for one person."""
        return sum(layer.macs for layer in self.layers) / 1e9

    @property
    def params(self) -> int:
        """All parameters."""
        return sum(layer.params for layer in self.layers)
