from __future__ import annotations

import torch

from edgepose.train.ema import Ema
from tests.train.helpers import TinyNet


def test_follows_weights_and_statistics():
    torch.manual_seed(0)
    net = TinyNet()
    ema = Ema(net, 0.5)
    start = ema.module.head.weight.clone()
    with torch.no_grad():
        net.head.weight.add_(1)
        net.norm.running_mean.fill_(4)
        net.norm.num_batches_tracked.fill_(3)
    ema.update(net)
    # First update: decay min(0.5, 2 / 11).
    torch.testing.assert_close(ema.module.head.weight, start + 9 / 11)
    torch.testing.assert_close(ema.module.norm.running_mean, torch.full((16,), 4 * 9 / 11))
    assert ema.module.norm.num_batches_tracked == 3
    for _ in range(30):
        ema.update(net)
    torch.testing.assert_close(ema.module.head.weight, net.head.weight)
    assert ema.updates == 31


def test_is_apart_from_the_model():
    net = TinyNet()
    ema = Ema(net, 0.9)
    assert not ema.module.training
    assert net.training
    assert not any(p.requires_grad for p in ema.module.parameters())
    assert all(p.requires_grad for p in net.parameters())
