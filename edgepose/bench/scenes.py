"""Real pictures with any number of people, to time artefacts on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepose.errors import ImageError
from edgepose.images import IMAGE_SUFFIXES, read_image
from edgepose.poses import Float32, UInt8
from edgepose.samples import load_samples

__all__ = ["Scene", "folder_scene", "sample_scene"]


@dataclass(frozen=True)
class Scene:
    """One picture and the boxes to look in.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        boxes: (N, 4) x0 y0 x1 y1.
        source: Where it is from, in words.
    """

    image: UInt8
    boxes: Float32
    source: str

    def people(self, count: int) -> Float32:
        """``count`` boxes: the scene's own, over and over, each time moved by a pixel."""
        repeats = -(-count // len(self.boxes))
        moved = [self.boxes + np.float32(turn) for turn in range(repeats)]
        return np.concatenate(moved)[:count]


def sample_scene() -> Scene:
    """The packaged photograph with the most people."""
    sample = max(load_samples(), key=lambda s: len(s.boxes))
    return Scene(sample.image, sample.boxes, f"packaged sample {sample.name}")


def folder_scene(folder: str | Path) -> Scene:
    """The first picture of a folder, taken as one person.

    Raises:
        ImageError: There is no picture in the folder.
    """
    folder = Path(folder)
    pictures = sorted(p for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not pictures:
        raise ImageError(
            f"{folder} holds no picture", f"looked for {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    image = read_image(pictures[0])
    whole = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32)
    return Scene(image, whole, pictures[0].name)
