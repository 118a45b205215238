from __future__ import annotations

import numpy as np
import pytest

from edgepose.stream.letterbox import letterbox


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("shape", [(1080, 1920), (640, 427), (50, 50), (3, 900)])
def test_the_picture_keeps_its_shape_and_boxes_find_back(
    shape: tuple[int, int], centred: bool
) -> None:
    image = np.full((*shape, 3), 200, np.uint8)
    fitted = letterbox(image, (416, 320), centred=centred, fill=114)
    assert fitted.image.shape == (416, 320, 3)
    rows, columns = np.nonzero(fitted.image[..., 0] == 200)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
    np.testing.assert_allclose(
        fitted.to_image(box), [[0, 0, shape[1], shape[0]]], rtol=1e-4, atol=1e-3
    )
    assert (fitted.image[0, 0, 0] == 200) or centred
    outside = fitted.image.reshape(-1, 3)[(fitted.image != 200).any(2).ravel()]
    assert (outside == 114).all()
