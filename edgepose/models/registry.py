"""All models by name: how each is built, how it is fed and read, and what it costs."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from torch import nn

from edgepose.errors import InputError
from edgepose.models.mgil import mgil
from edgepose.models.mitpose import mitpose_lite
from edgepose.models.simcc import simcc
from edgepose.spec import DecoderSpec, OutputKind, PoseSpec

__all__ = ["REGISTRY", "Factory", "ModelEntry", "build", "parse_name", "spec_for"]


class Factory(Protocol):
    """Makes a model for an input size (height, width) and a number of keypoints."""

    def __call__(self, input_size: tuple[int, int], num_keypoints: int) -> nn.Module:
        """A module with fresh weights, in train mode."""
        ...


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """What is known of a model without building it.

    Attributes:
        factory: Builds it.
        family: Group for listings.
        paper: Where the architecture comes from.
        input_size: Native (height, width).
        multiple: Other sizes must be multiples of this on both axes.
        output: Kind of output.
        decoder: How the outputs are read.
        params: Parameters at the native size with 17 keypoints, exactly.
        gmacs: 10^9 multiply-adds of convolutions, linear layers and matrix products, per image at
            the native size.
        description: One line.
    """

    factory: Factory
    family: str
    paper: str
    input_size: tuple[int, int]
    multiple: int
    output: OutputKind
    decoder: DecoderSpec
    params: int
    gmacs: float
    description: str


_DARK = DecoderSpec(name="dark", alignment="half_pixel", blur_kernel=11)
_SIMCC = DecoderSpec(name="simcc", alignment="half_pixel", split_ratio=2.0)

_MITPOSE_PAPER = "MiTPOSE (Wu), blocks of SCConv (CVPR 2023) and ConvNeXt V2 (CVPR 2023)"
_MGIL_PAPER = "MGIL (Gu et al., ACM MM 2024)"
_SIMCC_PAPER = "SimCC (Li et al., ECCV 2022)"

REGISTRY: dict[str, ModelEntry] = {
    "mitpose-lite": ModelEntry(
        factory=partial(mitpose_lite, form="edge"),
        family="mitpose",
        paper=_MITPOSE_PAPER,
        input_size=(256, 192),
        multiple=16,
        output="heatmap",
        decoder=_DARK,
        params=5_625_905,
        gmacs=1.5809,
        description="light multi-granularity net in its edge form (smooth SRU, ReLU, BatchNorm)",
    ),
    "mitpose-lite-ref": ModelEntry(
        factory=partial(mitpose_lite, form="reference"),
        family="mitpose",
        paper=_MITPOSE_PAPER,
        input_size=(256, 192),
        multiple=16,
        output="heatmap",
        decoder=_DARK,
        params=5_627_441,
        gmacs=1.5809,
        description="the same net with every unit as published (hard SRU, GELU, LayerNorm)",
    ),
    "mgil-w32-32": ModelEntry(
        factory=partial(mgil, width=32),
        family="mgil",
        paper=_MGIL_PAPER,
        input_size=(32, 32),
        multiple=32,
        output="simcc",
        decoder=_SIMCC,
        params=34_209_967,
        gmacs=0.2278,
        description="SimCC on HRNet-W32 with lossless downsampling, for tiny 32x32 crops",
    ),
    "mgil-w32-64": ModelEntry(
        factory=partial(mgil, width=32),
        family="mgil",
        paper=_MGIL_PAPER,
        input_size=(64, 64),
        multiple=32,
        output="simcc",
        decoder=_SIMCC,
        params=34_267_439,
        gmacs=0.9118,
        description="SimCC on HRNet-W32 with lossless downsampling, for small 64x64 crops",
    ),
    "mgil-w32-128": ModelEntry(
        factory=partial(mgil, width=32),
        family="mgil",
        paper=_MGIL_PAPER,
        input_size=(128, 128),
        multiple=32,
        output="simcc",
        decoder=_SIMCC,
        params=34_726_447,
        gmacs=3.6516,
        description="SimCC on HRNet-W32 with lossless downsampling, for 128x128 crops",
    ),
    "simcc-w32-32": ModelEntry(
        factory=partial(simcc, width=32),
        family="simcc",
        paper=_SIMCC_PAPER,
        input_size=(32, 32),
        multiple=32,
        output="simcc",
        decoder=_SIMCC,
        params=28_544_433,
        gmacs=0.1594,
        description="SimCC on plain HRNet-W32 at 32x32, MGIL's baseline",
    ),
    "simcc-w32-64": ModelEntry(
        factory=partial(simcc, width=32),
        family="simcc",
        paper=_SIMCC_PAPER,
        input_size=(64, 64),
        multiple=32,
        output="simcc",
        decoder=_SIMCC,
        params=28_601_905,
        gmacs=0.6382,
        description="SimCC on plain HRNet-W32 at 64x64, MGIL's baseline",
    ),
    "simcc-w32-128": ModelEntry(
        factory=partial(simcc, width=32),
        family="simcc",
        paper=_SIMCC_PAPER,
        input_size=(128, 128),
        multiple=32,
        output="simcc",
        decoder=_SIMCC,
        params=29_060_913,
        gmacs=2.5572,
        description="SimCC on plain HRNet-W32 at 128x128, MGIL's baseline",
    ),
}


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
    name: str, input_size: tuple[int, int] | None = None, num_keypoints: int = 17
) -> nn.Module:
    """Build a model with fresh weights, in train mode.

    Args:
        name: Registry name, optionally with an input size: ``mitpose-lite@128x96``.
        input_size: (height, width), instead of in the name.
        num_keypoints: Keypoints the model predicts.

    Returns:
        A module whose ``forward(images)`` takes normalised images (B, 3, H, W) and returns
        ``{"heatmaps": (B, K, H/4, W/4)}`` or ``{"simcc_x": (B, K, W * split), "simcc_y": (B, K,
        H * split)}``.

    Raises:
        InputError: The model is unknown, cannot take that size, or two sizes were given.
    """
    base, size = _resolve(name, input_size)
    if num_keypoints < 1:
        raise InputError(f"cannot build {base}", f"{num_keypoints} keypoints is not a model")
    return REGISTRY[base].factory(size, num_keypoints)


def spec_for(name: str, input_size: tuple[int, int] | None = None) -> PoseSpec:
    """The spec of a registry model on COCO keypoints, without provenance.

    Args:
        name: Registry name, optionally with an input size.
        input_size: (height, width), instead of in the name.

    Raises:
        InputError: As in :func:`build`.
    """
    base, size = _resolve(name, input_size)
    entry = REGISTRY[base]
    return PoseSpec(
        model=base, input_size=size, output=entry.output, decoder=_decoder_at(entry, size)
    )


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


def _check_size(name: str, entry: ModelEntry, input_size: tuple[int, int]) -> None:
    step = entry.multiple
    if all(v > 0 and v % step == 0 for v in input_size):
        return
    height, width = (max(step, (v + step // 2) // step * step) for v in input_size)
    raise InputError(
        f"{name} cannot take {input_size[0]}x{input_size[1]} images",
        f"height and width must be multiples of {step}",
        f"{name}@{height}x{width}",
    )
