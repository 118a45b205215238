from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.bench import folder_scene, sample_scene
from edgepose.errors import ImageError
from edgepose.poses import check_boxes


def test_a_scene_has_as_many_people_as_asked_for() -> None:
    scene = sample_scene()
    assert len(scene.boxes) > 1
    for count in (1, 3, 8, 33):
        boxes = check_boxes(scene.people(count), scene.image.shape)
        assert len(np.unique(boxes, axis=0)) == count


def test_the_first_picture_of_a_folder_is_one_person(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no picture"):
        folder_scene(tmp_path)
    for name, level in (("b.png", 9), ("a.png", 5)):
        cv2.imwrite(str(tmp_path / name), np.full((30, 20, 3), level, np.uint8))
    scene = folder_scene(tmp_path)
    assert (scene.source, scene.image.max()) == ("a.png", 5)
    assert scene.boxes.tolist() == [[0, 0, 20, 30]]
