"""The committed benchmark script: that it asks what it says, and judges what it measures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgepose.bench import Cell, Schedule, read_record
from edgepose.estimator import Estimator
from edgepose.models import parse_name
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec


@pytest.fixture
def script(repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with a stand-in for every model."""
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    monkeypatch.delitem(sys.modules, "cpu_pairs", raising=False)
    import cpu_pairs

    def estimator(self: Any, model: str, runtime: str) -> Estimator:
        assert runtime == "onnxruntime"
        return Estimator(FakeRunner(heatmap_spec(parse_name(model)[1]), brightness_maps))

    monkeypatch.setattr(cpu_pairs.Workshop, "_estimator", estimator)
    return cpu_pairs


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, overhead: float, folder: Path) -> int:
    """Run the overhead group on a machine where the whole way takes ``overhead`` as long."""

    def measured(
        cells: Sequence[Cell], schedule: Schedule, progress: Callable[[int, int], None]
    ) -> dict[str, np.ndarray]:
        for cell in cells:
            cell.call()
        return {c.name: np.full((4, 3), 10 * (overhead if "poses" in c.name else 1)) for c in cells}

    monkeypatch.setattr(script, "measure", measured)
    words = ["cpu_pairs.py", "--only", "overhead", "--rounds", "4", "--json", "--out", str(folder)]
    monkeypatch.setattr(sys, "argv", words)
    code: int = script.main()
    return code


def test_every_question_names_models_and_sides_that_exist(script: ModuleType) -> None:
    asked = [question for group in script.GROUPS for question in script.questions(group)]
    assert len(asked) == 4 + 4 + 3
    for _, above, below, _ in asked:
        assert above != below
        assert above.batch == below.batch
        parse_name(above.model)
        parse_name(below.model)
    promised = {above.model for _, above, _, limit in asked if limit is not None}
    assert promised == {"mitpose-lite", "mitpose-lite@128x96", "mgil-w32-32"}


def test_the_verdict_decides_the_exit_code_and_the_record_holds_it(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(script, monkeypatch, 1.1, tmp_path) == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["met"] for row in record["results"]] == [True, True, True]
    assert [row["ratio"] for row in record["results"]] == [1.1, 1.1, 1.1]
    (path,) = tmp_path.glob("*/cpu-pairs_*.json")
    assert read_record(path).to_dict() == record
    assert "--only overhead --rounds 4" in record["command"]
    assert run(script, monkeypatch, 1.2, tmp_path) == 3
    capsys.readouterr()
