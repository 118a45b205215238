from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgepose.errors import OutputError
from edgepose.stream.sinks import check_outputs


@pytest.fixture
def there(tmp_path: Path) -> Path:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"source")
    (tmp_path / "soft.mp4").symlink_to(path)
    os.link(path, tmp_path / "hard.mp4")
    (tmp_path / "sub").mkdir()
    return path


@pytest.mark.parametrize("name", ["v.mp4", "sub/../v.mp4", "soft.mp4", "hard.mp4"])
def test_an_output_that_is_an_input(name: str, there: Path) -> None:
    with pytest.raises(OutputError, match=r"that is the source itself\n?.*give --jsonl another"):
        check_outputs({"--jsonl": there.parent / name}, [("the source itself", there)])


@pytest.mark.parametrize("name", ["new", "sub/../new", "sub"])
def test_two_outputs_that_are_one(name: str, there: Path) -> None:
    first = there.parent / "sub/.." / name
    with pytest.raises(OutputError, match="where --save writes already"):
        check_outputs({"--save": first, "--jsonl": there.parent / name}, [])


def test_what_may_be(there: Path) -> None:
    outputs = {"--save": there.parent / "o.mp4", "--jsonl": there.parent / "camera 0"}
    inputs = [
        ("the source itself", there),
        ("a camera", there.parent / "camera 0"),
        ("a long URL", Path("http://host/" + "x" * 5000)),
    ]
    check_outputs(outputs, inputs)
