"""A model with its weights: the zoo's, a file's, its authors' or none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from edgepose.errors import InputError, WeightsError
from edgepose.models import (
    REGISTRY,
    AuthorsCheckpoint,
    build,
    load_weights,
    parse_name,
    spec_for,
    translator,
    weights_digest,
)
from edgepose.models.registry import named
from edgepose.models.weights import read_weights
from edgepose.spec import Measurement, PoseSpec
from edgepose.zoo import ZooEntry, entries

__all__ = ["trained"]


def trained(
    name: str, weights: Path | None = None, random_weights: bool = False
) -> tuple[nn.Module, PoseSpec]:
    """A registry model with its weights, and its spec with their provenance.

    Args:
        name: ``model`` or ``model@HxW``.
        weights: A file of ours or of the architecture's authors; the zoo's by default.
        random_weights: Take fresh random weights (always the same) instead.

    Returns:
        The module in evaluation mode, and the spec that its outputs are read by: the authors' own
        where the weights are theirs.

    Raises:
        InputError: Unknown model, or weights from two places.
        WeightsError: No weights, or they are of another model.
    """
    if random_weights:
        if weights is not None:
            raise InputError("weights from a file or random ones, not both")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build(name).eval(), spec_for(name)
    entry = _zoo_entry(name) if weights is None else None
    if entry is not None:
        weights, size = entry.weights, entry.input_size
    elif weights is not None:
        size = _size_of(name, weights)
    else:
        raise WeightsError(
            f"the zoo has no trained weights of '{name}'",
            f"it has {', '.join(e.name for e in entries()) or 'none'}",
            f"edgepose export {name} --weights FILE.safetensors; or, to measure speed only, "
            "--random-weights",
        )
    base, _ = parse_name(name)
    authors = REGISTRY[base].authors
    options = {} if authors is None else _options(authors, weights, size)
    module = build(base, size, **options)
    written = load_weights(module, weights, translator(base))
    if written.get("model", base) != base:
        raise WeightsError(
            f"the weights in {weights} are of another model",
            f"the file says it is {written['model']}",
            f"edgepose export {written['model']} --weights {weights}",
        )
    figures = {} if entry is None else entry.figures
    spec = spec_for(base, size)
    if authors is not None and written.get("origin") == "authors":
        split = options.get("split_ratio", authors.decoder.split_ratio)
        decoder = replace(authors.decoder, split_ratio=split)
        spec = replace(spec, decoder=decoder, colour=authors.colour)
    spec = spec.with_provenance(
        weights_sha256=weights_digest(module),
        trained_on=written.get("trained_on", ""),
        # Neither can take back what the other has said.
        holdout_only=bool(figures.get("holdout_only")) or written.get("holdout_only") == "true",
        measured=tuple(Measurement(**row) for row in figures.get("measured", ())),
    )
    return module.eval(), spec


def _options(authors: AuthorsCheckpoint, weights: Path, size: tuple[int, int]) -> dict[str, Any]:
    """With which of the builder's options a checkpoint of the authors was made."""
    if authors.options is None:
        return {}
    tensors, written = read_weights(weights)
    if "model" in written:
        return {}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    options: dict[str, Any] = named(authors.options)(shapes, size)
    return options


def _zoo_entry(name: str) -> ZooEntry | None:
    """The zoo's setting of exactly that name, or the model's default setting."""
    return next((e for e in entries() if name == e.name or (name == e.model and e.default)), None)


def _size_of(name: str, weights: Path) -> tuple[int, int]:
    """The input size in the name, else the one that the weights were made for, else native."""
    base, size = parse_name(name)
    if "@" in name:
        return size
    made_for = _recorded_size(weights)
    return size if made_for is None else parse_name(f"{base}@{made_for}")[1]


def _recorded_size(weights: Path) -> str | None:
    """``HxW`` from the file's metadata; None too where loading it will say what is wrong."""
    if weights.suffix != ".safetensors":
        return None
    try:
        with safe_open(weights, framework="pt") as file:
            size: str | None = (file.metadata() or {}).get("input_size")
            return size
    except (SafetensorError, OSError):
        return None
