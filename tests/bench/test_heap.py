"""A heap that keeps what it has: what it is for, and who has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.bench.worker import Worker, heap
from edgepose.bench.worker.heap import KEPT_HEAP, keeps_heap, kept_heap_words
from edgepose.bench.worker.request import Request
from tests.fakes import heatmap_spec, write_tiny_onnx

# Blocks as a network in PyTorch asks for them: beyond what glibc by itself would ever keep.
_WORK = """
import resource
import numpy as np

def work():
    for size in (5, 9, 12):
        np.empty(size << 20, np.float32).fill(1)

work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**settings: str) -> int:
    """Pages faulted in again by work that was done once before."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", _WORK]
    done = subprocess.run(command, env=bare | settings, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not keeps_heap(), reason="another allocator than glibc's")
def test_a_kept_heap_is_not_faulted_in_again() -> None:
    assert faults(**KEPT_HEAP) < 100 < 1000 < faults()


@pytest.mark.parametrize("kept", [True, False])
def test_a_worker_that_is_timed_keeps_its_heap(tmp_path: Path, kept: bool) -> None:
    tiny = str(write_tiny_onnx(tmp_path / "tiny.onnx", heatmap_spec()))
    with Worker(Request(label="a", artefact=tiny, kind="onnx", keep_heap=kept)) as worker:
        assert worker.open().heap == kept_heap_words(kept)
        if sys.platform == "linux":
            given = Path(f"/proc/{worker.pid}/environ").read_text().split("\0")
            assert ({f"{name}={value}" for name, value in KEPT_HEAP.items()} <= set(given)) is kept


def test_what_is_said_of_a_heap(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept_heap_words(False) is None
    for libc, said in (("glibc", "kept"), ("", "as the system has it")):
        monkeypatch.setattr(heap.platform, "libc_ver", lambda libc=libc: (libc, "2"))
        words = kept_heap_words(True)
        assert words is not None
        assert words.startswith(said)
