"""ViTPose."""

from __future__ import annotations

from edgepose.models.catalogue.entry import AuthorsCheckpoint, ModelEntry, Printed
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

_PAPER = "ViTPose (Xu et al., NeurIPS 2022)"
_DARK = DecoderSpec(name="dark", alignment="half_pixel", blur_kernel=11)
# Trained with UDP: cell i of n lies at i * (N - 1) / (n - 1), and DARK's step refines the peak.
_AUTHORS = AuthorsCheckpoint(
    translate="edgepose.models.checkpoints.vitpose:translate",
    decoder=DecoderSpec(name="dark", alignment="unit", blur_kernel=11),
    source="https://github.com/ViTAE-Transformer/ViTPose",
    options="edgepose.models.checkpoints.vitpose:options",
)
_AP_SETTING = "COCO val2017, boxes of a detector with 56 AP on persons, classic decoder"

MODELS: dict[str, ModelEntry] = {
    "vitpose-s": ModelEntry(
        builder="edgepose.models.vitpose:vitpose",
        options={"size": "s", "decoder": "classic"},
        family="vitpose",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=16,
        output="heatmap",
        decoder=_DARK,
        params=24_290_577,
        gmacs=5.5939,
        description="plain ViT-S (12 heads) with two transposed convolutions",
        printed=Printed(
            ap=73.8,
            ap_setting=_AP_SETTING,
            note="73.5 AP with the simple decoder (21,722,513 parameters, 4.6537 GMACs)",
        ),
        authors=_AUTHORS,
    ),
    "vitpose-b": ModelEntry(
        builder="edgepose.models.vitpose:vitpose",
        options={"size": "b", "decoder": "classic"},
        family="vitpose",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=16,
        output="heatmap",
        decoder=_DARK,
        params=89_994_513,
        gmacs=18.5228,
        description="plain ViT-B with two transposed convolutions",
        printed=Printed(
            params_m=86,
            ap=75.8,
            ap_setting=_AP_SETTING,
            note="the printed 86 M are the transformer alone (85.79 M here), without its decoder; "
            "75.5 AP with the simple decoder (85,912,337 parameters, 17.4611 GMACs)",
        ),
        authors=_AUTHORS,
    ),
}
