"""A tiny keypoint set, tiny pictures whose joints can be seen, and a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgepose.images import write_image
from edgepose.spec import COCO_KEYPOINTS, DecoderSpec, KeypointSet, PoseSpec

NAMES = ("nose", "left_wrist", "right_wrist")
KEYPOINTS = KeypointSet(
    names=NAMES, flip_pairs=((1, 2),), skeleton=((0, 1), (0, 2)), sigmas=(0.026, 0.062, 0.062)
)
INPUT = (64, 48)
# BGR: each joint has a colour of its own.
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def heatmap_spec(input_size: tuple[int, int] = INPUT, **changes: Any) -> PoseSpec:
    decoder = changes.pop("decoder", DecoderSpec(name="dark"))
    return PoseSpec(
        model="tiny", input_size=input_size, output="heatmap", decoder=decoder,
        keypoints=changes.pop("keypoints", KEYPOINTS), **changes,
    )  # fmt: skip


def simcc_spec(input_size: tuple[int, int] = INPUT, split_ratio: float = 2.0) -> PoseSpec:
    return PoseSpec(
        model="tiny", input_size=input_size, output="simcc",
        decoder=DecoderSpec(name="simcc", split_ratio=split_ratio), keypoints=KEYPOINTS,
    )  # fmt: skip


class TinyNet(nn.Module):
    """Enough to find coloured dots: three convolutions to a quarter of the resolution."""

    position_tables = ("position",)

    def __init__(self, input_size: tuple[int, int] = INPUT, joints: int = len(NAMES)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.norm = nn.BatchNorm2d(16)
        self.down = nn.Conv2d(16, 16, 3, 2, 1)
        self.head = nn.Conv2d(16, joints, 1)
        self.position = nn.Parameter(torch.zeros(1, 16, input_size[0] // 4, input_size[1] // 4))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.norm(self.stem(images)).relu()
        return {"heatmaps": self.head((self.down(x) + self.position).relu())}


def make_picture(joints: np.ndarray, size: tuple[int, int] = (120, 100)) -> np.ndarray:
    """A grey picture (BGR) with a soft coloured dot on every labelled joint."""
    height, width = size
    picture = np.full((height, width, 3), 90, np.float32)
    y, x = np.mgrid[:height, :width]
    for (jx, jy, v), colour in zip(joints, COLOURS, strict=True):
        if v > 0:
            blob = np.exp(-((x - jx) ** 2 + (y - jy) ** 2) / (2 * 3.0**2))[..., None]
            picture = picture * (1 - blob) + np.array(colour) * blob
    return picture.round().astype(np.uint8)


def make_set(folder: Path, count: int = 12, seed: int = 0, persons: int = 1) -> Path:
    """A COCO-layout folder of ``count`` pictures with ``persons`` annotated people each."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for i in range(count):
        name = f"{1000 + i:012d}.png"
        boxes = []
        picture = None
        for _ in range(persons):
            joints = np.zeros((3, 3), np.float32)
            joints[:, 0] = rng.uniform(30, 70, 3)
            joints[:, 1] = rng.uniform(30, 90, 3)
            joints[:, 2] = 2
            boxes.append(joints)
            picture = make_picture(joints) if picture is None else picture
        write_image(folder / "val2017" / name, picture)
        images.append({"id": 1000 + i, "file_name": name, "width": 100, "height": 120})
        annotations += [
            {
                "id": len(annotations) + k + 1, "image_id": 1000 + i, "category_id": 1,
                "iscrowd": 0, "num_keypoints": 3, "keypoints": joints.ravel().tolist(),
                "bbox": [20, 20, 60, 80], "area": 2500.0,
            }
            for k, joints in enumerate(boxes)
        ]  # fmt: skip
    write_annotations(folder / "annotations" / "person_keypoints_val2017.json", images, annotations)
    return folder


def write_annotations(
    file: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]],
    names: tuple[str, ...] = NAMES,
) -> Path:  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    category = {"id": 1, "name": "person", "keypoints": list(names), "skeleton": []}
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [category]})
    )
    return file


def coco_person(keypoints: list[float] | None = None, **changes: Any) -> dict[str, Any]:
    """One annotation with all 17 COCO joints at (10, 20), unless told otherwise."""
    count = len(COCO_KEYPOINTS)
    return {
        "id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "num_keypoints": count,
        "keypoints": [10.0, 20.0, 2] * count if keypoints is None else keypoints,
        "bbox": [5, 5, 40, 60], "area": 1200.0, **changes,
    }  # fmt: skip
