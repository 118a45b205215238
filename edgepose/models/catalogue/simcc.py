"""simcc."""

from __future__ import annotations

from edgepose.models.catalogue.entry import ModelEntry
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

_PAPER = "SimCC (Li et al., ECCV 2022)"
_SIMCC = DecoderSpec(name="simcc", alignment="half_pixel", split_ratio=2.0)

MODELS: dict[str, ModelEntry] = {
    "simcc-w32-32": ModelEntry(
        builder="edgepose.models.simcc:simcc",
        options={"width": 32},
        family="simcc",
        paper=_PAPER,
        input_size=(32, 32),
        multiple=32,
        output="simcc",
        decoder=_SIMCC,
        params=28_544_433,
        gmacs=0.1594,
        description="SimCC on plain HRNet-W32 at 32x32, MGIL's baseline",
    ),
    "simcc-w32-64": ModelEntry(
        builder="edgepose.models.simcc:simcc",
        options={"width": 32},
        family="simcc",
        paper=_PAPER,
        input_size=(64, 64),
        multiple=32,
        output="simcc",
        decoder=_SIMCC,
        params=28_601_905,
        gmacs=0.6382,
        description="SimCC on plain HRNet-W32 at 64x64, MGIL's baseline",
    ),
    "simcc-w32-128": ModelEntry(
        builder="edgepose.models.simcc:simcc",
        options={"width": 32},
        family="simcc",
        paper=_PAPER,
        input_size=(128, 128),
        multiple=32,
        output="simcc",
        decoder=_SIMCC,
        params=29_060_913,
        gmacs=2.5572,
        description="SimCC on plain HRNet-W32 at 128x128, MGIL's baseline",
    ),
}
