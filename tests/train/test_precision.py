from __future__ import annotations

import pytest
import torch

from edgepose.train.precision import autocast, bf16_supported, use_bf16

CPU = torch.device("cpu")


@pytest.mark.parametrize(("setting", "used"), [("on", True), ("off", False)])
def test_the_setting_rules(setting, used):
    assert use_bf16(setting, CPU) is used


@pytest.mark.parametrize(
    ("avx512", "amx", "has"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_auto_asks_the_hardware(monkeypatch, avx512, amx, has):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert bf16_supported(CPU) is has
    assert use_bf16("auto", CPU) is has


def test_autocast_changes_the_arithmetic():
    layer = torch.nn.Linear(4, 4)
    x = torch.ones(1, 4)
    with autocast(CPU, True):
        assert layer(x).dtype == torch.bfloat16
    with autocast(CPU, False):
        assert layer(x).dtype == torch.float32
