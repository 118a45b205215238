from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from edgepose import zoo
from edgepose.bench.record import read_artefact_record
from edgepose.cli.bench import bench
from edgepose.errors import DatasetError, InputError, OutputError
from edgepose.spec import Provenance
from edgepose.zoo import sha256_of
from tests.evaluate.folders import person, write_folder
from tests.fakes import heatmap_spec, write_tiny_onnx

app = typer.Typer()
app.command()(bench)
QUICK = ("--batch", "1", "--threads", "1", "--set", "rounds=2")


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


def records_of(result: Result) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(result.stdout)["records"]
    return records


@pytest.fixture
def kept(artefact: Path, tmp_path: Path) -> Path:
    """A record of the times of a tiny artefact, in a file."""
    words = ("--batch", "1", "--threads", "1", "--set", "rounds=6", "--only", "latency")
    run(artefact, *words, "--out", tmp_path / "kept")
    (path,) = (tmp_path / "kept").glob("*.json")
    return path


def test_everything_in_a_record_and_a_report(artefact: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(artefact, *QUICK, "--coco", folder, "--json", "--out", out)
    (record,) = records_of(result)
    assert record["kind"] == "artefact"
    assert record["status"] == "complete"
    assert [entry["protocol"]["flip"] for entry in record["accuracy"]] == [False, True]
    assert record["accuracy"][0]["label"] == "AP on val2017 (3 persons, GT boxes, flip off)"
    assert record["artefact"]["sha256"] == sha256_of(artefact)
    assert record["cost"]["counted_on"] == "onnx"
    assert record["memory"]["peak_bytes"] > 0
    assert record["conditions"]["threads"] == 1
    assert record["environment"]["stack"]["packages"]["onnxruntime"]
    (path,) = out.glob("*.json")
    assert read_artefact_record(path).to_dict() == record
    assert "tiny" in (out / "report.md").read_text()
    assert str(path) in result.stderr.replace("\n", "")


def test_the_command_inside_a_record_makes_it_again(artefact: Path, folder: Path) -> None:
    words = ("--only", "accuracy", "--coco", folder, "--no-flip", "--set", "limit=1")
    (record,) = records_of(run(artefact, *words, "--json"))
    again = shlex.split(record["command"])
    assert again[:2] == ["edgepose", "bench"]
    (same,) = records_of(run(*again[2:], "--json"))
    drop = {"seconds", "resumed_persons"}
    first, second = (
        {k: v for k, v in r["accuracy"][0].items() if k not in drop} for r in (record, same)
    )
    assert first == second
    assert same["command"] == record["command"]


def test_weights_that_saw_validation_photos(tmp_path: Path, folder: Path) -> None:
    tainted = heatmap_spec(provenance=Provenance(holdout_only=True))
    artefact = write_tiny_onnx(tmp_path / "tainted.onnx", tainted)
    result = run(artefact, "--only", "accuracy", "--coco", folder, "--no-flip", "--json")
    (record,) = records_of(result)
    (row,) = record["accuracy"]
    assert row["label"] == "AP on the edgepose hold-out (2 persons, GT boxes, flip off)"
    assert "1 of 2 photos, those of the edgepose hold-out" in result.stderr
    assert "1 of 2 photos" in row["protocol"]["note"]


def test_one_that_fails_is_told_and_the_others_are_measured(artefact: Path, tmp_path: Path) -> None:
    words = (tmp_path / "absent.onnx", *QUICK, "--only", "memory")
    result = run(artefact, *words, "--json", fails=True)
    assert result.exit_code == 1
    good, bad = records_of(result)
    assert (good["status"], bad["status"]) == ("complete", "failed")
    assert "absent.onnx: open:" in result.stderr


def test_labels_are_names_of_files_as_far_as_they_differ(artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    twin = write_tiny_onnx(tmp_path / "b" / "tiny.onnx", heatmap_spec())
    other = write_tiny_onnx(tmp_path / "other.onnx", heatmap_spec())
    result = run(artefact, twin, other, *QUICK, "--only", "memory", "--json")
    labels = [record["label"] for record in records_of(result)]
    assert labels == [str(artefact), str(twin), "other.onnx"]


def test_the_zoos_ready_file_by_its_name(tmp_path: Path) -> None:
    ready = zoo.find("mitpose-lite").onnx
    assert ready is not None
    (record,) = records_of(run("mitpose-lite.onnx", *QUICK, "--only", "memory", "--json"))
    assert record["label"] == "mitpose-lite.onnx"
    assert record["artefact"]["file"] == ready.name


def test_a_record_is_read_and_judged_by_a_budget(kept: Path) -> None:
    held = run(kept, "--budget", "10s", "--json")
    assert json.loads(held.stdout)["choice"]["best"] == "tiny.onnx"
    missed = run(kept, "--budget", "0.000001ms", fails=True)
    assert missed.exit_code == 3
    assert "p95" in missed.stdout
    accurate = run(kept, "--budget", "10s", "--min-ap", "50", fails=True)
    assert accurate.exit_code == 3


def test_then_and_now(kept: Path, tmp_path: Path) -> None:
    same = run("--compare", kept, kept.parent, "--json")
    assert json.loads(same.stdout)["regressed"] is False
    slower = json.loads(kept.read_text())
    for cell in slower["latency"]["cells"]:
        cell["samples_ms"] = [[3 * ms for ms in visit] for visit in cell["samples_ms"]]
        cell["milliseconds"] = {key: 3 * ms for key, ms in cell["milliseconds"].items()}
    now = tmp_path / kept.name
    now.write_text(json.dumps(slower))
    result = run("--compare", kept, now, fails=True)
    assert result.exit_code == 3
    assert "REGRESSED" in result.stdout
    assert run("--compare", now, kept).exit_code == 0


def test_records_that_cannot_be_read(kept: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text('{"schema": 1, "kind": "latency"}')
    with pytest.raises(InputError, match="older schema 1"):
        run(old, "--budget", "33ms")
    with pytest.raises(InputError, match="older schema 1"):
        run("--compare", old, kept)


def test_timing_needs_neither_torch_nor_onnx_nor_pycocotools(artefact: Path) -> None:
    """On a device there are none; they are made impossible to import, in the child as well."""
    block = "\n".join(
        f"import sys; sys.modules[{name!r}] = None"
        for name in ("torch", "onnx", "onnxscript", "pycocotools", "matplotlib", "jinja2")
    )
    (artefact.parent / "sitecustomize.py").write_text(block)
    code = f"""
import sys
sys.path.insert(0, {str(artefact.parent)!r})
import sitecustomize
sys.argv = ['edgepose', 'bench', {str(artefact)!r}, *{list(QUICK)!r}, '--json']
from edgepose.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)["records"]
    assert record["status"] == "complete"
    assert "edgepose[export]" in record["cost"]["unavailable"]


@pytest.mark.parametrize(
    "words",
    [
        ("a.onnx", "--flip"),
        ("a.onnx", "--detections", "d.json"),
        ("a.onnx", "--min-ap", "50"),
        ("a.onnx", "--persons", "2"),
        ("a.onnx", "--batch", "0"),
        ("a.onnx", "--batch", "1;8"),
        ("a.onnx", "--compare", "old", "new"),
    ],
)
def test_wrong_usage(words: tuple[str, ...]) -> None:
    result = run(*words, fails=True)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_wrong_input(artefact: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no folder"):
        run(artefact, "--coco", tmp_path / "nowhere")
    with pytest.raises(InputError, match="nothing to measure"):
        run()
    with pytest.raises(InputError, match="no time for a frame"):
        run(artefact, "--budget", "soon")
    with pytest.raises(InputError, match="one of latency"):
        run(artefact, "--only", "speed")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        run(artefact, "--out", tmp_path / "file")
