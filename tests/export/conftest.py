"""Whole models are exported once for all tests: tracing one takes most of a minute."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgepose.export import ExportResult, export_module
from edgepose.models import build, spec_for
from tests.export.tiny import lively, people

LITE = "mitpose-lite@128x96"
MGIL = "mgil-w32-32"


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


def exported(name: str, folder: Path) -> ExportResult:
    """A model with lively weights, through the whole pipeline."""
    torch.manual_seed(0)
    spec = spec_for(name)
    module = lively(build(name), torch.randn(4, 3, *spec.input_size))
    return export_module(module, spec, folder / "model.onnx", people(), opset=18)


@pytest.fixture(scope="session")
def lite(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return exported(LITE, tmp_path_factory.mktemp("lite"))


@pytest.fixture(scope="session")
def mgil(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return exported(MGIL, tmp_path_factory.mktemp("mgil"))
