from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from edgepose.crops import box_affines
from edgepose.errors import DatasetError, OutputError
from edgepose.images import read_image
from edgepose.train import store as store_module
from edgepose.train.annotations import read_set
from edgepose.train.store import StoreShape, cut_out, default_cache, open_store, store_shape
from tests.train.helpers import COLOURS, KEYPOINTS, make_picture, make_set

SHAPE = StoreShape((96, 72), 1.8)


def test_pixels_and_joints_agree(tmp_path):
    people = read_set(make_set(tmp_path / "set", 5), KEYPOINTS)
    packed = open_store(people, SHAPE, tmp_path / "cache")
    assert packed.pixels.shape == (5, 96, 72, 3)
    assert packed.pixels.dtype == np.uint8
    # make_set paints a dot of its own colour on each joint; later dots cover earlier ones, so only
    # the last joint's dot is surely whole.
    for picture, joints in zip(packed.pixels, packed.joints, strict=True):
        x, y, _ = joints[2]
        distance = np.abs(picture.astype(int) - COLOURS[2]).sum(-1)
        row, column = np.unravel_index(distance.argmin(), distance.shape)
        assert abs(column - x) < 1
        assert abs(row - y) < 1


def test_packs_once_and_again_when_annotations_change(tmp_path, monkeypatch):
    folder = make_set(tmp_path / "set", 3)
    cache = tmp_path / "cache"
    calls: list[tuple[int, int]] = []
    open_store(read_set(folder, KEYPOINTS), SHAPE, cache, lambda d, n: calls.append((d, n)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    open_store(read_set(folder, KEYPOINTS), SHAPE, cache, lambda d, n: calls.append((d, n)))
    assert len(calls) == 3
    make_set(folder, 3, seed=9)
    open_store(read_set(folder, KEYPOINTS), SHAPE, cache)
    open_store(read_set(folder, KEYPOINTS), StoreShape((64, 48), 1.8), cache)
    assert len(list(cache.glob("*.npy"))) == 3


def test_several_people_of_one_photo(tmp_path):
    people = read_set(make_set(tmp_path / "set", 2, persons=3), KEYPOINTS)
    packed = open_store(people, SHAPE, tmp_path / "cache")
    assert len(packed) == 6
    assert (packed.pixels[0] == packed.pixels[1]).all()  # same box, same photo


def test_an_interruption_leaves_the_queued_photos_and_no_file(tmp_path, monkeypatch):
    people = read_set(make_set(tmp_path / "set", 40), KEYPOINTS)
    read: list[object] = []

    def slow(image):
        read.append(image)
        time.sleep(0.02)
        return read_image(image)

    def interrupt(done, count):
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "read_image", slow)
    with pytest.raises(KeyboardInterrupt):
        open_store(people, SHAPE, tmp_path / "cache", interrupt)
    assert 1 <= len(read) < 20
    assert not list((tmp_path / "cache").iterdir())


def test_corrupt_images_are_listed_and_nothing_is_kept(tmp_path):
    folder = make_set(tmp_path / "set", 6)
    for i in (0, 2):
        file = folder / "val2017" / f"{1000 + i:012d}.png"
        file.write_bytes(file.read_bytes()[:60] if i else b"")
    with pytest.raises(DatasetError, match="2 images of 'val2017' cannot be read") as caught:
        open_store(read_set(folder, KEYPOINTS), SHAPE, tmp_path / "cache")
    assert "000000001000.png (the file is empty)" in str(caught.value)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY rubbish", b"half"])
def test_a_damaged_cache_is_refused(tmp_path, content):
    people = read_set(make_set(tmp_path / "set", 2), KEYPOINTS)
    open_store(people, SHAPE, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:5000] if content == b"half" else content)
    with pytest.raises(DatasetError, match="is damaged"):
        open_store(people, SHAPE, tmp_path / "cache")


def test_a_disk_too_full_is_known_before(tmp_path, monkeypatch):
    people = read_set(make_set(tmp_path / "set", 2), KEYPOINTS)
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match="cannot pack"):
        open_store(people, SHAPE, tmp_path / "cache")


def test_averaging_keeps_places():
    joints = np.array([[100, 150, 2], [300, 200, 2], [220, 420, 2]], np.float32)
    image = make_picture(joints, (600, 480))
    image = np.repeat(np.repeat(image, 2, 0), 2, 1)  # 1200 x 960: each pixel doubled
    affines = box_affines(np.array([[0, 0, 960, 1200]], np.float32), (120, 96), 1.0)
    picture = cut_out(image, affines, (120, 96))[0]
    for channel, (x, y, _) in enumerate(joints):
        expected = (np.array([x, y]) * 2 + 0.5 + 0.5) / 10 - 0.5
        # Only its own dot is brighter than the background in a joint's channel.
        weight = (picture[..., channel].astype(float) - 90).clip(0)
        rows, columns = np.mgrid[:120, :96]
        found = [(weight * v).sum() / weight.sum() for v in (columns, rows)]
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_averaging_removes_what_sampling_would_alias():
    stripes = np.zeros((240, 180, 3), np.uint8)
    stripes[:, ::2] = 200
    affines = box_affines(np.array([[0, 0, 180, 240]], np.float32), (40, 30), 1.0)
    assert np.ptp(cut_out(stripes, affines, (40, 30))[0, 2:-2, 2:-2].astype(int)) <= 1


@pytest.mark.parametrize(
    ("input_size", "expected"),
    [((128, 96), (256, 192)), ((32, 32), (128, 128)), ((256, 192), (384, 288)),
     ((384, 288), (557, 418))],
)  # fmt: skip
def test_store_shape(input_size, expected):
    shape = store_shape(input_size, 1.25)
    assert shape.size == expected
    # Never coarser than the input it is sampled for.
    assert shape.size[0] / shape.padding >= input_size[0] / 1.25 * 0.999


def test_default_cache_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "edgepose" / "train"


def test_packed_pictures_equal_the_inference_crop(tmp_path):
    """Without augmentation and at equal scale, training sees what inference sees."""
    from edgepose.crops import warp_crops

    people = read_set(make_set(tmp_path / "set", 1), KEYPOINTS)
    shape = StoreShape((64, 48), 1.25)
    packed = open_store(people, shape, tmp_path / "cache")
    record = people.records[0]
    crop = warp_crops(
        read_image(record.image), box_affines(record.box[None], (64, 48), 1.25), (64, 48)
    )
    assert (packed.pixels[0] == crop[0]).all()
