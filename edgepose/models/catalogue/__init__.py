"""All models: what is known of each without building it. Reads without torch."""

from edgepose.models.catalogue import (
    hrnet,
    mfvpose,
    mgil,
    mitpose,
    mitpose_b,
    refinepose,
    simcc,
    simplebaseline,
    tokenpose,
    transpose,
    vitpose,
    vttranspose,
)
from edgepose.models.catalogue.entry import AuthorsCheckpoint, ModelEntry, Printed

__all__ = ["REGISTRY", "AuthorsCheckpoint", "ModelEntry", "Printed"]

# The papers' models first, then those they are compared with.
REGISTRY: dict[str, ModelEntry] = {
    **mitpose.MODELS,
    **mitpose_b.MODELS,
    **mfvpose.MODELS,
    **mgil.MODELS,
    **vttranspose.MODELS,
    **refinepose.MODELS,
    **hrnet.MODELS,
    **simplebaseline.MODELS,
    **transpose.MODELS,
    **tokenpose.MODELS,
    **simcc.MODELS,
    **vitpose.MODELS,
}
