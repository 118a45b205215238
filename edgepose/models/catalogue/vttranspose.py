"""VTTransPose."""

from __future__ import annotations

from edgepose.models.catalogue.entry import ModelEntry, Printed
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

MODELS: dict[str, ModelEntry] = {
    "vttranspose": ModelEntry(
        builder="edgepose.models.vttranspose:vttranspose",
        family="vttranspose",
        paper="VTTransPose (Li et al., Scientific Reports 14:7608, 2024)",
        input_size=(256, 192),
        multiple=16,
        output="heatmap",
        decoder=DecoderSpec(name="dark", alignment="half_pixel", blur_kernel=11),
        params=5_831_633,
        gmacs=4.9945,
        description="TransPose-H-S with attention by columns and rows, and V blocks in its trunk",
        printed=Printed(
            params_m=6.0,
            gflops=5.4,
            gmacs=5.35,
            ap=74.6,
            ap_setting="COCO val2017, boxes of a detector (76.5 with ground-truth boxes)",
            note="the printed parameters are met to 0.5 % with the baseline's frozen sine table "
            "(196,608) added, in whose place twin attention has learned tables of 7,168; the width "
            "of the V blocks' branches is not printed, 52 of 128 channels is ours; the printed "
            "5.4 G are twin attention without V blocks (5.3880 by our rule, 7.9 M parameters): V "
            "blocks do 0.39 G less than the blocks they replace, so that no model has both "
            "printed figures; by the paper's counter norms and softmax are 0.05 G",
        ),
    ),
}
