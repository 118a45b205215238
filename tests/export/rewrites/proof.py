"""The proof that every rewrite owes: same outputs in FP64, in FP32, and as an ONNX graph."""

from __future__ import annotations

from collections import Counter

import onnxruntime
import torch
from torch import Tensor, nn

from edgepose.export.rewrites import Rewrite, rewritten
from edgepose.export.trace import trace


class Named(nn.Module):
    """A block behind the models' contract, so that it can be traced."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"out": self.block(images)}


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def prove(block: nn.Module, x: Tensor, rewrite: Rewrite, places: int) -> nn.Module:
    """Check the rewrite of ``block`` on ``x``; returns the rewritten block, inside a parent.

    The parent is there because a rewrite replaces children, never the root.
    """
    block = nn.Sequential(block)
    before = {name: value.clone() for name, value in block.state_dict().items()}
    with torch.no_grad():
        expected = block(x)
        changed, applied = rewritten(block, [rewrite])
        assert [(a.name, a.places) for a in applied] == [(rewrite.name, places)]
        assert relative(changed(x), expected) < 2e-6

        exact, _ = rewritten(block.double(), [rewrite])
        assert relative(exact(x.double()), block(x.double())) < 1e-12
        block.float()

    after = block.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    return changed


def operators(block: nn.Module, x: Tensor) -> Counter[str]:
    """Operators of the block's graph, which is checked to compute what the block does."""
    model = trace(Named(block).eval(), torch.zeros(x.shape[1:]))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"images": x.numpy()})
    with torch.no_grad():
        assert relative(torch.from_numpy(found), block(x)) < 3e-6
    return Counter(node.op_type for node in model.graph.node)
