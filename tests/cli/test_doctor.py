"""The doctor verb: what it prints, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from edgepose import doctor
from edgepose.cli import _app, app
from edgepose.cli.doctor import _For
from edgepose.doctor import Purpose, Report, examine
from tests.doctor import machines


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the verb look at a machine of the test's."""

    def put(machine: Any) -> None:
        def look(asked: Purpose = "cpu") -> Report:
            return examine(machine, asked)

        monkeypatch.setattr(doctor, "examine", look)

    return put


def asked(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["doctor", *arguments], catch_exceptions=False)


def test_purposes_are_the_same() -> None:
    assert tuple(one.value for one in _For) == get_args(Purpose)


def test_a_machine_that_can(on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    on(machines.orin_nano(tmp_path))
    result = asked("--for", "tensorrt")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for group in ("system", "memory", "GPU", "TensorRT", "onnxruntime", "OpenCV", "power", "zoo"):
        assert group in lines
    text = " ".join(result.stdout.split())
    assert "do: sudo nvpmodel -m 2 is MAXN_SUPER" in text
    assert "You can: run models on the CPU; build and run TensorRT engines;" in text


def test_a_machine_that_cannot(on: Any, tmp_path: Path) -> None:
    on(machines.plain_cpu(tmp_path))
    assert asked().exit_code == 0
    result = asked("--for", "cuda")
    assert result.exit_code == 4
    assert "fail" in result.stdout


def test_json(on: Any, tmp_path: Path) -> None:
    on(machines.desktop(tmp_path))
    result = asked("--json", "--for", "tensorrt")
    assert result.exit_code == 4
    data = json.loads(result.stdout)
    assert (data["asked"], data["ok"], data["can"]["tensorrt"]) == ("tensorrt", False, False)
    blocking = [f for f in data["findings"] if "tensorrt" in f["blocks"]]
    assert {f["level"] for f in blocking} == {"fail"}


def test_an_unknown_purpose_is_wrong_usage() -> None:
    assert asked("--for", "quantum").exit_code == 2


def test_every_verb_says_what_is_wrong_with_numpy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it comes of an OpenCV of the system under NumPy 2: an ImportError without a name."""

    def broken() -> None:
        raise ImportError("numpy.core.multiarray failed to import")

    monkeypatch.setattr(_app, "app", broken)
    with pytest.raises(SystemExit) as caught:
        _app.main()
    assert caught.value.code == 4
    assert "pip install 'numpy<2'" in capsys.readouterr().err


def test_this_machine_runs_on_its_cpu() -> None:
    """No fakes: the real checks on whatever runs the tests."""
    data = json.loads(asked("--json").stdout)
    assert data["can"]["cpu"]
    (files,) = [f for f in data["findings"] if f["group"] == "zoo"]
    assert files["level"] == "ok"
