"""Small modules that keep the models' contract, and models with weights that do something."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgepose.models.encoder import LayerScale
from edgepose.models.mitpose import GRN
from edgepose.parity import Photo, sample_photos
from edgepose.spec import DecoderSpec, PoseSpec

SIZE = (64, 48)


class TinyHeatmaps(nn.Module):
    """Dark spots, blurred: 17 different smooth positive maps with one clear peak each."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.stem = nn.Conv2d(3, 8, 4, stride=4)
            self.norm = nn.BatchNorm2d(8)
            self.head = nn.Conv2d(8, 17, 5, padding=2)
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"heatmaps": self.head(self.norm(self.stem(images)).relu()).sigmoid()}


class TinySimCC(nn.Module):
    """Logits for both axes from a pooled picture."""

    def __init__(self, size: tuple[int, int] = SIZE) -> None:
        super().__init__()
        height, width = size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.stem = nn.Conv2d(3, 17, 8, stride=8)
            self.x = nn.Linear(height * width // 64, 2 * width)
            self.y = nn.Linear(height * width // 64, 2 * height)
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        tokens = self.stem(images).flatten(2)  # (B, 17, cells)
        # Named against the alphabet: their order may not come from sorting.
        return {"simcc_y": 4 * self.y(tokens), "simcc_x": 4 * self.x(tokens)}


def heatmap_spec(decoder: str = "dark", alignment: str = "half_pixel") -> PoseSpec:
    return PoseSpec(
        model="tiny",
        input_size=SIZE,
        output="heatmap",
        decoder=DecoderSpec(name=decoder, alignment=alignment),  # type: ignore[arg-type]
    )


def simcc_spec(size: tuple[int, int] = SIZE) -> PoseSpec:
    return PoseSpec(
        model="tiny", input_size=size, output="simcc", decoder=DecoderSpec(name="simcc")
    )


def lively(module: nn.Module, example: Tensor, seed: int = 0) -> nn.Module:
    """Fill what starts at zero or one with other values, and norms with real statistics.

    Args:
        module: Changed in place and put into evaluation mode.
        example: Inputs (B, ...) to take the statistics from.
        seed: Of the values.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)):
                layer.weight.uniform_(0.5, 1.5, generator=random)
                layer.bias.normal_(0, 0.3, generator=random)
            elif isinstance(layer, LayerScale):
                layer.gain.normal_(0, 0.5, generator=random)
            elif isinstance(layer, GRN):
                layer.gain.normal_(0, 0.5, generator=random)
                layer.shift.normal_(0, 0.3, generator=random)
            elif isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
                layer.bias.normal_(0, 0.1, generator=random)
        module.train()
        for _ in range(5):
            module(example)
    return module.eval()


def people(count: int = 6) -> list[Photo]:
    """The first packaged photos, with so many people in them in all."""
    photos, left = [], count
    for photo in sample_photos():
        if left > 0:
            photos.append(Photo(photo.name, photo.image, photo.boxes[:left]))
            left -= len(photos[-1].boxes)
    return photos
