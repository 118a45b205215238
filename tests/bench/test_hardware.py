from __future__ import annotations

import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

import pytest

from edgepose.bench import fingerprint, slug
from tests import boards
from tests.fake_nvml import TEGRA, Card, Library, none_here, opener


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


def test_a_server_with_gpus(tmp_path: Path) -> None:
    server = boards.machine(tmp_path, boards.RYZEN)
    library = Library(Card(), Card())
    found = fingerprint(server, opener(library))
    assert found["hardware"]["cpu"] == "AMD Ryzen 7 7700X 8-Core Processor"
    assert found["hardware"]["gpu"] == ["NVIDIA H100 80GB HBM3, 580.95.05"] * 2
    assert found["hardware"]["governor"] == "powersave"
    assert library.open == 0
    assert fingerprint(server, none_here)["hardware"]["gpu"] is None
    assert fingerprint(server, opener(Library()))["hardware"]["gpu"] is None


def test_a_jetson(tmp_path: Path) -> None:
    found = fingerprint(boards.machine(tmp_path, boards.ORIN_NANO), opener(Library(TEGRA)))
    assert found["hardware"]["board"].startswith("NVIDIA Jetson Orin Nano")
    assert found["hardware"]["memory_gib"] == 7.4
    assert found["hardware"]["gpu"] == ["Orin (nvgpu), 580.95.05"]
    assert (found["stack"]["jetpack"], found["stack"]["l4t"]) == ("6.2", "36.4.3")
