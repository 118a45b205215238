"""The contender that is torch itself, on a torch that thinks the CPU is a GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.gpu.absent import Absent
from benchmarks.gpu.contenders import Entry, open_contender


class Event:
    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        pass

    def elapsed_time(self, other: Event) -> float:
        return 1.5


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What torch.compile was asked for."""
    asked: list[dict[str, Any]] = []

    def compile(module: torch.nn.Module, **how: Any) -> torch.nn.Module:
        asked.append(how)
        return module

    def itself(self: Any) -> Any:
        return self

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.nn.Module, "cuda", itself)
    monkeypatch.setattr(torch.Tensor, "cuda", itself)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Fake GPU")
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(allow_tf32=True))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch, "manual_seed", lambda seed: None)
    return asked


@pytest.mark.parametrize(
    ("mode", "asked"),
    [
        ("eager-fp32", []),
        ("compile-fp16", [{"mode": "default", "dynamic": False}]),
        ("compile-fp16-graphs", [{"mode": "reduce-overhead", "dynamic": False}]),
    ],
)
def test_it_runs_the_model_of_that_size(
    compiled: list[dict[str, Any]], mode: str, asked: list[dict[str, Any]]
) -> None:
    entry = Entry(name="torch", kind="torch", model="mitpose-lite@64x48", mode=mode)
    contender = open_contender(entry)
    images = np.random.default_rng(0).normal(size=(2, 3, 64, 48)).astype(np.float32)
    outputs = contender.call(images)
    assert {value.shape for value in outputs.values()} == {(2, 17, 16, 12)}
    assert {value.dtype for value in outputs.values()} == {np.dtype("float32")}
    assert contender.device_ms(images) == 1.5
    facts = contender.describe()
    assert (facts["mode"], facts["weights"], facts["tf32"]) == (mode, "random", False)
    assert torch.backends.cuda.matmul.allow_tf32 is False
    assert torch.backends.cudnn.allow_tf32 is False
    assert compiled == asked
    contender.close()


def test_a_torch_for_the_cpu_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Absent, match=r"torch for CUDA is not here: torch .* sees no CUDA device"):
        open_contender(Entry(name="torch", kind="torch", model="mitpose-lite", mode="eager-fp32"))
