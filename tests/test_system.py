from __future__ import annotations

from pathlib import Path

from edgepose.system import System
from tests import boards


def test_files_are_read_below_the_root(tmp_path: Path) -> None:
    files = {"/sys/a/number": "-12\n", "/sys/a/word": " x\0", "/sys/a/odd": "--1\n"}
    system = boards.machine(tmp_path, files)
    assert system.number("/sys/a/number") == -12
    assert system.number("/sys/a/odd") is None
    assert system.number("/sys/a/none") is None
    assert system.read("/sys/a/word") == "x"
    assert system.exists("/sys/a") and not system.exists("/sys/b")


def test_paths_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files = {f"/sys/zone{number}/temp": "1" for number in (10, 9, 1)}
    found = boards.machine(tmp_path, files).matches("/sys/zone*")
    assert found == ["/sys/zone1", "/sys/zone9", "/sys/zone10"]


def test_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    system = boards.machine(tmp_path, {"/a/b": "1", "/a/c": "1"}, forbidden=["/a/c"])
    assert system.trouble("/a/b") == ""
    assert system.trouble("/a/c") == "/a/c may not be read by this user"
    assert system.trouble("/a/d") == "/a/d is not there"
    assert system.trouble("/a").startswith("/a cannot be read: ")
    assert system.read("/a/c") == ""


def test_the_machine_itself() -> None:
    system = System()
    assert system.read("/proc/self/comm")
    assert system.run(["sh", "-c", "echo 3; exit 5"]).code == 5
