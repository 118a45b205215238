from __future__ import annotations

import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

import pytest

from edgepose.bench import fingerprint, hardware, slug


def test_the_fingerprint_is_this_machines() -> None:
    found = fingerprint()
    assert found["hardware"]["cores"] == os.cpu_count()
    assert found["stack"]["packages"]["numpy"] == importlib.metadata.version("numpy")
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("board", "cpu", "expected"),
    [
        (None, "AMD EPYC", "amd-epyc-2cores"),
        (None, "Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz", "intel-core-i7-8700-2cores"),
        (None, "AMD Ryzen 7 5800X 8-Core Processor", "amd-ryzen-7-5800x-2cores"),
        ("NVIDIA Jetson Orin Nano", "ARMv8", "nvidia-jetson-orin-nano-2cores"),
        (None, None, "x86-64-2cores"),
    ],
)
def test_folder_names(board: str | None, cpu: str | None, expected: str) -> None:
    described: dict[str, Any] = {
        "hardware": {"board": board, "cpu": cpu, "architecture": "x86_64", "usable_cores": 2}
    }
    assert slug(described) == expected


def test_graphics_cards_are_read_from_the_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hardware.fingerprint()["hardware"]["gpu"] is None
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100, 550.54'\n")
    tool.chmod(0o755)
    assert hardware.fingerprint()["hardware"]["gpu"] == ["NVIDIA H100, 550.54"]
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert hardware.fingerprint()["hardware"]["gpu"] is None
