"""Models by name: building one, and the spec that says how it is fed and read."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

from edgepose.errors import InputError
from edgepose.models.catalogue import REGISTRY, ModelEntry
from edgepose.spec import DecoderSpec, PoseSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["build", "named", "parse_name", "spec_for", "translator"]


def parse_name(name: str) -> tuple[str, tuple[int, int]]:
    """Split ``model`` or ``model@HxW`` into the registry name and the input size.

    Returns:
        The name and (height, width), the model's native size where none is given.

    Raises:
        InputError: The model is unknown, or cannot take that size.
    """
    base, at, size = name.partition("@")
    entry = _entry(base)
    if not at:
        return base, entry.input_size
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", size)
    if match is None:
        raise InputError(
            f"'{name}' names no input size",
            f"'{size}' is not HEIGHTxWIDTH",
            f"{base}@{entry.input_size[0]}x{entry.input_size[1]}",
        )
    input_size = (int(match[1]), int(match[2]))
    _check_size(base, entry, input_size)
    return base, input_size


def build(
    name: str,
    input_size: tuple[int, int] | None = None,
    num_keypoints: int = 17,
    **options: Any,
) -> nn.Module:
    """Build a model with fresh weights, in train mode.

    Args:
        name: Registry name, optionally with an input size: ``mitpose-lite@128x96``.
        input_size: (height, width), instead of in the name.
        num_keypoints: Keypoints the model predicts.
        **options: What the paper leaves open, instead of our choice: the keyword arguments of the
            entry's builder, such as ``scope="all"`` for MGIL.

    Returns:
        A module whose ``forward(images)`` takes normalised images (B, 3, H, W) and returns
        ``{"heatmaps": (B, K, H/4, W/4)}`` or ``{"simcc_x": (B, K, W * split), "simcc_y": (B, K,
        H * split)}``.

    Raises:
        InputError: The model is unknown, cannot take that size, or has no such option, or two sizes
            were given.
    """
    base, size = _resolve(name, input_size)
    if num_keypoints < 1:
        raise InputError(f"cannot build {base}", f"{num_keypoints} keypoints is not a model")
    entry = REGISTRY[base]
    builder = named(entry.builder)
    _check_options(base, builder, options)
    model: nn.Module = builder(size, num_keypoints, **{**entry.options, **options})
    return model


def spec_for(
    name: str, input_size: tuple[int, int] | None = None, *, split_ratio: float | None = None
) -> PoseSpec:
    """The spec of a registry model on COCO keypoints, without provenance.

    Args:
        name: Registry name, optionally with an input size.
        input_size: (height, width), instead of in the name.
        split_ratio: Bins per pixel of a SimCC model that was built with other ones than ours.

    Raises:
        InputError: As in :func:`build`.
    """
    base, size = _resolve(name, input_size)
    entry = REGISTRY[base]
    decoder = _decoder_at(entry, size)
    if split_ratio is not None:
        decoder = replace(decoder, split_ratio=split_ratio)
    return PoseSpec(model=base, input_size=size, output=entry.output, decoder=decoder)


def translator(name: str) -> Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None:
    """What takes the tensors of the authors' checkpoints to our names, where there is such a thing.

    Args:
        name: Registry name, without an input size.
    """
    authors = _entry(name).authors
    return None if authors is None else named(authors.translate)


def named(reference: str) -> Any:
    """What ``module:name`` in the catalogue refers to."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def _decoder_at(entry: ModelEntry, input_size: tuple[int, int]) -> DecoderSpec:
    """The entry's decoder, DARK's blur fitted to the size of the map.

    Targets are Gaussians of 2/64 of the map's height, and the blur follows them: 11 cells on the
    64x48 map that DARK was made for, 7 on 32x24 (0.5 AP above 11 on a validation fold).
    """
    if entry.decoder.name != "dark":
        return entry.decoder
    sigma = 2 / 64 * (input_size[0] / 4)
    return replace(entry.decoder, blur_kernel=2 * math.ceil(2.5 * sigma) + 1)


def _resolve(name: str, input_size: tuple[int, int] | None) -> tuple[str, tuple[int, int]]:
    base, named_size = parse_name(name)
    if input_size is None:
        return base, named_size
    height, width = input_size
    if "@" in name and named_size != (height, width):
        raise InputError(
            f"two input sizes for {base}",
            f"the name says {named_size[0]}x{named_size[1]}, the argument {height}x{width}",
            "give one of them",
        )
    _check_size(base, REGISTRY[base], (height, width))
    return base, (height, width)


def _entry(name: str) -> ModelEntry:
    entry = REGISTRY.get(name)
    if entry is None:
        close = difflib.get_close_matches(name, REGISTRY, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"one of {', '.join(REGISTRY)}"
        raise InputError(f"there is no model '{name}'", hint=hint)
    return entry


def _check_options(name: str, builder: Callable[..., Any], options: Mapping[str, Any]) -> None:
    known = [p.name for p in signature(builder).parameters.values() if p.kind is p.KEYWORD_ONLY]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise InputError(
            f"{name} has no option '{unknown[0]}'", f"it has {', '.join(known) or 'none'}"
        )


def _check_size(name: str, entry: ModelEntry, input_size: tuple[int, int]) -> None:
    steps = entry.steps
    pairs = list(zip(input_size, steps, strict=True))
    if all(v > 0 and v % step == 0 for v, step in pairs):
        return
    height, width = (max(step, (v + step // 2) // step * step) for v, step in pairs)
    rule = f"height and width must be multiples of {steps[0]}"
    if steps[0] != steps[1]:
        rule = f"the height must be a multiple of {steps[0]}, the width of {steps[1]}"
    raise InputError(
        f"{name} cannot take {input_size[0]}x{input_size[1]} images",
        rule,
        f"{name}@{height}x{width}",
    )
