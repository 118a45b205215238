"""Augmentation of a whole batch at once, on the device the model trains on.

One resampling takes packed pictures (see :mod:`edgepose.train.store`) to normalised input crops;
joints go through the same affine. Random numbers are drawn on the CPU from a generator seeded by
(seed, step), so that a resumed run and every device see the same crops.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgepose.spec import KeypointSet, PoseSpec
from edgepose.train.recipe import Augmentation
from edgepose.train.store import StoreShape

__all__ = ["Augmenter", "step_generator"]

_BELOW_WAIST = ("hip", "knee", "ankle", "foot", "toe", "heel")
# A half body needs this many joints, and the person this many in all, to be cut in two.
_HALF_JOINTS, _WHOLE_JOINTS = 3, 8


def step_generator(seed: int, step: int, rank: int = 0) -> torch.Generator:
    """A CPU generator that depends on nothing but its arguments."""
    generator = torch.Generator()
    # Odd multipliers keep the three apart in 63 bits.
    generator.manual_seed((seed * 1_000_003 + step * 2_097_169 + rank * 7_919) % (2**63))
    return generator


@dataclass(frozen=True)
class Windows:
    """Which part of each packed picture becomes the crop.

    Attributes:
        centre: (B, 2) in continuous picture coordinates (pixel i spans i..i+1).
        width: (B,) of the window, in picture pixels.
        angle: (B,) in radians.
        mirror: (B,) +1, or -1 where the crop is mirrored.
    """

    centre: Tensor
    width: Tensor
    angle: Tensor
    mirror: Tensor


class Augmenter:
    """Packed pictures and joints -> input crops and joints in crop pixels.

    Args:
        settings: How far to go.
        spec: Input size, colours, normalisation, padding and keypoints of the model.
        shape: How the pictures were packed.
    """

    def __init__(self, settings: Augmentation, spec: PoseSpec, shape: StoreShape) -> None:
        self.settings = settings
        self.spec = spec
        self.shape = shape
        self._swap = torch.tensor(spec.keypoints.flip_order)
        self._lower = _below_waist(spec.keypoints)

    def __call__(
        self, pixels: Tensor, joints: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Augment one batch.

        Args:
            pixels: (B, Hs, Ws, 3) uint8 BGR on the device.
            joints: (B, K, 3) float32 x, y, v in picture pixels, on the CPU.
            generator: CPU generator; see :func:`step_generator`.

        Returns:
            (B, 3, H, W) float32 normalised crops, channels_last, on the device; (B, K, 2) joints
            in crop pixels and (B, K) 0/1 weights, on the CPU. A joint that is not annotated or
            lies outside the crop weighs 0.
        """
        windows = self._draw(joints, generator)
        moved, weights = self._move_joints(joints, windows)
        crops = self._sample(pixels, windows, generator)
        crops = self._recolour(crops, generator)
        crops = self._hide(crops, generator)
        return crops.contiguous(memory_format=torch.channels_last), moved, weights

    def _draw(self, joints: Tensor, generator: torch.Generator) -> Windows:
        settings, count = self.settings, len(joints)
        height, width = self.shape.size
        room = self.shape.padding / self.spec.padding
        plain = torch.tensor([width / 2, height / 2])

        def uniform(low: float, high: float) -> Tensor:
            return torch.rand(count, generator=generator) * (high - low) + low

        def chosen(probability: float) -> Tensor:
            return torch.rand(count, generator=generator) < probability

        centre = plain.expand(count, 2).clone()
        extent = torch.full((count,), width / room)
        half = chosen(settings.half_body)
        half_centre, half_extent, possible = self._half_bodies(joints, chosen(0.5))
        half &= possible
        centre[half], extent[half] = half_centre[half], half_extent[half]
        extent = extent * uniform(*settings.scale)
        angle = uniform(-1, 1) * torch.pi * settings.rotation_degrees / 180
        angle = torch.where(chosen(settings.rotation), angle, 0.0)
        shift = torch.stack([uniform(-1, 1), uniform(-1, 1) * height / width], 1)  # (B, 2)
        centre = centre + shift * settings.translation * extent[:, None]
        mirror = torch.where(chosen(settings.flip), -1.0, 1.0)
        return Windows(centre, extent, angle, mirror)

    def _half_bodies(self, joints: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Centre and padded width of one half of each body, and whether it has enough joints."""
        wanted = torch.where(upper[:, None], ~self._lower, self._lower)  # (B, K)
        seen = joints[..., 2] > 0
        part = seen & wanted
        possible = (part.sum(1) >= _HALF_JOINTS) & (seen.sum(1) >= _WHOLE_JOINTS)
        xy = joints[..., :2] + 0.5
        low = xy.masked_fill(~part[..., None], torch.inf).amin(1)  # (B, 2)
        high = xy.masked_fill(~part[..., None], -torch.inf).amax(1)
        height, width = self.shape.size
        extent = (high - low).clamp_min(1)
        # 1.2 stands for the flesh beyond the outermost joints, as a box would have it.
        grown = torch.maximum(extent[:, 0], extent[:, 1] * width / height)
        return (low + high) / 2, grown * 1.2 * self.spec.padding, possible

    def _move_joints(self, joints: Tensor, windows: Windows) -> tuple[Tensor, Tensor]:
        height, width = self.spec.input_size
        cosine, sine = windows.angle.cos()[:, None], windows.angle.sin()[:, None]
        offset = joints[..., :2] + 0.5 - windows.centre[:, None]  # (B, K, 2)
        # The inverse rotation: the window turns by +angle, so its content turns by -angle.
        x = cosine * offset[..., 0] + sine * offset[..., 1]
        y = cosine * offset[..., 1] - sine * offset[..., 0]
        scale = (width / windows.width)[:, None]
        x = x * scale * windows.mirror[:, None] + width / 2 - 0.5
        y = y * scale + height / 2 - 0.5
        moved = torch.stack([x, y], -1)  # (B, K, 2)
        weights = (joints[..., 2] > 0).float()
        mirrored = windows.mirror < 0
        moved[mirrored] = moved[mirrored][:, self._swap]
        weights[mirrored] = weights[mirrored][:, self._swap]
        limit = torch.tensor([width, height]) - 0.5
        inside = ((moved > -0.5) & (moved < limit)).all(-1)
        return moved, weights * inside

    def _sample(self, pixels: Tensor, windows: Windows, generator: torch.Generator) -> Tensor:
        height, width = self.spec.input_size
        stored_height, stored_width = self.shape.size
        source = pixels.permute(0, 3, 1, 2).float()  # (B, 3, Hs, Ws), memory stays NHWC
        # Stored pixels a crop pixel steps over, for the plain box.
        step = stored_width * self.spec.padding / (self.shape.padding * width)
        smooth = bool(torch.rand((), generator=generator) < self.settings.antialias)
        if smooth and step >= 1.5:
            source = F.avg_pool2d(source, max(2, int(step)), ceil_mode=True)
        device = pixels.device
        x = torch.arange(width, device=device) + 0.5 - width / 2
        y = torch.arange(height, device=device) + 0.5 - height / 2
        scale = (windows.width / width).to(device)
        cosine = (windows.angle.cos()).to(device) * scale
        sine = (windows.angle.sin()).to(device) * scale
        mirror = windows.mirror.to(device)
        # In grid_sample's terms: -1..1 over the picture, whatever its resolution.
        to_unit = torch.tensor([2 / stored_width, 2 / stored_height], device=device)
        linear = torch.stack(
            [torch.stack([cosine * mirror, -sine], 1), torch.stack([sine * mirror, cosine], 1)], 1
        )  # (B, 2, 2): crop offset (x, y) -> picture offset (x, y)
        linear = linear * to_unit[None, :, None]
        origin = windows.centre.to(device) * to_unit - 1  # (B, 2)
        grid = (
            x[None, None, :, None] * linear[:, None, None, :, 0]
            + y[None, :, None, None] * linear[:, None, None, :, 1]
            + origin[:, None, None]
        )  # (B, H, W, 2)
        return F.grid_sample(source, grid, align_corners=False)

    def _recolour(self, crops: Tensor, generator: torch.Generator) -> Tensor:
        """Colour changes and normalisation as one 3x3 matrix and one shift a person."""
        strength, count = self.settings.colour, len(crops)

        def spread(*shape: int) -> Tensor:
            return (torch.rand(count, *shape, generator=generator) * 2 - 1) * strength

        contrast = (1 + spread(1, 1)) * (1 + spread(3, 1) * 0.3)  # (B, 3, 1): tint on its rows
        saturation = 1 + spread(1, 1) * 1.5
        brightness = spread(1, 1) * 100 + spread(3, 1) * 20
        grey = torch.tensor([0.114, 0.587, 0.299]).expand(3, 3)  # BGR weights on each row
        matrix = contrast * (saturation * torch.eye(3) + (1 - saturation) * grey)  # (B, 3, 3)
        # Contrast turns about mid-grey, not about black.
        shift = (1 - contrast) * 110 + brightness
        if self.spec.colour == "rgb":
            matrix, shift = matrix.flip(1), shift.flip(1)
        std = torch.tensor(self.spec.std)[:, None]
        mean = torch.tensor(self.spec.mean)[:, None]
        low, high = -mean / std, (255 - mean) / std
        matrix, shift = matrix / std, (shift - mean) / std
        device = crops.device
        flat = crops.flatten(2)  # (B, 3, H*W)
        mixed = torch.baddbmm(shift.to(device), matrix.to(device), flat).view_as(crops)
        mixed = self._blur(mixed, generator)
        if strength > 0:
            mixed = mixed.clamp(low.to(device)[..., None], high.to(device)[..., None])
        return mixed

    def _blur(self, crops: Tensor, generator: torch.Generator) -> Tensor:
        chosen = torch.rand(len(crops), generator=generator) < self.settings.blur
        if chosen.any():
            index = chosen.nonzero()[:, 0].to(crops.device)
            part = F.avg_pool2d(crops[index], 3, 1, 1, count_include_pad=False)
            crops = crops.index_copy(0, index, part)
        return crops

    def _hide(self, crops: Tensor, generator: torch.Generator) -> Tensor:
        """One rectangle set to 0, the mean colour."""
        if self.settings.cutout == 0:
            return crops
        count, _, height, width = crops.shape
        device = crops.device
        chosen = torch.rand(count, generator=generator) < self.settings.cutout
        small, large = self.settings.cutout_size
        centre = torch.rand(count, 2, generator=generator)
        side = torch.rand(count, 2, generator=generator) * (large - small) + small
        side = side * chosen[:, None]
        first, last = (centre - side / 2).to(device), (centre + side / 2).to(device)
        x = (torch.arange(width, device=device) + 0.5) / width
        y = (torch.arange(height, device=device) + 0.5) / height
        in_x = (x > first[:, :1]) & (x < last[:, :1])  # (B, W)
        in_y = (y > first[:, 1:]) & (y < last[:, 1:])  # (B, H)
        hidden = in_y[:, None, :, None] & in_x[:, None, None, :]  # (B, 1, H, W)
        return crops.masked_fill(hidden, 0.0)


def _below_waist(keypoints: KeypointSet) -> Tensor:
    """(K,) True for joints of the lower body, told by their names."""
    return torch.tensor([any(part in name for part in _BELOW_WAIST) for name in keypoints.names])
