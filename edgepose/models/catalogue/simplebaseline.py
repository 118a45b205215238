"""SimpleBaseline, the plainest of the heatmap baselines."""

from __future__ import annotations

from edgepose.models.catalogue.entry import AuthorsCheckpoint, ModelEntry, Printed
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

MODELS: dict[str, ModelEntry] = {
    "simplebaseline-r50": ModelEntry(
        builder="edgepose.models.simplebaseline:simplebaseline",
        family="simplebaseline",
        paper="SimpleBaseline (Xiao et al., ECCV 2018)",
        input_size=(256, 192),
        multiple=32,  # ResNet ends at 1/32 of the resolution
        output="heatmap",
        decoder=DecoderSpec(name="dark", alignment="half_pixel", blur_kernel=11),
        params=33_999_697,
        gmacs=5.4264,
        description="ResNet-50 and three transposed convolutions to heatmaps",
        printed=Printed(
            params_m=34.0,
            gflops=8.9,
            gmacs=5.33,
            ap=70.4,
            ap_setting="COCO val2017, boxes of a detector with person AP 56.4, flip test",
            note="their GFLOPs are multiply-adds divided by 2^30 (times 1.0737), with transposed "
            "convolutions charged four times over (less 4.23)",
        ),
        authors=AuthorsCheckpoint(
            translate="edgepose.models.checkpoints.resnet:translate",
            decoder=DecoderSpec(name="quarter", alignment="corner"),
            source="https://github.com/leoxiaobin/deep-high-resolution-net.pytorch",
            colour="bgr",
        ),
    ),
}
