from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgepose.decode import decode
from edgepose.spec import DecoderSpec
from edgepose.train.recipe import LossSettings
from edgepose.train.targets import (
    gaussian_axis,
    heatmap_loss,
    heatmap_targets,
    pose_loss,
    simcc_loss,
)
from tests.train.helpers import heatmap_spec, simcc_spec

SETTINGS = LossSettings()


def places(count: int, size: tuple[int, int], margin: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    span = torch.tensor([size[1], size[0]]) - 1 - 2 * margin
    return torch.rand(count, 3, 2, generator=generator) * span + margin


@pytest.mark.parametrize("alignment", ["half_pixel", "corner", "unit"])
@pytest.mark.parametrize("size", [(256, 192), (128, 96)])
def test_the_decoder_gives_the_joints_of_the_target_back(size, alignment):
    spec = heatmap_spec(size, decoder=DecoderSpec(name="dark", alignment=alignment))
    joints = places(50, size, margin=24)
    maps = heatmap_targets(joints, (size[0] // 4, size[1] // 4), spec, SETTINGS)
    found, scores = decode({"heatmaps": maps.numpy()}, spec)
    error_in_cells = np.linalg.norm(found - joints.numpy(), axis=-1) / 4
    assert error_in_cells.max() < 0.05
    assert scores.min() > 0.7


def test_the_peak_is_in_the_nearest_cell_up_to_the_border():
    spec = heatmap_spec((64, 48))
    joints = places(200, (64, 48), margin=0)
    maps = heatmap_targets(joints, (16, 12), spec, SETTINGS).flatten(2)
    row, column = maps.argmax(-1) // 12, maps.argmax(-1) % 12
    cells = (joints + 0.5) / 4 - 0.5
    nearest = cells.clamp_min(0).minimum(torch.tensor([11.0, 15.0]))
    assert (torch.stack([column, row], -1) - nearest).abs().max() <= 0.5 + 1e-4


def test_simcc_labels_decode_to_the_joints():
    spec = simcc_spec((64, 48), split_ratio=2.0)
    joints = places(50, (64, 48), margin=2)
    x = gaussian_axis(joints[..., 0], 96, 48, 2.0, spec).log()
    y = gaussian_axis(joints[..., 1], 128, 64, 2.0, spec).log()
    found, _ = decode({"simcc_x": x.numpy(), "simcc_y": y.numpy()}, spec)
    assert np.abs(found - joints.numpy()).max() <= 0.25 + 1e-3  # half a bin


def test_gaussian_has_its_height_and_width():
    spec = heatmap_spec((64, 48))
    line = gaussian_axis(torch.tensor(25.5), 16, 64, 2.0, spec)  # the centre of cell 6
    assert line.argmax() == 6
    assert line[6] == 1
    assert line[8].item() == pytest.approx(math.exp(-0.5))


def test_a_perfect_map_has_no_loss_and_a_wrong_one_has_more_the_farther_it_is():
    spec = heatmap_spec((64, 48))
    joints = torch.full((2, 3, 2), 23.0)
    targets = heatmap_targets(joints, (16, 12), spec, SETTINGS)
    weights = torch.ones(2, 3)
    assert heatmap_loss(targets, targets, weights, SETTINGS).item() == pytest.approx(0, abs=1e-5)
    losses = [
        heatmap_loss(
            heatmap_targets(joints + shift, (16, 12), spec, SETTINGS), targets, weights, SETTINGS
        ).item()
        for shift in (1.0, 3.0, 8.0)
    ]
    assert 0 < losses[0] < losses[1] < losses[2]


def test_the_height_counts_too():
    """The softmax cannot tell a lifted map from the target; the squared error can."""
    spec = heatmap_spec((64, 48))
    targets = heatmap_targets(torch.full((1, 3, 2), 23.0), (16, 12), spec, SETTINGS)
    weights = torch.ones(1, 3)
    assert heatmap_loss(targets + 0.3, targets, weights, SETTINGS) > 0.5
    blind = LossSettings(heatmap_mse=0)
    assert heatmap_loss(targets + 0.3, targets, weights, blind).abs() < 1e-4


@pytest.mark.parametrize("kind", ["heatmap", "simcc"])
def test_joints_of_weight_nothing_have_no_say(kind):
    spec = heatmap_spec((64, 48)) if kind == "heatmap" else simcc_spec((64, 48))
    shapes = {"heatmaps": (2, 3, 16, 12)}
    if kind == "simcc":
        shapes = {"simcc_x": (2, 3, 96), "simcc_y": (2, 3, 128)}
    generator = torch.Generator().manual_seed(0)
    outputs = {k: torch.randn(s, generator=generator).requires_grad_() for k, s in shapes.items()}
    joints = places(2, (64, 48), margin=4)
    weights = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    loss = pose_loss(outputs, joints, weights, spec, SETTINGS)
    loss.backward()
    for output in outputs.values():
        touched = output.grad.abs().flatten(2).sum(-1) > 0
        assert torch.equal(touched, weights > 0)
    # Where an ignored joint is annotated makes no difference, however absurd.
    moved = joints.clone()
    moved[weights == 0] = float("nan")
    assert torch.equal(loss, pose_loss(outputs, moved, weights, spec, SETTINGS))
    nobody = pose_loss(outputs, joints, torch.zeros(2, 3), spec, SETTINGS)
    assert nobody.item() == 0


def test_simcc_loss_is_least_at_the_label_and_sums_over_axes():
    spec = simcc_spec((64, 48))
    joints, weights = torch.full((1, 3, 2), 20.0), torch.ones(1, 3)
    sigma_x = max(SETTINGS.simcc_min_sigma, SETTINGS.simcc_sigma * 96)
    sigma_y = max(SETTINGS.simcc_min_sigma, SETTINGS.simcc_sigma * 128)
    best = {
        "simcc_x": gaussian_axis(joints[..., 0], 96, 48, sigma_x, spec).clamp_min(1e-30).log(),
        "simcc_y": gaussian_axis(joints[..., 1], 128, 64, sigma_y, spec).clamp_min(1e-30).log(),
    }
    assert simcc_loss(best, joints, weights, spec, SETTINGS).item() == pytest.approx(0, abs=1e-4)
    for axis in best:
        worse = {**best, axis: best[axis].roll(4, -1)}
        assert simcc_loss(worse, joints, weights, spec, SETTINGS) > 0.3
