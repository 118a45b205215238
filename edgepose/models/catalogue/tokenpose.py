"""TokenPose, the model that MfvPose starts from."""

from __future__ import annotations

from edgepose.models.catalogue.entry import AuthorsCheckpoint, ModelEntry, Printed
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

_PAPER = "TokenPose (Li et al., ICCV 2021)"
_DARK = DecoderSpec(name="dark", alignment="half_pixel", blur_kernel=11)
# Stage 3 of HRNet halves four times; the 64x48 map is cut in patches 4 cells high and 3 wide.
_MULTIPLE = (16, 48)
_AP_SETTING = "COCO val2017, boxes of a detector with person AP 56.4, flip test"
# The authors count with HRNet's summary, which multiplies a linear layer's outputs by the second
# axis of its input: the tokens, where their channels are meant.
_NOTE = (
    "their GFLOPs are multiply-adds divided by 2^30 (times 1.0737), without the attention's "
    "products ({lacking} G more), and with linear layers charged by tokens instead of channels "
    "({excess} G less); 49,152 of the parameters are the frozen sine table"
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
            gmacs=6.32,
            note=_NOTE.format(lacking="0.34", excess="0.14"),
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
            gmacs=12.21,
            ap=75.8,
            ap_setting=_AP_SETTING,
            note=_NOTE.format(lacking="0.69", excess="0.29"),
        ),
        authors=_AUTHORS,
    ),
}
