"""MiTPOSE at its published size."""

from __future__ import annotations

from edgepose.models.catalogue.entry import ModelEntry, Printed
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

MODELS: dict[str, ModelEntry] = {
    "mitpose-b": ModelEntry(
        builder="edgepose.models.mitpose_b:mitpose_b",
        options={"kernels": "depthwise"},
        family="mitpose",
        paper="MiTPOSE (Wu), SCConv (CVPR 2023) before ViTPose-B",
        input_size=(256, 192),
        multiple=16,
        output="heatmap",
        decoder=DecoderSpec(name="dark", alignment="half_pixel", blur_kernel=11),
        params=90_074_227,
        gmacs=18.2450,
        description="MiTPOSE on ViT-B: SCConv and a multi-scale module behind the embedding",
        printed=Printed(
            params_m=90.1,
            gflops=77.1,
            ap=76.5,
            ap_setting="COCO val2017 at 256x192; boxes not named",
            note="a reconstruction: the authors' figure, code and tables contradict one another, "
            "and no rule of counting gives the GFLOPs column (it has 76.5 for ViTPose-B)",
        ),
    ),
}
