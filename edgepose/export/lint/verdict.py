"""What a runtime itself says of a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Complaint", "Verdict"]


@dataclass(frozen=True)
class Complaint:
    """Something a runtime does not read, in its own words.

    Attributes:
        node: Name of the node; empty where it names none.
        op: Its operator; likewise.
        text: What the runtime says.
    """

    node: str
    op: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """A runtime's own judgement.

    Attributes:
        name: The runtime and its version.
        supported: Whether it reads all of the graph.
        complaints: Why not.
    """

    name: str
    supported: bool
    complaints: tuple[Complaint, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the complaints are among the findings of the lint."""
        return {"name": self.name, "supported": self.supported}
