"""Layers and initialisers that more than one model uses."""

from __future__ import annotations

from torch import nn

__all__ = ["conv_bn", "doubling", "initialise_convs", "initialise_projection"]


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    activate: bool = True,
) -> nn.Sequential:
    """Convolution without bias, BatchNorm and, if asked for, ReLU; "same" padding."""
    layers: list[nn.Module] = [
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=kernel // 2 * dilation,
            dilation=dilation,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
    ]
    if activate:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def doubling(in_channels: int, out_channels: int) -> nn.Sequential:
    """(B, in, H, W) to (B, out, 2H, 2W): transposed 4x4 convolution, BatchNorm, ReLU."""
    conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
    # Kaiming-normal: each output cell is reached by 2x2 of the kernel's taps.
    nn.init.normal_(conv.weight, std=(2 / (in_channels * 2 * 2)) ** 0.5)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def initialise_convs(module: nn.Module) -> None:
    """Kaiming-normal weights and zero bias for every convolution under ``module``.

    Fan-in mode, which stays right for depthwise kernels (their fan-out is that of one channel).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def initialise_projection(layer: nn.Conv2d | nn.Linear) -> None:
    """Truncated-normal weights (std .02) and zero bias.

    For attention, and for the last layer of a residual branch that no norm follows, which so starts
    small against its skip.
    """
    nn.init.trunc_normal_(layer.weight, std=0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
