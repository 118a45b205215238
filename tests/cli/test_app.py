"""The root: what every verb shares."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import edgepose

VERBS = ("bench", "export", "run", "train")


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgepose", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_version() -> None:
    assert command("--version").stdout.strip() == edgepose.__version__


def test_help_names_every_verb_and_the_exit_codes() -> None:
    done = command("--help")
    assert done.returncode == 0
    for word in (*VERBS, "Exit codes", "--install-completion"):
        assert word in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(verb: str) -> None:
    done = command(verb, "--help", COLUMNS="200")
    assert done.returncode == 0
    assert "--json" in done.stdout


def test_an_error_says_what_why_and_what_next_on_stderr() -> None:
    done = command("run", "mitpose-lte", "--source", "x.jpg")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no trained weights called 'mitpose-lte'" in done.stderr
    assert "did you mean mitpose-lite" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_option_is_usage() -> None:
    assert command("run", "--nonsense").returncode == 2


def test_a_missing_extra_gives_the_pip_command() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "sys.argv = ['edgepose', 'export', 'mitpose-lite']\n"
        "from edgepose.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 4
    assert 'pip install "edgepose[export]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_opencv_is_explained() -> None:
    code = (
        "import sys; sys.modules['cv2'] = None\n"
        "sys.argv = ['edgepose', 'run', 'mitpose-lite', '--source', 'edgepose/samples']\n"
        "from edgepose.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 4
    assert "python3-opencv" in done.stderr


def test_opencv_without_its_libraries_is_explained(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file', name='cv2')"
    )
    done = command(
        "run", "mitpose-lite", "--source", "edgepose/samples", PYTHONPATH=f"{tmp_path}:."
    )
    assert done.returncode == 4
    assert "libgl1" in done.stderr
    assert "Traceback" not in done.stderr
