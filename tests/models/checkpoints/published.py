"""Checkpoints as the authors' code would save them, and that code's arithmetic.

Written from the structure of their models (names, shapes, order of the layers), not from our
translation of it: the tests hold one against the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
Tensors = dict[str, Tensor]

BLOCKS = 4  # of a branch, and of HRNet's layer1
NORM = ("weight", "bias", "running_mean", "running_var")


def conv(name: str, out_channels: int, in_channels: int, kernel: int) -> Iterator[tuple]:
    yield f"{name}.weight", (out_channels, in_channels, kernel, kernel)


def norm(name: str, channels: int) -> Iterator[tuple]:
    yield from ((f"{name}.{part}", (channels,)) for part in NORM)
    yield f"{name}.num_batches_tracked", ()


def bottleneck(name: str, in_channels: int, channels: int, *, project: bool) -> Iterator[tuple]:
    for i, (a, b, kernel) in enumerate(
        [(in_channels, channels, 1), (channels, channels, 3), (channels, 4 * channels, 1)], start=1
    ):
        yield from conv(f"{name}.conv{i}", b, a, kernel)
        yield from norm(f"{name}.bn{i}", b)
    if project:
        yield from conv(f"{name}.downsample.0", 4 * channels, in_channels, 1)
        yield from norm(f"{name}.downsample.1", 4 * channels)


def linear(name: str, out_features: int, in_features: int) -> Shapes:
    return {f"{name}.weight": (out_features, in_features), f"{name}.bias": (out_features,)}


def final_layer(keypoints: int, channels: int) -> Shapes:
    return {"final_layer.weight": (keypoints, channels, 1, 1), "final_layer.bias": (keypoints,)}


def hrnet_shapes(width: int, modules: Sequence[int] = (1, 4, 3)) -> Shapes:
    """The trunk; ``modules`` of stage2, stage3, ..., the very last with one output."""
    return dict(_hrnet_shapes(width, modules))


def _hrnet_shapes(width: int, modules: Sequence[int]) -> Iterator[tuple]:
    yield from conv("conv1", 64, 3, 3)
    yield from norm("bn1", 64)
    yield from conv("conv2", 64, 64, 3)
    yield from norm("bn2", 64)
    for block in range(BLOCKS):
        yield from bottleneck(f"layer1.{block}", 256 if block else 64, 64, project=not block)
    yield from conv("transition1.0.0", width, 256, 3)
    yield from norm("transition1.0.1", width)
    for t in range(1, len(modules) + 1):
        new = width * 2**t
        yield from conv(f"transition{t}.{t}.0.0", new, 256 if t == 1 else new // 2, 3)
        yield from norm(f"transition{t}.{t}.0.1", new)
    for stage, count in enumerate(modules, start=2):
        for module in range(count):
            last = module == count - 1 and stage == len(modules) + 1
            channels = [width * 2**b for b in range(stage)]
            yield from _module(f"stage{stage}.{module}", channels, 1 if last else stage)


def _module(name: str, channels: list[int], outputs: int) -> Iterator[tuple]:
    for branch, c in enumerate(channels):
        for block in range(BLOCKS):
            for i in (1, 2):
                yield from conv(f"{name}.branches.{branch}.{block}.conv{i}", c, c, 3)
                yield from norm(f"{name}.branches.{branch}.{block}.bn{i}", c)
    for i in range(outputs):
        for j in range(len(channels)):
            path = f"{name}.fuse_layers.{i}.{j}"
            if j > i:
                yield from conv(f"{path}.0", channels[i], channels[j], 1)
                yield from norm(f"{path}.1", channels[i])
            for k in range(i - j):
                out = channels[i] if k == i - j - 1 else channels[j]
                yield from conv(f"{path}.{k}.0", out, channels[j], 3)
                yield from norm(f"{path}.{k}.1", out)


def resnet50_shapes() -> Shapes:
    """The trunk, transposed convolutions included."""
    return dict(_resnet50_shapes())


def _resnet50_shapes() -> Iterator[tuple]:
    yield from conv("conv1", 64, 3, 7)
    yield from norm("bn1", 64)
    in_channels = 64
    for layer, (channels, depth) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(depth):
            name = f"layer{layer}.{block}"
            yield from bottleneck(name, in_channels, channels, project=not block)
            in_channels = 4 * channels
    for index in (0, 3, 6):
        yield f"deconv_layers.{index}.weight", (in_channels, 256, 4, 4)
        yield from norm(f"deconv_layers.{index + 1}", 256)
        in_channels = 256


def filled(shapes: Shapes, seed: int = 0) -> Tensors:
    """Random values that keep the signal in range."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(1000)
        elif name.endswith("running_var"):
            tensors[name] = torch.rand(shape, generator=generator) + 0.5
        elif len(shape) == 1:
            centre = 0.5 if name.endswith("weight") else 0.0
            tensors[name] = centre + 0.1 * torch.randn(shape, generator=generator)
        else:
            fan_in = torch.Size(shape[1:]).numel() if len(shape) > 1 else 1
            if name.startswith("deconv"):
                fan_in = shape[0] * 4
            tensors[name] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
    return tensors


