from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.errors import ImageError, OutputError
from edgepose.images import read_image, write_image
from edgepose.samples import load_samples


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    write_image(path, noise)
    return path


def test_truncated_jpeg(jpeg: Path) -> None:
    jpeg.write_bytes(jpeg.read_bytes()[:-400])
    with pytest.raises(ImageError, match="truncated"):
        read_image(jpeg)


def test_zero_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(ImageError, match="empty"):
        read_image(tmp_path / "a.png")


def test_no_picture_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(ImageError, match="not a picture"):
        read_image(tmp_path / "a.png")
    with pytest.raises(ImageError, match="No such file"):
        read_image(tmp_path / "b.png")


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((8, 6), 100, np.uint8),
        np.full((8, 6, 4), 100, np.uint8),
        np.full((8, 6, 3), 100 * 257, np.uint16),
        np.full((8, 6), 100 * 257, np.uint16),
    ],
    ids=["grey", "rgba", "16 bit", "16 bit grey"],
)
def test_odd_kinds_are_read_as_bgr(tmp_path: Path, pixels: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    image = read_image(tmp_path / "a.png")
    assert image.shape == (8, 6, 3)
    assert image.dtype == np.uint8
    assert (image == 100).all()


def test_write_refuses_unknown_formats(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no picture format"):
        write_image(tmp_path / "a.xyz", np.zeros((4, 4, 3), np.uint8))


def test_samples_are_whole() -> None:
    samples = load_samples()
    assert len(samples) == 8
    assert sum(len(s.boxes) for s in samples) >= 11
    for sample in samples:
        assert "CC BY 2.0" in sample.credit
        height, width = sample.image.shape[:2]
        assert (sample.boxes[:, 2] <= width + 1).all()
        assert (sample.boxes[:, 3] <= height + 1).all()


def test_a_header_that_claims_a_giant_picture(tmp_path: Path) -> None:
    """60000 x 60000 pixels in 57 bytes: OpenCV itself raises."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    png += struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IEND\xaeB`\x82"
    (tmp_path / "a.png").write_bytes(png)
    with pytest.raises(ImageError, match=r"a\.png"):
        read_image(tmp_path / "a.png")
