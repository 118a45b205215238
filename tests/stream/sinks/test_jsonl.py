from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from edgepose.errors import OutputError
from edgepose.stream.sinks import JsonlSink
from tests.stream.helpers import result


def test_one_line_a_frame_at_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.jsonl"
    with JsonlSink(path) as sink:
        for number in range(3):
            assert sink.write(result(number, source="camera 0"))
            # Read back while the sink is open.
            assert len(path.read_text().splitlines()) == number + 1
    line = json.loads(path.read_text().splitlines()[2])
    assert {k: v for k, v in line.items() if k != "persons"} == {
        "frame": 2,
        "time_s": 0.2,
        "source": "camera 0",
        "width": 160,
        "height": 120,
    }
    assert line["persons"] == result(2).poses.to_dicts()


def test_a_file_that_is_there_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"old": 1}\n' * 100)
    with JsonlSink(path) as sink:
        sink.write(result(0))
        sink.write(result(1))
    assert [json.loads(line)["frame"] for line in path.read_text().splitlines()] == [0, 1]


def test_a_run_without_a_frame_changes_nothing(tmp_path: Path) -> None:
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    old.write_text("{}\n")
    for path in (old, new):
        with JsonlSink(path):
            pass
    assert old.read_text() == "{}\n"
    assert not new.exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_never_half_a_line(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonlSink(path)
    sink.write(result(0))
    whole = path.read_bytes()
    file: Any = sink._file

    class Failing:
        """Writes ten bytes, then fails."""

        def __init__(self) -> None:
            self.calls = 0

        def write(self, data: bytes) -> int:
            self.calls += 1
            if self.calls > 1:
                raise error
            return int(file.write(data[:10]))

        def fileno(self) -> int:
            return int(file.fileno())

        def close(self) -> None:
            file.close()

    monkeypatch.setattr(sink, "_file", Failing())
    with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt):
        sink.write(result(1))
    sink.close()
    assert path.read_bytes() == whole


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonlSink(path)
    file: Any = sink._file

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(file, name)

        def write(self, data: bytes) -> int:
            return int(file.write(data[:100]))

    monkeypatch.setattr(sink, "_file", Slow())
    sink.write(result(0))
    sink.close()
    assert json.loads(path.read_text())["frame"] == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk() -> None:
    with JsonlSink("/dev/full") as sink, pytest.raises(OutputError, match="No space left"):
        sink.write(result(0))


def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file" / "out.jsonl", Path("/proc/out.jsonl"), tmp_path):
        with pytest.raises(OutputError, match="cannot write"):
            JsonlSink(target)
