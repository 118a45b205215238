"""Small COCO folders made of nothing, and a model that knows the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgepose.spec import COCO_KEYPOINTS, DecoderSpec, PoseSpec
from tests.fakes import FakeRunner

# A standing person in a unit box, COCO order.
STANDING = np.array(
    [
        (0.50, 0.08),
        (0.54, 0.06),
        (0.46, 0.06),
        (0.60, 0.08),
        (0.40, 0.08),
        (0.70, 0.22),
        (0.30, 0.22),
        (0.82, 0.36),
        (0.18, 0.36),
        (0.90, 0.50),
        (0.10, 0.50),
        (0.62, 0.52),
        (0.38, 0.52),
        (0.64, 0.74),
        (0.36, 0.74),
        (0.66, 0.96),
        (0.34, 0.96),
    ]
)


def person(
    number: int, image_id: int, box: tuple[float, float, float, float], **changes: Any
) -> dict[str, Any]:
    """One annotation; ``box`` is COCO's x, y, width, height."""
    x, y, w, h = box
    joints = np.ones((17, 3)) * 2
    joints[:, :2] = STANDING * (w, h) + (x, y)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": 17,
        "keypoints": joints.ravel().tolist(),
        "bbox": list(box),
        "area": w * h * 0.6,
    } | changes


def write_folder(
    root: Path,
    annotations: list[dict[str, Any]],
    images: dict[int, str],
    *,
    split: str = "val2017",
    names: tuple[str, ...] = COCO_KEYPOINTS.names,
    flat: bool = False,
) -> Path:
    """Write annotations and pictures of 200x150 in which person n's box has the grey level n."""
    pictures = root / ("images" if flat else split)
    pictures.mkdir(parents=True)
    for image_id, name in images.items():
        canvas = np.zeros((150, 200, 3), np.uint8)
        for annotation in annotations:
            if annotation["image_id"] == image_id and not annotation["iscrowd"]:
                x, y, w, h = (round(v) for v in annotation["bbox"])
                canvas[max(y, 0) : y + h, max(x, 0) : x + w] = annotation["id"]
        cv2.imwrite(str(pictures / name), canvas)
    data = {
        "images": [
            {"id": i, "file_name": name, "width": 200, "height": 150} for i, name in images.items()
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(names)}],
    }
    file = "person_keypoints.json" if flat else f"annotations/person_keypoints_{split}.json"
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text(json.dumps(data))
    return root


def oracle(
    annotations: list[dict[str, Any]],
    size: tuple[int, int] = (64, 48),
    buckets: tuple[int, ...] | None = None,
    **spec: Any,
) -> FakeRunner:
    """A model that reads the person's number off the crop's centre and gives the annotated joints.

    The way into the crop is written out here on its own, from the definition: the box grows to
    the crop's shape, then by 1.25, and its centre is the crop's centre.
    """
    by_number = {a["id"]: a for a in annotations}

    def respond(crops: np.ndarray) -> dict[str, np.ndarray]:
        keypoints = np.zeros((len(crops), 17, 2), np.float32)
        for row, crop in enumerate(crops):
            number = int(crop[size[0] // 2, size[1] // 2, 0])
            if number == 0:
                continue  # padding of a bucket
            x, y, w, h = by_number[number]["bbox"]
            pixels_wide = max(w, h * size[1] / size[0]) * 1.25
            joints = np.asarray(by_number[number]["keypoints"]).reshape(17, 3)[:, :2]
            from_centre = joints + 0.5 - (x + w / 2, y + h / 2)
            keypoints[row] = from_centre * size[1] / pixels_wide + (size[1] / 2, size[0] / 2) - 0.5
        return {"keypoints": keypoints, "scores": np.full((len(crops), 17), 0.8, np.float32)}

    return FakeRunner(
        PoseSpec(
            model="oracle",
            input_size=size,
            output="keypoints",
            decoder=DecoderSpec(name="none"),
            layout="nhwc",
            dtype="uint8",
            colour="bgr",
            mean=(0, 0, 0),
            std=(1, 1, 1),
            **spec,
        ),
        respond,
        buckets=buckets,
    )


def mpii_person(
    image: str, centre: tuple[float, float], scale: float, **changes: Any
) -> dict[str, Any]:
    """One row of MPII's JSON form; joints lie on a circle, one of them not annotated."""
    angles = np.arange(16) / 16 * 2 * np.pi
    joints = np.stack([np.cos(angles), np.sin(angles)], 1) * 60 * scale + centre
    return {
        "image": image,
        "center": list(centre),
        "scale": scale,
        "joints": joints.tolist(),
        "joints_vis": [0] + [1] * 15,
        "headbox": [10, 10, 40, 50],  # 50 px from corner to corner
    } | changes


def write_mpii(root: Path, people: list[dict[str, Any]], name: str = "annot/valid.json") -> Path:
    """Write annotations, and grey pictures of 300x200."""
    (root / "images").mkdir(parents=True)
    for row in people:
        grey = np.full((200, 300, 3), 80, np.uint8)
        cv2.imwrite(str(root / "images" / str(row["image"])), grey)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(json.dumps(people))
    return root
