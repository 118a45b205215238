"""Pose models in PyTorch, by name.

What is known of the models (:data:`REGISTRY`, :func:`parse_name`, :func:`spec_for`) can be asked
anywhere; building one or touching weights needs the torch extra and imports it then.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgepose.models.catalogue import REGISTRY, AuthorsCheckpoint, ModelEntry, Printed
from edgepose.models.registry import build, parse_name, spec_for, translator

if TYPE_CHECKING:
    from edgepose.models.weights import load_weights, save_weights, weights_digest

__all__ = [
    "REGISTRY",
    "AuthorsCheckpoint",
    "ModelEntry",
    "Printed",
    "build",
    "load_weights",
    "parse_name",
    "save_weights",
    "spec_for",
    "translator",
    "weights_digest",
]

_WEIGHTS = ("load_weights", "save_weights", "weights_digest")


def __getattr__(name: str) -> Any:
    if name in _WEIGHTS:
        return getattr(import_module("edgepose.models.weights"), name)
    raise AttributeError(f"module 'edgepose.models' has no attribute '{name}'")
