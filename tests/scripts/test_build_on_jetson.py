"""The two-machine path, with an ssh and an scp that stay on this machine."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

# ssh runs the command in the other machine's home; scp takes HOST: off and does the same.
SSH = r"""#!/bin/sh
printf 'ssh %s\n' "$*" >> "$CALLS"
while [ $# -gt 0 ]; do
    case "$1" in
        -o) shift 2 ;;
        -O) exit 0 ;;
        -t) shift ;;
        *) break ;;
    esac
done
host=$1; shift
[ "$host" = me@jetson ] || { echo "ssh: no host $host" >&2; exit 255; }
cd "$REMOTE" && PATH="$REMOTE/bin:$PATH" exec sh -c "$*"
"""
SCP = r"""#!/bin/sh
printf 'scp %s\n' "$*" >> "$CALLS"
while [ "$1" != -- ]; do shift; done
shift
from=${1#me@jetson:} to=${2#me@jetson:}
cd "$HERE"
case "$from" in /* | ./*) ;; *) from=$REMOTE/$from ;; esac
case "$to" in /* | ./*) ;; *) to=$REMOTE/$to ;; esac
exec cp -- "$from" "$to"
"""
EDGEPOSE = r"""#!/bin/sh
for word in "$@"; do printf '%s\n' "$word"; done > "$REMOTE/words"
cat recipe.toml > "$REMOTE/recipe" 2>/dev/null
pwd > "$REMOTE/folder"
[ ! -e "$REMOTE/refuse" ] || { echo "edgepose: no" >&2; exit 4; }
while [ "$1" != -o ]; do shift; done
cat ./*.onnx > "$2"
echo '{"sidecar": true}' > "$2.json"
"""


class Machines:
    """This one and the other one, both in a folder."""

    def __init__(self, folder: Path, script: Path) -> None:
        self.script = script
        self.here, self.remote, tools = folder / "here", folder / "remote", folder / "tools"
        for place in (self.here, self.remote / "bin", tools):
            place.mkdir(parents=True)
        self.calls = folder / "calls"
        self.calls.touch()
        edgepose = self.remote / "bin" / "edgepose"
        for path, text in ((tools / "ssh", SSH), (tools / "scp", SCP), (edgepose, EDGEPOSE)):
            path.write_text(text)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        (self.here / "pose.onnx").write_bytes(b"model")
        self.environment = {
            # Not this process's: it may have an edgepose of its own.
            "PATH": f"{tools}:{os.defpath}",
            "CALLS": str(self.calls),
            "REMOTE": str(self.remote),
            "HERE": str(self.here),
            "TMPDIR": str(folder),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The script, in a folder of its own."""
        return subprocess.run(
            ["sh", str(self.script), *arguments],
            cwd=self.here,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    @property
    def words(self) -> list[str]:
        """What edgepose was given over there."""
        return (self.remote / "words").read_text().splitlines()

    def left(self) -> list[str]:
        """What is left beside what was there before: temporary folders of either side."""
        return [path.name for path in self.calls.parent.iterdir() if path.name.startswith("tmp")]


@pytest.fixture
def machines(tmp_path: Path, repo_root: Path) -> Machines:
    if shutil.which("sh") is None:
        pytest.skip("needs a POSIX shell")
    return Machines(tmp_path, repo_root / "scripts" / "build_on_jetson")


def test_the_engine_and_its_sidecar_come_back(machines: Machines) -> None:
    done = machines.run("--recipe", "orin-nano-fp16", "me@jetson", "pose.onnx")
    assert done.returncode == 0, done.stderr
    assert (machines.here / "pose.engine").read_bytes() == b"model"
    assert "sidecar" in (machines.here / "pose.engine.json").read_text()
    assert machines.words == [
        "export", "pose.onnx", "--to", "engine", "-o", "pose.engine", "--recipe", "orin-nano-fp16",
    ]  # fmt: skip
    assert done.stdout == ""
    assert "wrote ./pose.engine and ./pose.engine.json" in done.stderr
    assert machines.left() == []
    assert sorted(path.name for path in machines.here.iterdir()) == [
        "pose.engine", "pose.engine.json", "pose.onnx",
    ]  # fmt: skip


def test_nothing_is_read_by_a_shell_that_should_not_be(machines: Machines) -> None:
    evil = 'a\'b $(touch pwned) `touch pwned`; touch pwned "c".onnx'
    (machines.here / evil).write_bytes(b"odd")
    setting = "engine.timing_cache=it's; touch pwned $HOME"
    done = machines.run("--set", setting, "--recipe", "x'; touch pwned", "me@jetson", evil)
    assert done.returncode == 0, done.stderr
    assert (machines.here / evil.replace(".onnx", ".engine")).read_bytes() == b"odd"
    assert machines.words[1] == "model.onnx"  # an odd name does not travel
    assert setting in machines.words
    assert "x'; touch pwned" in machines.words
    assert not list(machines.calls.parent.rglob("pwned"))


def test_names_that_scp_and_ssh_could_misread(machines: Machines) -> None:
    (machines.here / "a:b.onnx").write_bytes(b"colon")
    done = machines.run("me@jetson", "a:b.onnx", "--out", "out:1.engine")
    assert done.returncode == 0, done.stderr
    assert (machines.here / "out:1.engine").read_bytes() == b"colon"
    assert machines.run("-oProxyCommand=x", "pose.onnx").returncode == 2
    assert machines.run("me@jetson;x", "pose.onnx").returncode == 2


def test_a_recipe_of_ones_own_travels(machines: Machines) -> None:
    (machines.here / "board.toml").write_text("mine")
    done = machines.run("--recipe", "board.toml", "me@jetson", "pose.onnx")
    assert done.returncode == 0, done.stderr
    assert machines.words[-2:] == ["--recipe", "recipe.toml"]
    assert (machines.remote / "recipe").read_text() == "mine"


def test_what_is_kept_there_stays_there(machines: Machines) -> None:
    done = machines.run("--keep", "models/a", "me@jetson", "pose.onnx")
    assert done.returncode == 0, done.stderr
    kept = machines.remote / "models" / "a"
    assert {path.name for path in kept.iterdir()} == {
        "pose.onnx", "pose.engine", "pose.engine.json",
    }  # fmt: skip
    assert not (machines.here / "pose.engine").exists()


def test_a_build_that_fails_leaves_nothing_and_its_exit_code(machines: Machines) -> None:
    (machines.remote / "refuse").touch()
    (machines.here / "pose.engine").write_bytes(b"old")
    done = machines.run("me@jetson", "pose.onnx")
    assert done.returncode == 4
    assert "edgepose: no" in done.stderr
    assert (machines.here / "pose.engine").read_bytes() == b"old"
    assert not Path((machines.remote / "folder").read_text().strip()).exists()
    assert machines.left() == []


def test_an_edgepose_that_is_not_on_the_path(machines: Machines) -> None:
    (machines.remote / "bin" / "edgepose").rename(machines.remote / "edgepose")
    done = machines.run("me@jetson", "pose.onnx")
    assert done.returncode == 4
    assert "--edgepose '~/env/bin/edgepose'" in done.stderr
    called = f"REMOTE={shlex.quote(str(machines.remote))} {machines.remote}/edgepose"
    assert machines.run("--edgepose", called, "me@jetson", "pose.onnx").returncode == 0


def test_a_host_that_does_not_answer(machines: Machines) -> None:
    done = machines.run("me@elsewhere", "pose.onnx")
    assert done.returncode == 255
    assert "no host me@elsewhere" in done.stderr
    assert machines.left() == []


def test_a_dry_run_runs_nothing_and_prints_what_can_be_typed(machines: Machines) -> None:
    done = machines.run(
        "--dry-run", "--recipe", "cpu", "--set", "batch=1,2,3", "me@jetson", "pose.onnx"
    )
    assert done.returncode == 0
    assert machines.calls.read_text() == ""
    commands = [shlex.split(line) for line in done.stdout.splitlines()]
    assert [words[0] for words in commands] == ["ssh", "scp", "ssh", "scp", "scp", "mv", "mv"]
    assert commands[2][-1] == (
        "cd '/tmp/FOLDER' && edgepose export pose.onnx --to engine -o pose.engine "
        "--recipe 'cpu' --set 'batch=1,2,3'"
    )
    assert machines.left() == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "give USER@HOST and MODEL.onnx"),
        (("me@jetson",), 2, "give USER@HOST and MODEL.onnx"),
        (("me@jetson", "none.onnx"), 1, "no file none.onnx"),
        (("me@jetson", "mitpose-lite"), 2, "no .onnx file"),
        (("me@jetson", "pose.onnx", "more"), 2, "too much"),
        (("--out", "pose.trt", "me@jetson", "pose.onnx"), 2, "must end in .engine"),
        (("--keep", "a b", "me@jetson", "pose.onnx"), 2, "--keep takes"),
        (("--keep", "a", "--out", "b.engine", "me@jetson", "pose.onnx"), 2, "leave --out away"),
        (("--recipe", "none.toml", "me@jetson", "pose.onnx"), 1, "no recipe none.toml"),
        (("--recipe",), 2, "--recipe needs a value"),
        (("--fast", "me@jetson", "pose.onnx"), 2, "unknown option --fast"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], code: int, words: str, machines: Machines) -> None:
    done = machines.run(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert machines.calls.read_text() == ""


def test_help(machines: Machines) -> None:
    done = machines.run("--help")
    assert done.returncode == 0
    assert "--dry-run" in done.stdout
