"""TransPose, the model that VTTransPose starts from."""

from __future__ import annotations

from edgepose.models.catalogue.entry import AuthorsCheckpoint, ModelEntry, Printed
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

MODELS: dict[str, ModelEntry] = {
    "transpose-h-s": ModelEntry(
        builder="edgepose.models.transpose:transpose",
        family="transpose",
        paper="TransPose (Yang et al., ICCV 2021)",
        input_size=(256, 192),
        multiple=16,
        output="heatmap",
        decoder=DecoderSpec(name="dark", alignment="half_pixel", blur_kernel=11),
        params=8_019_281,
        gmacs=9.9289,
        description="four transformer layers over every cell of HRNet-S-W32's map",
        printed=Printed(
            params_m=8.0,
            gflops=10.2,
            gmacs=9.97,
            ap=74.2,
            ap_setting="COCO val2017, boxes of a detector with person AP 56.4, flip test",
            note="the paper's counter takes in norms (0.04 G) and five operations for each element "
            "of a softmax (0.19 G), which we count as nothing; 196,608 of the parameters are the "
            "frozen sine table",
        ),
        authors=AuthorsCheckpoint(
            translate="edgepose.models.checkpoints.transpose:translate",
            decoder=DecoderSpec(name="dark", alignment="corner", blur_kernel=11),
            source="https://github.com/yangsenius/TransPose/releases/download/Hub/"
            "tp_h_32_256x192_enc4_d64_h128_mh1.pth",
        ),
    ),
}
