"""Contenders' processes: answers, absence, death and silence."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu.absent import Absent
from benchmarks.gpu.contenders import Entry
from benchmarks.gpu.workers import Worker, clean_environment
from edgepose.errors import EdgeposeError
from tests.fakes import heatmap_spec, write_tiny_onnx


@pytest.fixture
def images(tmp_path: Path) -> Path:
    np.save(tmp_path / "images.npy", np.zeros((2, 3, 64, 48), np.float32))
    return tmp_path / "images.npy"


def acting(tmp_path: Path, body: str) -> Entry:
    """A contender whose interpreter is a script with that body."""
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "answer = lambda **v: print(json.dumps(v), flush=True)\n" + textwrap.dedent(body)
    )
    program.chmod(0o755)
    return Entry(name="actor", kind="torch", model="m", python=str(program))


def test_it_answers_until_it_is_closed(tmp_path: Path, images: Path) -> None:
    body = """
        for line in sys.stdin:
            answer(ok={"asked": json.loads(line), "entry": json.loads(sys.argv[3])["name"]})
    """
    with Worker(acting(tmp_path, body), images) as worker:
        found = worker.ask(20, "time", batch=4, calls=2)
        assert found["asked"] == {"do": "time", "batch": 4, "calls": 2}
        assert found["entry"] == "actor"
        assert worker.ask(20, "open")["asked"] == {"do": "open"}
    worker.close()


def test_a_death_is_told_with_the_last_words(tmp_path: Path, images: Path) -> None:
    body = 'sys.stdin.readline(); print("no kernel image", file=sys.stderr); sys.exit(3)'
    with (
        Worker(acting(tmp_path, body), images) as worker,
        pytest.raises(EdgeposeError, match=r"ended in 'open'.*ended with 3: no kernel image"),
    ):
        worker.ask(20, "open")


def test_silence_has_an_end(tmp_path: Path, images: Path) -> None:
    body = "import time; time.sleep(600)"
    with (
        Worker(acting(tmp_path, body), images) as worker,
        pytest.raises(EdgeposeError, match="did not answer 'warm' within 1 s"),
    ):
        worker.ask(1, "warm", batch=1)


def test_an_interpreter_that_is_not_there_is_absent(images: Path) -> None:
    entry = Entry(name="torch", kind="torch", model="m", python="/no/such/python")
    with pytest.raises(Absent, match="interpreter /no/such/python is not here"):
        Worker(entry, images)


def test_the_real_program_says_what_is_absent_here(tmp_path: Path, images: Path) -> None:
    """Here: onnxruntime has no CUDA provider, or there is no GPU."""
    onnx = write_tiny_onnx(tmp_path / "x.onnx", heatmap_spec())
    entry = Entry(name="ort", kind="onnxruntime", model="m", file=str(onnx))
    with (
        Worker(entry, images) as worker,
        pytest.raises(Absent, match="ort is not here: onnxruntime's CUDA provider is not here"),
    ):
        worker.ask(60, "open")


def test_another_interpreter_gets_none_of_our_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONHOME", "LD_LIBRARY_PATH", "PYTHONPATH"):
        monkeypatch.setenv(name, "/stubs")
    monkeypatch.setenv("KEPT", "yes")
    clean = clean_environment()
    assert "PYTHONHOME" not in clean
    assert "LD_LIBRARY_PATH" not in clean
    assert "/stubs" not in clean["PYTHONPATH"]
    assert clean["KEPT"] == "yes"
