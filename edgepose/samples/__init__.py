"""Eight real photographs with the boxes of the people in them, for parity checks and the demo.

They are COCO val2017 photos under CC BY 2.0: ``credits.json`` names the source of each, and
``boxes.json`` has the form that ``edgepose run --boxes`` takes. They belong to the edgepose
hold-out: no weights in the zoo were trained on them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepose.images import read_image
from edgepose.poses import Float32, UInt8

__all__ = ["Sample", "load_samples"]

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Sample:
    """One packaged photograph.

    Attributes:
        name: File name.
        image: (H, W, 3) uint8 BGR.
        boxes: (N, 4) float32, x0 y0 x1 y1 of every annotated person.
        credit: Where it is from and under which licence.
    """

    name: str
    image: UInt8
    boxes: Float32
    credit: str


def load_samples() -> list[Sample]:
    """All packaged photographs, in a fixed order."""
    credits = json.loads((_FOLDER / "credits.json").read_text())
    return [
        Sample(
            name=name,
            image=read_image(_FOLDER / name),
            boxes=np.asarray(boxes, np.float32),
            credit=f"{credits[name]['photo_page']} ({credits[name]['licence']})",
        )
        for name, boxes in json.loads((_FOLDER / "boxes.json").read_text()).items()
    ]
