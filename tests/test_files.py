from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edgepose.errors import OutputError
from edgepose.files import atomic_path, write_text


def test_writes_whole_and_makes_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.json"
    write_text(target, "1")
    write_text(target, "2")
    assert target.read_text() == "2"
    assert [p.name for p in target.parent.iterdir()] == ["b.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("x")])
def test_an_interrupted_write_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "out.bin"
    target.write_text("before")
    with pytest.raises(type(error)), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    with pytest.raises(OutputError, match="No space left"), atomic_path(target):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_text(tmp_path / "file" / "x", "1")


def test_the_temporary_file_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "v.mp4") as temporary:
        assert temporary.suffix == ".mp4"
        assert temporary.parent == tmp_path
