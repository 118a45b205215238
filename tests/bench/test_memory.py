from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.bench import memory
from edgepose.bench.memory import PeakMemory
from edgepose.errors import DeviceError

MIB = 2**20


def test_a_peak_counts_though_it_is_over() -> None:
    with PeakMemory() as peak:
        block = np.ones(64 * MIB, np.uint8)
        del block
        small = np.ones(MIB, np.uint8)
    assert small.any()
    assert 63 * MIB < peak.growth < 80 * MIB
    assert peak.before > 10 * MIB


def test_what_was_there_before_does_not_count() -> None:
    block = np.ones(64 * MIB, np.uint8)
    with PeakMemory() as peak:
        block += 1
    assert peak.growth < 16 * MIB
    block = np.zeros(1, np.uint8)
    with PeakMemory() as peak:
        pass
    assert block.size == 1
    assert peak.growth < 16 * MIB  # the peak before was reset


def test_a_system_without_these_figures_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_RESET", tmp_path / "missing" / "clear_refs")
    with pytest.raises(DeviceError, match="cannot be measured here"), PeakMemory():
        pass
    monkeypatch.setattr(memory, "_RESET", tmp_path / "clear_refs")
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    (tmp_path / "status").write_text("Name: python\n")
    with pytest.raises(DeviceError, match="no VmRSS"), PeakMemory():
        pass
