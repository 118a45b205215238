"""SimCC, and MGIL's baselines."""

from __future__ import annotations

from edgepose.models.catalogue.entry import AuthorsCheckpoint, ModelEntry, Printed
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

_PAPER = "SimCC (Li et al., ECCV 2022)"
_SPLIT = 2.0
_SIMCC = DecoderSpec(name="simcc", alignment="half_pixel", split_ratio=_SPLIT)
_MULTIPLE = 32  # HRNet's coarsest branch and ResNet's last map have 1/32 of the resolution

# Their settings have 2 bins per pixel at 256x192 and, on HRNet-W32, at 128x128; 3 at 64x64 and, on
# ResNet-50, at 128x128. The head's shape tells.
_SOURCE = "https://github.com/leeyegy/SimCC"
_OPTIONS = "edgepose.models.checkpoints.simcc:options"
_CORNER = DecoderSpec(name="simcc", alignment="corner", split_ratio=_SPLIT)
_AUTHORS_HRNET = AuthorsCheckpoint(
    translate="edgepose.models.checkpoints.simcc:translate_hrnet",
    decoder=_CORNER,
    source=_SOURCE,
    options=_OPTIONS,
)
_AUTHORS_RESNET = AuthorsCheckpoint(
    translate="edgepose.models.checkpoints.simcc:translate_resnet",
    decoder=_CORNER,
    source=_SOURCE,
    options=_OPTIONS,
    colour="bgr",
)

_VAL_MGIL = "COCO val2017, as the MGIL paper prints it for its baseline"
_NO_TABLES = "SimCC's own tables were not at hand"
_NOT_AT_HAND = f"the AP is what the MGIL paper prints for it; {_NO_TABLES}"

MODELS: dict[str, ModelEntry] = {
    "simcc-w32-32": ModelEntry(
        builder="edgepose.models.simcc:simcc",
        options={"width": 32, "split_ratio": _SPLIT},
        family="simcc",
        paper=_PAPER,
        input_size=(32, 32),
        multiple=_MULTIPLE,
        output="simcc",
        decoder=_SIMCC,
        params=28_544_433,
        gmacs=0.1594,
        description="SimCC on plain HRNet-W32 at 32x32, MGIL's baseline",
        printed=Printed(ap=29.8, ap_setting=_VAL_MGIL, note=_NOT_AT_HAND),
        authors=_AUTHORS_HRNET,
    ),
    "simcc-w32-64": ModelEntry(
        builder="edgepose.models.simcc:simcc",
        options={"width": 32, "split_ratio": _SPLIT},
        family="simcc",
        paper=_PAPER,
        input_size=(64, 64),
        multiple=_MULTIPLE,
        output="simcc",
        decoder=_SIMCC,
        params=28_601_905,
        gmacs=0.6382,
        description="SimCC on plain HRNet-W32 at 64x64, MGIL's baseline",
        printed=Printed(note=_NO_TABLES),
        authors=_AUTHORS_HRNET,
    ),
    "simcc-w32-128": ModelEntry(
        builder="edgepose.models.simcc:simcc",
        options={"width": 32, "split_ratio": _SPLIT},
        family="simcc",
        paper=_PAPER,
        input_size=(128, 128),
        multiple=_MULTIPLE,
        output="simcc",
        decoder=_SIMCC,
        params=29_060_913,
        gmacs=2.5572,
        description="SimCC on plain HRNet-W32 at 128x128, MGIL's baseline",
        printed=Printed(ap=72.3, ap_setting=_VAL_MGIL, note=_NOT_AT_HAND),
        authors=_AUTHORS_HRNET,
    ),
    "simcc-w32-256x192": ModelEntry(
        builder="edgepose.models.simcc:simcc",
        options={"width": 32, "split_ratio": _SPLIT},
        family="simcc",
        paper=_PAPER,
        input_size=(256, 192),
        multiple=_MULTIPLE,
        output="simcc",
        decoder=_SIMCC,
        params=31_289_521,
        gmacs=7.6918,
        description="SimCC on HRNet-W32 at the usual size",
        printed=Printed(note=_NO_TABLES),
        authors=_AUTHORS_HRNET,
    ),
    "simcc-w48-64": ModelEntry(
        builder="edgepose.models.simcc:simcc",
        options={"width": 48, "split_ratio": _SPLIT},
        family="simcc",
        paper=_PAPER,
        input_size=(64, 64),
        multiple=_MULTIPLE,
        output="simcc",
        decoder=_SIMCC,
        params=63_661_537,
        gmacs=1.3088,
        description="SimCC on plain HRNet-W48 at 64x64, MGIL's baseline",
        printed=Printed(ap=58.6, ap_setting=_VAL_MGIL, note=_NOT_AT_HAND),
        authors=_AUTHORS_HRNET,
    ),
    "simcc-r50-32": ModelEntry(
        builder="edgepose.models.simcc:simcc_resnet50",
        options={"split_ratio": _SPLIT},
        family="simcc",
        paper=_PAPER,
        input_size=(32, 32),
        multiple=_MULTIPLE,
        output="simcc",
        decoder=_SIMCC,
        params=34_008_017,
        gmacs=0.1132,
        description="SimCC on SimpleBaseline's ResNet-50 at 32x32, MGIL's baseline",
        printed=Printed(ap=15.7, ap_setting=_VAL_MGIL, note=_NOT_AT_HAND),
        authors=_AUTHORS_RESNET,
    ),
}
