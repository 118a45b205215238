from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.peers import run
from edgepose.errors import MissingDependency


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = run
    monkeypatch.setattr(module, "WORK", tmp_path)

    def create(folder: Path, **settings: Any) -> None:
        assert settings == {"clear": True, "with_pip": True}
        folder.mkdir(exist_ok=True)

    monkeypatch.setattr(module.venv, "create", create)
    return module


def answer(monkeypatch: pytest.MonkeyPatch, script: ModuleType, codes: dict[str, int]) -> list[Any]:
    """Commands given; each returns the code of the first word that it contains."""
    given: list[Any] = []

    def run(command: list[str], **settings: Any) -> subprocess.CompletedProcess[str]:
        given.append((command, settings))
        text = " ".join(command)
        return subprocess.CompletedProcess(
            command, next((code for word, code in codes.items() if word in text), 0)
        )

    monkeypatch.setattr(script.subprocess, "run", run)
    return given


def test_the_command_line() -> None:
    split = run.split
    assert split([]) == (["rtmlib"], [])
    assert split(["onnxruntime", "--", "--rounds", "9"]) == (["onnxruntime"], ["--rounds", "9"])
    with pytest.raises(ValueError, match="no peer 'mmpose'"):
        split(["mmpose"])


def test_an_environment_is_made_once_and_again_when_its_requirements_change(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = answer(monkeypatch, script, {})
    python = script.environment("rtmlib", tmp_path / "rtmlib")
    assert python.parent.parent == tmp_path / "rtmlib"
    (command, _) = given[0]
    assert command[:4] == [str(python), "-m", "pip", "install"]
    assert command[command.index("-r") + 1].endswith("rtmlib.txt")
    assert command[command.index("-e") + 1] == str(script.ROOT)
    script.environment("rtmlib", tmp_path / "rtmlib")
    assert len(given) == 1
    (tmp_path / "rtmlib" / "requirements.sha256").write_text("older")
    script.environment("rtmlib", tmp_path / "rtmlib")
    assert len(given) == 2


def test_an_environment_that_cannot_be_made_is_not_taken_for_made(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = answer(monkeypatch, script, {"pip": 1})
    for turn in (1, 2):
        with pytest.raises(MissingDependency, match=r"README\.md"):
            script.environment("ultralytics", tmp_path / "ultralytics")
        assert len(given) == turn


def test_the_worst_exit_code_is_handed_on_and_threads_reach_numpy(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(script, "make_networks", made.append)
    given = answer(monkeypatch, script, {"rtmlib_pairs": 3})
    words = ["run.py", "onnxruntime", "rtmlib", "--", "--threads", "2"]
    monkeypatch.setattr(sys, "argv", words)
    assert script.main() == 3
    assert made == [tmp_path / "networks"]
    (command, settings) = next(g for g in given if "onnxruntime_pairs.py" in " ".join(g[0]))
    assert command[2:] == [str(tmp_path / "networks"), "--threads", "2"]
    assert settings["env"]["OPENBLAS_NUM_THREADS"] == "2"
    monkeypatch.setattr(sys, "argv", ["run.py", "nobody"])
    assert script.main() == 2
