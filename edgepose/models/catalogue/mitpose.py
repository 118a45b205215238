"""MiTPOSE in its light forms."""

from __future__ import annotations

from edgepose.models.catalogue.entry import ModelEntry, Printed
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

_PAPER = "MiTPOSE (Wu), blocks of SCConv (CVPR 2023) and ConvNeXt V2 (CVPR 2023)"
_DARK = DecoderSpec(name="dark", alignment="half_pixel", blur_kernel=11)
_PRINTED = Printed(
    note="no light model is printed: what was published is of ViT-B, L and H size (mitpose-b)"
)

MODELS: dict[str, ModelEntry] = {
    "mitpose-lite": ModelEntry(
        builder="edgepose.models.mitpose:mitpose_lite",
        options={"form": "edge"},
        family="mitpose",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=16,
        output="heatmap",
        decoder=_DARK,
        params=5_625_905,
        gmacs=1.5809,
        description="light multi-granularity net in its edge form (smooth SRU, ReLU, BatchNorm)",
        printed=_PRINTED,
    ),
    "mitpose-lite-ref": ModelEntry(
        builder="edgepose.models.mitpose:mitpose_lite",
        options={"form": "reference"},
        family="mitpose",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=16,
        output="heatmap",
        decoder=_DARK,
        params=5_627_441,
        gmacs=1.5809,
        description="the same net with every unit as published (hard SRU, GELU, LayerNorm)",
        printed=_PRINTED,
    ),
}
