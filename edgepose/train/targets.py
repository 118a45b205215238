"""Training targets and losses: Gaussian heatmaps and smoothed SimCC labels.

Joints of weight 0 (not annotated, or outside the crop) take no part in any loss.

The heatmap loss has two terms with the same minimum, the target map itself:

* the divergence between the spatial softmaxes of map and target, both times a temperature: it
  pulls the peak to the right place from the first step on, where plain squared error lingers at
  "nothing anywhere" because nearly all cells are background;
* the squared error, which fixes the height that the softmax cannot see, so that the maximum stays
  a confidence in 0..1.

SimCC (Li et al., ECCV 2022, section 3.3): each axis is a classification over bins; the label is a
Gaussian over the bins, normalised, and the loss the Kullback-Leibler divergence.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgepose.decode import pixels_to_cells
from edgepose.spec import PoseSpec
from edgepose.train.recipe import LossSettings

__all__ = ["gaussian_axis", "heatmap_loss", "heatmap_targets", "pose_loss", "simcc_loss"]


def pose_loss(
    outputs: dict[str, Tensor],
    joints: Tensor,
    weights: Tensor,
    spec: PoseSpec,
    settings: LossSettings,
) -> Tensor:
    """Loss of a batch.

    Args:
        outputs: What the model gave: ``heatmaps`` (B, K, h, w), or ``simcc_x`` and ``simcc_y``.
        joints: (B, K, 2) in crop pixels.
        weights: (B, K), 0 = ignore.
        spec: Output kind, alignment and input size.
        settings: Widths and weights.

    Returns:
        A scalar: the mean over the joints that count (0 where none does).
    """
    if spec.output == "heatmap":
        maps = outputs["heatmaps"].float()
        targets = heatmap_targets(joints, (maps.shape[2], maps.shape[3]), spec, settings)
        return heatmap_loss(maps, targets, weights, settings)
    return simcc_loss(outputs, joints, weights, spec, settings)


def gaussian_axis(
    position: Tensor, cells: int, pixels: int, sigma: float, spec: PoseSpec
) -> Tensor:
    """Gaussian along one axis, exactly at the joint's sub-cell place.

    Args:
        position: (...) in crop pixels.
        cells: Cells (or bins) of the axis.
        pixels: Crop pixels of the axis.
        sigma: Standard deviation in cells.
        spec: Its decoder's alignment says where cells lie.

    Returns:
        (..., cells) with maximum 1 at the joint.
    """
    # The rule is affine, so two of its values give it all.
    at_zero, at_one = pixels_to_cells(np.array([0.0, 1.0]), cells, pixels, spec.decoder.alignment)
    centre = position * float(at_one - at_zero) + float(at_zero)
    index = torch.arange(cells, device=position.device, dtype=position.dtype)
    return torch.exp(-((index - centre[..., None]) ** 2) / (2 * sigma**2))


def heatmap_targets(
    joints: Tensor, size: tuple[int, int], spec: PoseSpec, settings: LossSettings
) -> Tensor:
    """(B, K, h, w) Gaussians of height 1, exactly centred between the cells if need be."""
    height, width = size
    sigma = max(settings.heatmap_min_sigma, settings.heatmap_sigma * height)
    along_x = gaussian_axis(joints[..., 0], width, spec.input_size[1], sigma, spec)  # (B, K, w)
    along_y = gaussian_axis(joints[..., 1], height, spec.input_size[0], sigma, spec)  # (B, K, h)
    return along_y[..., :, None] * along_x[..., None, :]


def heatmap_loss(maps: Tensor, targets: Tensor, weights: Tensor, settings: LossSettings) -> Tensor:
    """Divergence of the spatial softmaxes plus squared error; see the module's text.

    Args:
        maps: (B, K, h, w) float32.
        targets: (B, K, h, w), maxima near 1.
        weights: (B, K).
        settings: Temperature and the weight of the squared error.
    """
    flat, wanted = maps.flatten(2), targets.flatten(2)  # (B, K, h*w)
    temperature = settings.heatmap_temperature
    log_given = F.log_softmax(flat * temperature, -1)
    log_wanted = F.log_softmax(wanted * temperature, -1)
    divergence = F.kl_div(log_given, log_wanted, reduction="none", log_target=True).sum(-1)
    # Over the target's own energy, so that 1 means "as bad as an empty map" at any resolution.
    squared = ((flat - wanted) ** 2).sum(-1) / (wanted**2).sum(-1).clamp_min(1e-3)
    return _mean_over_joints(divergence + settings.heatmap_mse * squared, weights)


def simcc_loss(
    outputs: dict[str, Tensor],
    joints: Tensor,
    weights: Tensor,
    spec: PoseSpec,
    settings: LossSettings,
) -> Tensor:
    """Mean divergence over both axes."""
    height, width = spec.input_size
    total = torch.zeros_like(weights)
    for axis, (name, pixels) in enumerate((("simcc_x", width), ("simcc_y", height))):
        logits = outputs[name].float()  # (B, K, bins)
        bins = logits.shape[-1]
        sigma = max(settings.simcc_min_sigma, settings.simcc_sigma * bins)
        label = gaussian_axis(joints[..., axis], bins, pixels, sigma, spec)
        label = label / label.sum(-1, keepdim=True).clamp_min(1e-6)
        log_given = F.log_softmax(logits, -1)
        total = total + F.kl_div(log_given, label, reduction="none").sum(-1) / 2  # (B, K)
    return _mean_over_joints(total, weights)


def _mean_over_joints(values: Tensor, weights: Tensor) -> Tensor:
    # A weight of 0 must also silence NaN or infinity of joints far outside the crop.
    kept = torch.where(weights > 0, values * weights, 0.0)
    return kept.sum() / weights.sum().clamp_min(1)
