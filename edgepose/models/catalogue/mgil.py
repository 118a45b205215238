"""mgil."""

from __future__ import annotations

from edgepose.models.catalogue.entry import ModelEntry
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

_PAPER = "MGIL (Gu et al., ACM MM 2024)"
_SIMCC = DecoderSpec(name="simcc", alignment="half_pixel", split_ratio=2.0)

MODELS: dict[str, ModelEntry] = {
    "mgil-w32-32": ModelEntry(
        builder="edgepose.models.mgil:mgil",
        options={"width": 32},
        family="mgil",
        paper=_PAPER,
        input_size=(32, 32),
        multiple=32,
        output="simcc",
        decoder=_SIMCC,
        params=34_209_967,
        gmacs=0.2278,
        description="SimCC on HRNet-W32 with lossless downsampling, for tiny 32x32 crops",
    ),
    "mgil-w32-64": ModelEntry(
        builder="edgepose.models.mgil:mgil",
        options={"width": 32},
        family="mgil",
        paper=_PAPER,
        input_size=(64, 64),
        multiple=32,
        output="simcc",
        decoder=_SIMCC,
        params=34_267_439,
        gmacs=0.9118,
        description="SimCC on HRNet-W32 with lossless downsampling, for small 64x64 crops",
    ),
    "mgil-w32-128": ModelEntry(
        builder="edgepose.models.mgil:mgil",
        options={"width": 32},
        family="mgil",
        paper=_PAPER,
        input_size=(128, 128),
        multiple=32,
        output="simcc",
        decoder=_SIMCC,
        params=34_726_447,
        gmacs=3.6516,
        description="SimCC on HRNet-W32 with lossless downsampling, for 128x128 crops",
    ),
}