def on_meta(shapes: Shapes) -> Tensors:
    """Names and shapes only."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def hrnet_features(t: Tensors, images: Tensor, modules: Sequence[int] = (1, 4, 3)) -> Tensor:
    """What the authors' forward computes up to ``final_layer``."""
    x = F.relu(_conv_norm(t, "conv1", "bn1", images, stride=2))
    x = F.relu(_conv_norm(t, "conv2", "bn2", x, stride=2))
    for block in range(BLOCKS):
        x = _bottleneck(t, f"layer1.{block}", x)
    maps = [x]
    for stage, count in enumerate(modules, start=2):
        transition = f"transition{stage - 1}"
        if stage == 2:
            first = F.relu(_conv_norm(t, f"{transition}.0.0", f"{transition}.0.1", x))
        else:
            first = maps[0]
        chain = f"{transition}.{stage - 1}.0"
        new = F.relu(_conv_norm(t, f"{chain}.0", f"{chain}.1", maps[-1], stride=2))
        maps = [first, *maps[1:], new]
        for module in range(count):
            maps = _exchange(t, f"stage{stage}.{module}", maps)
    return maps[0]


def _exchange(t: Tensors, name: str, maps: list[Tensor]) -> list[Tensor]:
    refined = []
    for branch, x in enumerate(maps):
        for block in range(BLOCKS):
            p = f"{name}.branches.{branch}.{block}"
            y = F.relu(_conv_norm(t, f"{p}.conv1", f"{p}.bn1", x))
            x = F.relu(_conv_norm(t, f"{p}.conv2", f"{p}.bn2", y) + x)
        refined.append(x)
    outputs = len({key.split(".")[3] for key in t if key.startswith(f"{name}.fuse_layers.")})
    return [
        F.relu(sum(_carried(t, name, refined, i, j) for j in range(len(maps))))
        for i in range(outputs)
    ]


def _carried(t: Tensors, name: str, maps: list[Tensor], i: int, j: int) -> Tensor:
    x, path = maps[j], f"{name}.fuse_layers.{i}.{j}"
    if j > i:
        x = _conv_norm(t, f"{path}.0", f"{path}.1", x)
        return x.repeat_interleave(2 ** (j - i), 2).repeat_interleave(2 ** (j - i), 3)
    for k in range(i - j):
        x = _conv_norm(t, f"{path}.{k}.0", f"{path}.{k}.1", x, stride=2)
        x = x if k == i - j - 1 else F.relu(x)
    return x


def resnet50_features(t: Tensors, images: Tensor) -> Tensor:
    """What the authors' forward computes up to ``final_layer``."""
    x = F.relu(_conv_norm(t, "conv1", "bn1", images, stride=2))
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for layer, depth in enumerate((3, 4, 6, 3), start=1):
        for block in range(depth):
            x = _bottleneck(t, f"layer{layer}.{block}", x, 2 if layer > 1 and not block else 1)
    for index in (0, 3, 6):
        x = F.conv_transpose2d(x, t[f"deconv_layers.{index}.weight"], stride=2, padding=1)
        x = F.relu(_norm(t, f"deconv_layers.{index + 1}", x))
    return x


def final(t: Tensors, features: Tensor) -> Tensor:
    return F.conv2d(features, t["final_layer.weight"], t["final_layer.bias"])


def _bottleneck(t: Tensors, name: str, x: Tensor, stride: int = 1) -> Tensor:
    y = F.relu(_conv_norm(t, f"{name}.conv1", f"{name}.bn1", x))
    y = F.relu(_conv_norm(t, f"{name}.conv2", f"{name}.bn2", y, stride=stride))
    y = _conv_norm(t, f"{name}.conv3", f"{name}.bn3", y)
    if f"{name}.downsample.0.weight" in t:
        x = _conv_norm(t, f"{name}.downsample.0", f"{name}.downsample.1", x, stride=stride)
    return F.relu(y + x)


def _conv_norm(t: Tensors, conv_name: str, norm_name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = t[f"{conv_name}.weight"]
    return _norm(t, norm_name, F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2))


def _norm(t: Tensors, name: str, x: Tensor) -> Tensor:
    weight, bias, mean, var = (t[f"{name}.{part}"] for part in NORM)
    return F.batch_norm(x, mean, var, weight, bias)
