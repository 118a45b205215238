from __future__ import annotations

import numpy as np
import pytest
import torch

from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.spec import COCO_KEYPOINTS
from edgepose.train.augment import Augmenter, step_generator
from edgepose.train.recipe import Augmentation
from edgepose.train.store import StoreShape
from tests.train.helpers import heatmap_spec, make_picture

SHAPE = StoreShape((128, 96), 1.8)
# Everything geometric, nothing that recolours or covers the dots.
GEOMETRY = Augmentation(
    flip=0.5, scale=(0.8, 1.3), rotation=0.7, rotation_degrees=40, translation=0.05,
    half_body=0, colour=0, cutout=0, blur=0, antialias=0,
)  # fmt: skip


def stored(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Packed pictures with a coloured dot on each of three joints, well apart."""
    rng = np.random.default_rng(seed)
    joints = np.zeros((count, 3, 3), np.float32)
    joints[..., 0] = rng.uniform(25, 70, (count, 3))
    joints[..., 1] = np.array([35, 64, 93]) + rng.uniform(-6, 6, (count, 3))
    joints[..., 2] = 2
    pixels = np.stack([make_picture(j, SHAPE.size) for j in joints])
    return torch.from_numpy(pixels), torch.from_numpy(joints)


def dots(crops: torch.Tensor, spec) -> np.ndarray:
    """(B, 3, 2) centres of the blue, green and red dot of each normalised crop."""
    mean, std = torch.tensor(spec.mean)[:, None, None], torch.tensor(spec.std)[:, None, None]
    bgr = (crops * std + mean).flip(1).numpy()
    rows, columns = np.mgrid[: bgr.shape[2], : bgr.shape[3]]
    found = np.zeros((len(bgr), 3, 2))
    for i, picture in enumerate(bgr):
        for c in range(3):
            weight = (picture[c] - 100).clip(0)
            total = max(weight.sum(), 1.0)
            found[i, c] = [(weight * v).sum() / total for v in (columns, rows)]
    return found


def test_a_dot_painted_on_a_joint_ends_where_the_joint_ends():
    spec = heatmap_spec((64, 48))
    pixels, joints = stored(48)
    crops, moved, weights = Augmenter(GEOMETRY, spec, SHAPE)(pixels, joints, step_generator(0, 0))
    assert crops.shape == (48, 3, 64, 48)
    assert crops.is_contiguous(memory_format=torch.channels_last)
    # Joints 1 and 2 are a flip pair: in a mirrored crop they swap, their dots do not.
    centres, places = dots(crops, spec), moved.numpy()
    # A dot cut by the border has its centre of mass elsewhere.
    whole = ((places > 6) & (places < np.array([48, 64]) - 7)).all(-1)  # (B, 3)
    direct = np.linalg.norm(centres - places, axis=-1)
    crossed = np.linalg.norm(centres[:, [0, 2, 1]] - places, axis=-1)
    mirrored = (crossed * whole).sum(1) < (direct * whole).sum(1)
    assert 0.25 < mirrored.mean() < 0.75
    error = np.where(mirrored[:, None], crossed, direct)
    assert whole.sum() > 90
    assert error[whole].max() < 0.25
    assert (weights.numpy()[whole] == 1).all()


def test_plain_crops_are_those_of_inference():
    """No augmentation: the same pixels and joints as crops.warp_crops and to_input give."""
    spec = heatmap_spec((64, 48))
    box = np.array([[30, 20, 66, 68]], np.float32)
    image = make_picture(np.array([[40, 30, 2], [50, 45, 2], [55, 60, 2]], np.float32), (90, 100))
    shape = StoreShape((128, 96), 1.25 * 2)  # half as fine as it is large: 1 stored px = 1 crop px
    affine = box_affines(box, shape.size, shape.padding)
    pixels = torch.from_numpy(warp_crops(image, affine, shape.size))
    joints = torch.tensor([[[40.0, 30.0, 2.0]]]).numpy()
    joints[..., :2] = joints[..., :2] @ affine[0, :, :2].T + affine[0, :, 2]
    augmenter = Augmenter(Augmentation.none(), spec, shape)
    three = np.repeat(joints, 3, 1)
    crops, moved, _ = augmenter(pixels, torch.from_numpy(three), step_generator(0, 0))
    plain = box_affines(box, spec.input_size, spec.padding)
    expected = to_input(warp_crops(image, plain, spec.input_size), spec)
    # Sampled twice instead of once, both times on a grid: only rounding to uint8 differs.
    assert np.abs(crops.numpy() - expected).max() < 2.5 / 57
    np.testing.assert_allclose(moved[0, 0], plain[0, :, :2] @ [40, 30] + plain[0, :, 2], atol=1e-3)


def test_flip_swaps_pairs():
    spec = heatmap_spec((64, 48))
    pixels, joints = stored(4)
    always = Augmentation(**{**vars(Augmentation.none()), "flip": 1.0})
    plain = Augmenter(Augmentation.none(), spec, SHAPE)(pixels, joints, step_generator(0, 0))
    mirrored = Augmenter(always, spec, SHAPE)(pixels, joints, step_generator(0, 0))
    torch.testing.assert_close(mirrored[0], plain[0].flip(3), atol=1e-3, rtol=0)
    expected = plain[1][:, [0, 2, 1]].clone()
    expected[..., 0] = 47 - expected[..., 0]
    torch.testing.assert_close(mirrored[1], expected)


def test_joints_outside_or_unlabelled_weigh_nothing():
    spec = heatmap_spec((64, 48))
    pixels, joints = stored(8)
    joints[:, 1, 2] = 0
    joints[:, 2, :2] = torch.tensor([1.0, 1.0])  # in the packed picture, but outside the plain box
    _, moved, weights = Augmenter(Augmentation.none(), spec, SHAPE)(
        pixels, joints, step_generator(0, 0)
    )
    assert weights[:, 0].eq(1).all()
    assert weights[:, 1].eq(0).all()
    assert weights[:, 2].eq(0).all()
    assert (moved[:, 2] < 0).all()


def test_depends_on_seed_and_step_alone():
    spec = heatmap_spec((64, 48))
    pixels, joints = stored(6)
    augmenter = Augmenter(Augmentation(), spec, SHAPE)
    first = augmenter(pixels, joints, step_generator(1, 5))
    torch.rand(100)
    again = augmenter(pixels, joints, step_generator(1, 5))
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)
    for other in (step_generator(1, 6), step_generator(2, 5), step_generator(1, 5, rank=1)):
        assert not torch.equal(first[1], augmenter(pixels, joints, other)[1])


def test_half_bodies_are_centred_on_their_joints():
    spec = heatmap_spec((64, 48), keypoints=COCO_KEYPOINTS)
    joints = torch.zeros(40, 17, 3)
    joints[..., 2] = 2
    joints[:, :11, 0], joints[:, 11:, 0] = 48, 48
    joints[:, :11, 1] = torch.linspace(30, 50, 11)
    joints[:, 11:, 1] = torch.linspace(70, 100, 6)
    pixels = torch.zeros(40, 128, 96, 3, dtype=torch.uint8)
    only = Augmentation(**{**vars(Augmentation.none()), "half_body": 1.0})
    _, moved, weights = Augmenter(only, spec, SHAPE)(pixels, joints, step_generator(0, 0))
    upper, lower = moved[:, :11, 1].mean(1), moved[:, 11:, 1].mean(1)
    is_upper = (upper - 31.5).abs() < 0.01
    is_lower = (lower - 31.5).abs() < 0.01
    assert (is_upper ^ is_lower).all()
    assert 8 < is_upper.sum() < 32
    assert weights[is_upper][:, :11].eq(1).all()
    # With few joints labelled there is nothing to cut in two.
    joints[:, 7:, 2] = 0
    _, whole, _ = Augmenter(only, spec, SHAPE)(pixels, joints, step_generator(0, 0))
    assert torch.equal(whole, whole[:1].expand_as(whole))


def test_colour_changes_stay_in_the_range_of_pixels():
    spec = heatmap_spec((64, 48))
    pixels, joints = stored(16)
    strong = Augmentation(**{**vars(Augmentation.none()), "colour": 0.9})
    plain = Augmenter(Augmentation.none(), spec, SHAPE)(pixels, joints, step_generator(0, 0))[0]
    crops = Augmenter(strong, spec, SHAPE)(pixels, joints, step_generator(0, 0))[0]
    std, mean = torch.tensor(spec.std)[:, None, None], torch.tensor(spec.mean)[:, None, None]
    values = crops * std + mean
    assert values.min() > -0.01
    assert values.max() < 255.01
    assert (crops - plain).abs().amax((1, 2, 3)).min() > 0.05


def test_cutout_hides_one_rectangle_and_blur_smooths():
    spec = heatmap_spec((64, 48))
    pixels = torch.randint(0, 255, (12, 128, 96, 3), dtype=torch.uint8)
    joints = torch.full((12, 3, 3), 50.0)
    cover = Augmentation(**{**vars(Augmentation.none()), "cutout": 1.0, "cutout_size": (0.3, 0.3)})
    crops = Augmenter(cover, spec, SHAPE)(pixels, joints, step_generator(0, 0))[0]
    hidden = (crops == 0).all(1)
    share = hidden.float().mean((1, 2))
    assert share.max() < 0.11
    assert share.min() > 0.01
    for mask in hidden:
        rows, columns = mask.any(1), mask.any(0)
        assert mask.sum() == rows.sum() * columns.sum()
    soft = Augmentation(**{**vars(Augmentation.none()), "blur": 1.0})
    plain = Augmenter(Augmentation.none(), spec, SHAPE)(pixels, joints, step_generator(0, 0))[0]
    blurred = Augmenter(soft, spec, SHAPE)(pixels, joints, step_generator(0, 0))[0]
    assert blurred.std() < 0.6 * plain.std()


@pytest.mark.parametrize("input_size", [(32, 24), (32, 32)])
def test_averaged_pictures_lie_in_the_same_place(input_size):
    spec = heatmap_spec(input_size)
    pixels, joints = stored(12)
    smooth = Augmentation(**{**vars(Augmentation.none()), "antialias": 1.0})
    sharp = Augmenter(Augmentation.none(), spec, SHAPE)(pixels, joints, step_generator(0, 0))
    other = Augmenter(smooth, spec, SHAPE)(pixels, joints, step_generator(0, 0))
    assert not torch.equal(sharp[0], other[0])
    np.testing.assert_allclose(dots(other[0], spec), dots(sharp[0], spec), atol=0.25)
