from __future__ import annotations

import platform
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


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other allocators keep what they keep"
)
def test_what_the_allocator_had_kept_counts_when_it_is_used_again() -> None:
    """Holes between blocks that stay: the heap cannot shrink, and the next blocks fit into them."""
    blocks = [np.ones(32 * 1024, np.uint8) for _ in range(4000)]
    kept = blocks[::2]
    del blocks
    with PeakMemory() as peak:
        again = [np.ones(31 * 1024, np.uint8) for _ in range(2000)]
    assert len(kept) == len(again)
    assert 50 * MIB < peak.growth < 80 * MIB


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
