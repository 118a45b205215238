"""HRNet, the heatmap baseline of most papers here."""

from __future__ import annotations

from edgepose.models.catalogue.entry import AuthorsCheckpoint, ModelEntry, Printed
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

_PAPER = "HRNet (Sun et al., CVPR 2019)"
_DARK = DecoderSpec(name="dark", alignment="half_pixel", blur_kernel=11)
_AUTHORS = AuthorsCheckpoint(
    translate="edgepose.models.checkpoints.hrnet:translate",
    decoder=DecoderSpec(name="quarter", alignment="corner"),
    source="https://github.com/leoxiaobin/deep-high-resolution-net.pytorch",
)
_AP_SETTING = "COCO val2017, boxes of a detector with person AP 56.4, flip test"
_NOTE = "their GFLOPs are multiply-adds of convolutions divided by 2^30: times 1.0737"

MODELS: dict[str, ModelEntry] = {
    "hrnet-w32": ModelEntry(
        builder="edgepose.models.hrnet:hrnet",
        options={"width": 32},
        family="hrnet",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=32,  # the coarsest branch has 1/32 of the resolution
        output="heatmap",
        decoder=_DARK,
        params=28_536_113,
        gmacs=7.6450,
        description="HRNet-W32 with heatmaps, the common baseline",
        printed=Printed(
            params_m=28.5, gflops=7.1, gmacs=7.62, ap=74.4, ap_setting=_AP_SETTING, note=_NOTE
        ),
        authors=_AUTHORS,
    ),
    "hrnet-w48": ModelEntry(
        builder="edgepose.models.hrnet:hrnet",
        options={"width": 48},
        family="hrnet",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=32,
        output="heatmap",
        decoder=_DARK,
        params=63_595_745,
        gmacs=15.6918,
        description="HRNet-W48 with heatmaps, the large baseline",
        printed=Printed(
            params_m=63.6, gflops=14.6, gmacs=15.68, ap=75.1, ap_setting=_AP_SETTING, note=_NOTE
        ),
        authors=_AUTHORS,
    ),
}
