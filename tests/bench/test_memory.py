from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest

from edgepose.bench import memory
from edgepose.bench.memory import PeakMemory, available_bytes, find_gauge, pss_bytes, settle
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


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")
def test_a_gauge_reads_a_peak_of_its_own_each_time() -> None:
    gauge = find_gauge()
    assert "VmHWM" in gauge.how
    assert "was reset" in gauge.how
    gauge.reset()
    before = gauge.resident()
    block = np.ones(64 * MIB, np.uint8)
    del block
    assert 60 * MIB < gauge.peak() - before < 80 * MIB
    settle()
    gauge.reset()
    assert gauge.peak() - before < 16 * MIB


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")
def test_where_the_peak_cannot_be_reset_the_gauge_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_RESET", tmp_path / "missing" / "clear_refs")
    gauge = find_gauge()
    assert "VmHWM" in gauge.how
    assert "cannot be reset" in gauge.how
    gauge.reset()
    assert gauge.peak() >= gauge.resident() > 10 * MIB


@pytest.mark.skipif(platform.system() == "Windows", reason="it has no getrusage")
def test_without_proc_the_peak_is_getrusages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "missing")
    gauge = find_gauge()
    assert "ru_maxrss" in gauge.how
    assert gauge.resident() == gauge.peak() > 10 * MIB


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")
def test_shared_pages_and_the_systems_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pss, available = pss_bytes(), available_bytes()
    assert pss is not None
    assert available is not None
    assert MIB < pss < 1.1 * find_gauge().peak()
    assert available > MIB
    monkeypatch.setattr(memory, "_ROLLUP", tmp_path / "missing")
    monkeypatch.setattr(memory, "_SYSTEM", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\n")
    assert pss_bytes() is None
    assert available_bytes() is None
