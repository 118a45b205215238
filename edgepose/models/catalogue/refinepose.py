"""RefinePose."""

from __future__ import annotations

from edgepose.models.catalogue.entry import ModelEntry, Printed
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

_PAPER = "RefinePose (Dong et al., Electronics 11:4060, 2022)"
_DARK = DecoderSpec(name="dark", alignment="half_pixel", blur_kernel=11)
_AP_SETTING = "COCO val2017 at 256x192; the paper does not name the boxes"
_NO_COST = "the paper prints no parameters and no FLOPs"

MODELS: dict[str, ModelEntry] = {
    "refinepose-s": ModelEntry(
        builder="edgepose.models.refinepose:refinepose",
        options={"size": "s", "matching": "halve"},
        family="refinepose",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=16,
        output="heatmap",
        decoder=_DARK,
        params=23_035_457,
        gmacs=5.7377,
        description="RefinePose at edge size: ViT-S, decoder that halves its channels",
        printed=Printed(note="no model of this size is printed"),
    ),
    "refinepose-b": ModelEntry(
        builder="edgepose.models.refinepose:refinepose",
        options={"size": "b", "matching": "tile"},
        family="refinepose",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=16,
        output="heatmap",
        decoder=_DARK,
        params=93_002_225,
        gmacs=25.0119,
        description="ViT-B between a gradual embedding and a decoder that unpools",
        printed=Printed(
            ap=75.9,
            ap_setting=_AP_SETTING,
            note=f"{_NO_COST}; its ablation prints 75.3 AP for the same full model",
        ),
    ),
    "refinepose-l": ModelEntry(
        builder="edgepose.models.refinepose:refinepose",
        options={"size": "l", "matching": "tile"},
        family="refinepose",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=16,
        output="heatmap",
        decoder=_DARK,
        params=316_289_681,
        gmacs=73.7907,
        description="ViT-L between a gradual embedding and a decoder that unpools",
        printed=Printed(ap=78.5, ap_setting=_AP_SETTING, note=_NO_COST),
    ),
}
