"""Exact rewrites: what changes between a trained module and its artefact, each with its proof.

Every rewrite takes modules to modules that compute the same (the tests hold each to 1e-12 of the
largest output in FP64, so that only rounding differs in FP32) in less time. They run on a copy: the
model itself stays as it was trained.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from edgepose.export.rewrites._base import Rewrite
from edgepose.export.rewrites.attention import ATTENTION
from edgepose.export.rewrites.batchnorm import BATCHNORM
from edgepose.export.rewrites.conv_norm import CONV_NORM
from edgepose.export.rewrites.gelu import GELU
from edgepose.export.rewrites.grn import GRN_SCALE
from edgepose.export.rewrites.layerscale import LAYERSCALE
from edgepose.export.rewrites.local import LOCAL
from edgepose.export.rewrites.max_unpool import MAX_UNPOOL
from edgepose.export.rewrites.scconv import SCCONV
from edgepose.export.rewrites.sine import SINE
from edgepose.export.rewrites.tokens import TOKENS
from edgepose.export.rewrites.twin import TWIN

__all__ = ["REWRITES", "Applied", "Rewrite", "rewritten"]

# In this order: those that look for blocks as the model builds them, those that replace blocks, and
# last the one that folds norms into whatever convolutions are there by then.
REWRITES: tuple[Rewrite, ...] = (
    BATCHNORM,
    GRN_SCALE,
    LOCAL,
    LAYERSCALE,
    TOKENS,
    SINE,
    ATTENTION,
    TWIN,
    SCCONV,
    MAX_UNPOOL,
    GELU,
    CONV_NORM,
)


@dataclass(frozen=True)
class Applied:
    """A rewrite that found something to do.

    Attributes:
        name: Its name.
        effect: What it does.
        places: In how many places.
    """

    name: str
    effect: str
    places: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def rewritten(
    module: nn.Module, rewrites: Sequence[Rewrite] = REWRITES
) -> tuple[nn.Module, tuple[Applied, ...]]:
    """A rewritten copy of a module, in evaluation mode, and what was done to it.

    Args:
        module: Stays as it is.
        rewrites: Those to try, in this order.
    """
    changed = copy.deepcopy(module).eval()
    counts = [(rewrite, rewrite.apply(changed)) for rewrite in rewrites]
    return changed, tuple(Applied(r.name, r.effect, n) for r, n in counts if n)
