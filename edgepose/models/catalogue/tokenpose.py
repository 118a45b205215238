"""TokenPose, the model that MfvPose starts from."""

from __future__ import annotations

from edgepose.models.catalogue.entry import AuthorsCheckpoint, ModelEntry, Printed
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

_PAPER = "TokenPose (Li et al., ICCV 2021)"
_DARK = DecoderSpec(name="dark", alignment="half_pixel", blur_kernel=11)
# Stage 3 of HRNet halves four times; the 64x48 map is cut in patches 4 cells high and 3 wide.
_MULTIPLE = (16, 48)
_SETTING = "COCO val2017, boxes of a detector (56.4 AP on people), flip test"
_NOTE = (
    "The paper counts convolutions and linear layers in units of 2^30, so that its figure times "
    "1.0737 lacks the attention's products ({lacking} G). {frozen} of the parameters are the "
    "frozen sine table."
)
_AUTHORS = AuthorsCheckpoint(
    translate="edgepose.models.checkpoints.tokenpose:translate",
    decoder=DecoderSpec(name="dark", alignment="corner", blur_kernel=11),
    source="https://github.com/leeyegy/TokenPose",
)

MODELS: dict[str, ModelEntry] = {
    "tokenpose-b": ModelEntry(
        builder="edgepose.models.tokenpose:tokenpose",
        options={"width": 32, "depths": (12,), "heads": 8},
        family="tokenpose",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=_MULTIPLE,
        output="heatmap",
        decoder=_DARK,
        params=13_514_368,
        gmacs=6.2761,
        description="keypoint tokens beside patches of HRNet-S-W32's map, 12 layers",
        printed=Printed(
            params_m=13.5,
            gflops=5.7,
            gmacs=6.12,
            ap=74.7,
            ap_setting=_SETTING,
            note=_NOTE.format(lacking="0.34", frozen="49,152"),
        ),
        authors=_AUTHORS,
    ),
    "tokenpose-l-d24": ModelEntry(
        builder="edgepose.models.tokenpose:tokenpose",
        options={"width": 48, "depths": (8, 8, 8), "heads": 12},
        family="tokenpose",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=_MULTIPLE,
        output="heatmap",
        decoder=_DARK,
        params=27_531_552,
        gmacs=12.1931,
        description="keypoint tokens beside patches of HRNet-S-W48's map, three stacks of 8 layers",
        printed=Printed(
            params_m=27.5,
            gflops=11.0,
            gmacs=11.81,
            ap=75.8,
            ap_setting=_SETTING,
            note=_NOTE.format(lacking="0.69", frozen="49,152"),
        ),
        authors=_AUTHORS,
    ),
}
