from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from edgepose.bench import Schedule, latency, read_record
from edgepose.cli.bench import bench
from edgepose.errors import DatasetError, GraphError
from edgepose.spec import Provenance
from edgepose.zoo import sha256_of
from tests.evaluate.folders import person, write_folder
from tests.fakes import heatmap_spec, write_tiny_onnx

app = typer.Typer()
app.command()(bench)


def run(*words: str | Path, fails: bool = False) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not fails:
        raise result.exception
    return result


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    return write_tiny_onnx(tmp_path / "tiny.onnx", heatmap_spec())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    people = [
        person(30, 139, (10, 10, 60, 100)),
        person(60, 785, (90, 20, 80, 90)),
        person(90, 785, (10, 20, 60, 90)),
    ]
    return write_folder(
        tmp_path / "coco", people, {139: "000000000139.png", 785: "000000000785.png"}
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Schedule(rounds=2, calls=2, pause_s=0.0, warmup=1)
    monkeypatch.setattr(latency, "Schedule", lambda: schedule)


def test_accuracy_as_json_and_as_records(artefact: Path, folder: Path, tmp_path: Path) -> None:
    result = run(artefact, "--coco", folder, "--threads", "1", "--json", "--out", tmp_path / "r")
    (record,) = json.loads(result.stdout)
    assert record["kind"] == "accuracy"
    assert [r["protocol"]["flip"] for r in record["results"]] == [False, True]
    assert record["results"][0]["label"] == "AP on val2017 (3 persons, GT boxes, flip off)"
    assert record["artefact"]["sha256"] == sha256_of(artefact)
    assert record["environment"]["stack"]["packages"]["onnxruntime"]
    (path,) = (tmp_path / "r").glob("*.json")
    assert read_record(path).to_dict() == record
    assert str(path) in result.stderr.replace("\n", "")


def test_the_command_inside_a_record_makes_it_again(artefact: Path, folder: Path) -> None:
    first = run(artefact, "--coco", folder, "--no-flip", "--limit", "1", "--batch", "1", "--json")
    (record,) = json.loads(first.stdout)
    words = shlex.split(record["command"])
    assert words[:2] == ["edgepose", "bench"]
    (again,) = json.loads(run(*words[2:], "--json").stdout)
    assert again["results"] == record["results"]
    assert again["command"] == record["command"]


def test_the_table_says_what_it_is_of(artefact: Path, folder: Path) -> None:
    result = run(artefact, "--coco", folder, "--flip")
    assert re.search(r"val2017\s+on\s+3\b", result.stdout)
    assert "AP50" in result.stdout


def test_weights_that_saw_validation_photos(tmp_path: Path, folder: Path) -> None:
    tainted = heatmap_spec(provenance=Provenance(holdout_only=True))
    artefact = write_tiny_onnx(tmp_path / "tainted.onnx", tainted)
    result = run(artefact, "--coco", folder, "--no-flip", "--json")
    (record,) = json.loads(result.stdout)
    (row,) = record["results"]
    assert row["label"] == "AP on the edgepose hold-out (2 persons, GT boxes, flip off)"
    assert "1 of 2 photos, those of the edgepose hold-out" in result.stderr
    assert "1 of 2 photos" in row["protocol"]["note"]


@pytest.mark.usefixtures("quick")
def test_latency(artefact: Path, tmp_path: Path) -> None:
    other = write_tiny_onnx(tmp_path / "other.onnx", heatmap_spec((96, 64)), size=(96, 64))
    result = run(artefact, other, "--batch", "1,2", "--json", "--out", tmp_path / "r")
    records = json.loads(result.stdout)
    assert [len(r["results"]) for r in records] == [4, 4]
    assert len(list((tmp_path / "r").glob("*_latency_*.json"))) == 2
    table = run(artefact, "--batch", "2").stdout
    assert re.search(r"network\s+2\s", table)
    assert re.search(r"poses\s+2\s", table)


def test_timing_needs_neither_torch_nor_onnx_nor_pycocotools(artefact: Path) -> None:
    """On a device there are none; they are made impossible to import."""
    code = f"""
import sys
for name in ('torch', 'onnx', 'onnxscript', 'pycocotools', 'matplotlib'):
    sys.modules[name] = None
from edgepose.bench import Schedule, latency
latency.Schedule = lambda: Schedule(rounds=2, calls=1, pause_s=0, warmup=1)
sys.argv = ['edgepose', 'bench', {str(artefact)!r}, '--json']
from edgepose.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["kind"] == "latency"


@pytest.mark.parametrize(
    "words",
    [
        ("--flip",),
        ("--both",),
        ("--limit", "3"),
        ("--coco", "c", "--both", "--flip"),
        ("--coco", "c", "--images", "i"),
        ("--coco", "c", "--batch", "1,2"),
        ("--batch", "0"),
        ("--batch", "1;8"),
    ],
)
def test_wrong_usage(artefact: Path, words: tuple[str, ...]) -> None:
    result = run(artefact, *words, fails=True)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_wrong_input(artefact: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no folder"):
        run(artefact, "--coco", tmp_path / "nowhere")
    with pytest.raises(GraphError, match="no file"):
        run(tmp_path / "nothing.onnx", "--coco", tmp_path)
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(GraphError, match="cannot load"):
        run(tmp_path / "bad.onnx")
