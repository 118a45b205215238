from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.bench.folder import OutFolder
from edgepose.errors import OutputError


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with OutFolder(tmp_path / "out") as folder:
        with pytest.raises(OutputError, match=r"another run is writing(.|\n)*another --out"):
            OutFolder(folder.path)
        assert folder.place("c.onnx") == tmp_path / "out" / "work" / "c.onnx"
        assert folder.place("a b").name.startswith("a-b-")
        assert len({folder.place(label) for label in ("a b", "a/b", "a-b")}) == 3
    with OutFolder(tmp_path / "out"):
        pass
    assert list((tmp_path / "out").iterdir()) == []


def test_a_run_that_was_killed_leaves_the_folder_free(tmp_path: Path) -> None:
    code = (
        "import os, sys; from edgepose.bench.folder import OutFolder\n"
        "folder = OutFolder(sys.argv[1]); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == 9
    OutFolder(tmp_path).close()


def test_a_folder_that_nobody_asked_for_is_gone_at_the_end() -> None:
    with OutFolder(None) as folder:
        folder.place("x").mkdir(parents=True)
    assert not folder.path.exists()


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        OutFolder(tmp_path / "file")
