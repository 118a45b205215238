"""All models: what is known of each without building it. Reads without torch."""

from edgepose.models.catalogue import mgil, mitpose, simcc
from edgepose.models.catalogue.entry import AuthorsCheckpoint, ModelEntry, Printed

__all__ = ["REGISTRY", "AuthorsCheckpoint", "ModelEntry", "Printed"]

# The papers' models first, then those they are compared with.
REGISTRY: dict[str, ModelEntry] = {
    **mitpose.MODELS,
    **mgil.MODELS,
    **simcc.MODELS,
}
