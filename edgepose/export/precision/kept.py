"""Nodes that a conversion leaves as they were, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import onnx

from edgepose.export.lint.origin import origin_of

__all__ = ["Kept"]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A node that stays in its precision.

    Attributes:
        node: Its name.
        op: Its operator.
        module: The PyTorch module it comes from; empty where its name does not tell.
        why: The reason.
    """

    node: str
    op: str
    module: str
    why: str

    @classmethod
    def of(cls, node: onnx.NodeProto, why: str) -> Kept:
        """The entry for a node."""
        origin = origin_of(node.name)
        module = "" if origin is None else origin.path or origin.kind
        return cls(node=node.name, op=node.op_type, module=module, why=why)

    def to_dict(self) -> dict[str, str]:
        """JSON-ready."""
        return asdict(self)
