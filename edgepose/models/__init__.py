"""Pose models in PyTorch, by name. Needs the torch extra; the device side never imports this."""

from edgepose.models.registry import REGISTRY, ModelEntry, build, parse_name, spec_for
from edgepose.models.weights import load_weights, save_weights, weights_digest

__all__ = [
    "REGISTRY",
    "ModelEntry",
    "build",
    "load_weights",
    "parse_name",
    "save_weights",
    "spec_for",
    "weights_digest",
]
