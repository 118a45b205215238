"""MfvPose."""

from __future__ import annotations

from edgepose.models.catalogue.entry import ModelEntry, Printed
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

_PAPER = "MfvPose (Journal of Intelligent and Fuzzy Systems, 2023)"
_DARK = DecoderSpec(name="dark", alignment="half_pixel", blur_kernel=11)
# Stage 3 of HRNet halves four times; the 64x48 map is cut in patches 4 cells high and 3 wide.
_MULTIPLE = (16, 48)
_PRINTED = Printed(
    note="the paper's text calls its costs close to TokenPose's; its tables were not at hand"
)
_BEST = Printed(
    ap=75.7,
    ap_setting="COCO val2017 at 256x192, the best of all variants",
    note="the text does not say which variant has the best AP, it is put down to the largest; it "
    "also claims 0.2 above TokenPose-L/D24, whose own paper prints 75.8: probably a baseline "
    "trained again; the tables were not at hand",
)

MODELS: dict[str, ModelEntry] = {
    "mfvpose-w32-d8": ModelEntry(
        builder="edgepose.models.mfvpose:mfvpose",
        options={"width": 32, "depths": (8,), "heads": 8},
        family="mfvpose",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=_MULTIPLE,
        output="heatmap",
        decoder=_DARK,
        params=12_078_336,
        gmacs=5.8880,
        description="keypoint tokens over cascaded atrous maps of HRNet-S-W32, 8 layers",
        printed=_PRINTED,
    ),
    "mfvpose-w32-d12": ModelEntry(
        builder="edgepose.models.mfvpose:mfvpose",
        options={"width": 32, "depths": (12,), "heads": 8},
        family="mfvpose",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=_MULTIPLE,
        output="heatmap",
        decoder=_DARK,
        params=13_561_344,
        gmacs=6.4050,
        description="keypoint tokens over cascaded atrous maps of HRNet-S-W32, 12 layers",
        printed=_PRINTED,
    ),
    "mfvpose-w48-d8": ModelEntry(
        builder="edgepose.models.mfvpose:mfvpose",
        options={"width": 48, "depths": (8,), "heads": 8},
        family="mfvpose",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=_MULTIPLE,
        output="heatmap",
        decoder=_DARK,
        params=21_181_920,
        gmacs=10.3876,
        description="keypoint tokens over cascaded atrous maps of HRNet-S-W48, 8 layers",
        printed=_PRINTED,
    ),
    "mfvpose-w48-d24": ModelEntry(
        builder="edgepose.models.mfvpose:mfvpose",
        options={"width": 48, "depths": (8, 8, 8), "heads": 12},
        family="mfvpose",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=_MULTIPLE,
        output="heatmap",
        decoder=_DARK,
        params=27_629_664,
        gmacs=12.4645,
        description="keypoint tokens over cascaded atrous maps of HRNet-S-W48, three stacks of 8",
        printed=_BEST,
    ),
}
