from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgepose.engine import preflight
from edgepose.trt import api
from edgepose.trt.gpu import Gpu
from tests.trt.engines import GPU
from tests.trt.fake import table, write_package


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """A machine with a GPU, as far as its driver tells."""
    monkeypatch.setattr(preflight, "read_gpu", lambda: GPU)
    monkeypatch.setattr(preflight, "find_gpu", lambda: GPU)
    return GPU


@pytest.fixture
def installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repo_root: Path
) -> Callable[..., Path]:
    """Make a version of the fake TensorRT what this process and its children find installed.

    Returns the file that gets a line per call in a child.
    """

    def install(version: str, **knobs: Any) -> Path:
        trace = tmp_path / "trace.jsonl"
        folder = write_package(tmp_path / "fake", version, trace=str(trace), **knobs)
        module = table(version)["module"]
        product = "tensorrt-rtx" if module == "tensorrt_rtx" else "tensorrt"
        monkeypatch.setitem(api._MODULES, product, (module,))
        monkeypatch.setattr(sys, "path", [str(folder), str(repo_root), *sys.path])
        return trace

    return install
