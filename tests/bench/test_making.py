"""What a suite makes; the export itself is a stand-in here, the words and the keeping are not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgepose.bench import making
from edgepose.bench.making import MakingError, make
from edgepose.errors import InputError


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every export that was asked for; each writes a file of its arguments."""
    asked: list[list[str]] = []

    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(words[4:])
        file = Path(words[words.index("-o") + 1]) / "made.onnx"
        file.write_text(" ".join(words[4:6]))
        return subprocess.CompletedProcess(words, 0, json.dumps({"artefact": str(file)}), "")

    monkeypatch.setattr(making.subprocess, "run", run)
    return asked


def test_an_export_is_made_once(exports: list[list[str]], tmp_path: Path) -> None:
    said: list[str] = []
    words = ("mitpose-lite", "--precision", "fp16")
    file = make(words, tmp_path / "x", say=said.append)
    assert file.read_text() == "mitpose-lite --precision"
    assert make(words, tmp_path / "x", say=said.append) == file
    assert said == ["exporting mitpose-lite --precision fp16"]
    assert len(exports) == 1


def test_another_export_or_a_changed_file_is_made_again(
    exports: list[list[str]], tmp_path: Path
) -> None:
    file = make(("mitpose-lite",), tmp_path)
    make(("mitpose-lite", "--fold-io"), tmp_path)
    file.write_text("touched")
    make(("mitpose-lite", "--fold-io"), tmp_path)
    assert len(exports) == 3


@pytest.mark.parametrize(
    "words",
    [
        ("--precision", "int8"),
        ("--precision=int8-fp16",),
        ("--set", "precision=int8"),
        ("--recipe", "cpu-int8"),
    ],
)
def test_int8_is_calibrated_on_what_was_given(
    words: tuple[str, ...], exports: list[list[str]], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="--set calib="):
        make(("mitpose-lite", *words), tmp_path)
    make(("mitpose-lite", *words), tmp_path, calib="people")
    make(("mitpose-lite", *words, "--calib", "mine"), tmp_path, calib="people")
    assert [asked[asked.index("--calib") + 1] for asked in exports] == ["people", "mine"]


def test_an_export_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(MakingError) as caught:
        make(("nosuchmodel",), tmp_path)
    assert "nosuchmodel" in caught.value.what
    assert caught.value.exit_code == 1
    assert not (tmp_path / "made.json").exists()
