"""The child process: what is loaded there may crash, hang or talk, and the doctor lives on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.doctor.asking import Answer, ask_child
from edgepose.doctor.probe import QUESTIONS
from edgepose.doctor.system import System
from edgepose.system import Ran, run_tool


def probe(folder: Path, code: str) -> Path:
    path = folder / "probe.py"
    path.write_text(code)
    return path


def test_an_answer_is_found_among_what_libraries_print(tmp_path: Path) -> None:
    answer = json.dumps({"facts": {"version": "1"}, "error": "", "hint": "", "absent": False})
    code = f"print('WARNING: loud'); print('edgepose-answer:' + {answer!r}); print('bye')"
    assert ask_child("x", probe=probe(tmp_path, code)) == Answer({"version": "1"})


def test_a_crash_becomes_words(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "sys.stderr.write('CUDA went away\\n'); sys.stderr.flush()\n"
        "os.kill(os.getpid(), signal.SIGSEGV)"
    )
    answer = ask_child("x", probe=probe(tmp_path, code))
    assert not answer.facts
    assert "kills the process (SIGSEGV); last words: CUDA went away" in answer.error


def test_an_early_end_becomes_words(tmp_path: Path) -> None:
    answer = ask_child("x", probe=probe(tmp_path, "raise SystemExit(7)"))
    assert "exit code 7" in answer.error


def test_a_hang_is_ended(tmp_path: Path) -> None:
    path = probe(tmp_path, "import time; time.sleep(600)")
    assert ask_child("x", probe=path, timeout=0.5).error == "no answer within 0.5 s"


def test_the_real_probe_tells_of_onnxruntime_and_opencv() -> None:
    import onnxruntime

    answer = ask_child("onnxruntime")
    assert answer.facts["version"] == onnxruntime.__version__
    assert answer.facts["providers"]["CPUExecutionProvider"] == []
    assert {"GStreamer", "FFMPEG"} <= ask_child("opencv").facts["built"].keys()


def test_no_question_loads_torch_or_onnx(tmp_path: Path) -> None:
    """Nor the package of another question: each child loads what it was asked about."""
    code = (
        "import sys\nfrom edgepose.doctor import probe\n"
        "for question in probe.QUESTIONS: probe.answer(question)\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'onnx'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_program_in_the_current_folder_is_not_taken_for_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pycuda.py").write_text("raise SystemExit('somebody elses program ran')")
    monkeypatch.chdir(tmp_path)
    answer = ask_child("pycuda")
    assert "somebody" not in answer.error


def test_every_question_has_a_function() -> None:
    from edgepose.doctor.report import _QUESTIONS

    assert set(_QUESTIONS) == set(QUESTIONS)


def test_a_tool_that_is_not_there_says_nothing() -> None:
    assert run_tool(["no-such-tool-anywhere", "-q"]).code is None
    assert run_tool(["sh", "-c", "echo 3; exit 5"]) == Ran(5, "3\n")


def test_files_are_read_below_the_root(tmp_path: Path) -> None:
    system = System(root=tmp_path)
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys" / "a1").write_text("17\n")
    (tmp_path / "sys" / "a10").write_text("Jetson\0")
    (tmp_path / "sys" / "a2").write_text("-3\n")
    assert system.number("/sys/a1") == 17
    assert system.number("/sys/a2") == -3
    assert system.number("/sys/a10") is None
    assert system.read("/sys/a10") == "Jetson"
    assert system.read("/sys/none") == ""
    assert system.matches("/sys/a*") == ["/sys/a1", "/sys/a2", "/sys/a10"]
    assert not system.exists("/etc")
