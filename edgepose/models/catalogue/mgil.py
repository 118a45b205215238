"""MGIL in HRNet and ResNet, with SimCC's head."""

from __future__ import annotations

from edgepose.models.catalogue.entry import ModelEntry, Printed
from edgepose.spec import DecoderSpec

__all__ = ["MODELS"]

_PAPER = "MGIL (Gu et al., ACM MM 2024)"
_SPLIT = 2.0
_SIMCC = DecoderSpec(name="simcc", alignment="half_pixel", split_ratio=_SPLIT)
# Five maps are halved one after the other, and the block takes 2x2 cells apart: at each of them
# height and width must be even.
_MULTIPLE = 32
_NOTE = "the paper prints neither parameters nor FLOPs"

MODELS: dict[str, ModelEntry] = {
    "mgil-w32-32": ModelEntry(
        builder="edgepose.models.mgil:mgil",
        options={"width": 32, "scope": "main", "split_ratio": _SPLIT},
        family="mgil",
        paper=_PAPER,
        input_size=(32, 32),
        multiple=_MULTIPLE,
        output="simcc",
        decoder=_SIMCC,
        params=34_209_967,
        gmacs=0.2278,
        description="SimCC on HRNet-W32 with lossless downsampling, for tiny 32x32 crops",
        printed=Printed(ap=37.5, ap_setting="COCO val2017", note=_NOTE),
    ),
    "mgil-w32-64": ModelEntry(
        builder="edgepose.models.mgil:mgil",
        options={"width": 32, "scope": "main", "split_ratio": _SPLIT},
        family="mgil",
        paper=_PAPER,
        input_size=(64, 64),
        multiple=_MULTIPLE,
        output="simcc",
        decoder=_SIMCC,
        params=34_267_439,
        gmacs=0.9118,
        description="SimCC on HRNet-W32 with lossless downsampling, for small 64x64 crops",
        printed=Printed(note=f"{_NOTE}, nor COCO AP at this size"),
    ),
    "mgil-w32-128": ModelEntry(
        builder="edgepose.models.mgil:mgil",
        options={"width": 32, "scope": "main", "split_ratio": _SPLIT},
        family="mgil",
        paper=_PAPER,
        input_size=(128, 128),
        multiple=_MULTIPLE,
        output="simcc",
        decoder=_SIMCC,
        params=34_726_447,
        gmacs=3.6516,
        description="SimCC on HRNet-W32 with lossless downsampling, for 128x128 crops",
        printed=Printed(ap=73.0, ap_setting="COCO val2017", note=_NOTE),
    ),
    "mgil-w48-64": ModelEntry(
        builder="edgepose.models.mgil:mgil",
        options={"width": 48, "scope": "main", "split_ratio": _SPLIT},
        family="mgil",
        paper=_PAPER,
        input_size=(64, 64),
        multiple=_MULTIPLE,
        output="simcc",
        decoder=_SIMCC,
        params=75_043_571,
        gmacs=1.6539,
        description="SimCC on HRNet-W48 with lossless downsampling, for small 64x64 crops",
        printed=Printed(ap=63.1, ap_setting="COCO val2017", note=_NOTE),
    ),
    "mgil-r50-32": ModelEntry(
        builder="edgepose.models.mgil:mgil_resnet50",
        options={"split_ratio": _SPLIT},
        family="mgil",
        paper=_PAPER,
        input_size=(32, 32),
        multiple=_MULTIPLE,
        output="simcc",
        decoder=_SIMCC,
        params=62_530_423,
        gmacs=0.2215,
        description="SimCC on ResNet-50 with lossless downsampling throughout, for 32x32 crops",
        printed=Printed(ap=16.7, ap_setting="COCO val2017", note=_NOTE),
    ),
}
