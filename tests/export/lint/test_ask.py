"""onnxruntime is part of every install, so it can always be asked."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import pytest

from edgepose.export.lint import TARGETS, ask, lint
from tests.export.lint.cases import CASES, Case

ORT = TARGETS["ort"]
# The table leaves types to it.
TYPES = {"brain floats"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_reads_all_that_its_table_has(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(case.model, path)
    verdict = ask(ORT, path)
    assert verdict is not None
    assert verdict.name == f"onnxruntime {onnxruntime.__version__}"
    if lint(case.model, ORT):  # newer ones read more than the table
        assert verdict.supported is (case.name not in TYPES), verdict.complaints
    if not verdict.supported:
        assert verdict.complaints[0].text
        assert not lint(case.model, ORT).with_verdict(verdict)


def test_tensorrt_proper_cannot_be_asked(tmp_path: Path) -> None:
    for name in ("trt-8.6", "trt-10", "trt-11"):
        assert ask(TARGETS[name], tmp_path / "never read.onnx") is None
