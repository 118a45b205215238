"""The command: without a GPU, as a plan, with wrong words, and from end to end with fakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import check as checks
from benchmarks.gpu import cli
from benchmarks.gpu.launch import Outcome
from benchmarks.gpu.plan import Step
from benchmarks.gpu.products import Products, find_products
from edgepose.bench import read_record
from edgepose.doctor.asking import Answer
from edgepose.errors import DeviceError
from edgepose.trt.gpu import find_gpu
from tests.benchmarks.gpu.bundles import write_bundle
from tests.trt.engines import GPU

without_gpu = pytest.mark.skipif(find_gpu() is not None, reason="is about a machine without a GPU")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@without_gpu
def test_without_a_gpu_it_says_so(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", str(bundle), "--out", str(tmp_path / "results")]) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("gpu_check: no usable GPU: ")
    assert not (tmp_path / "results").exists()


@without_gpu
def test_the_plan_needs_no_gpu(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", str(bundle), "--dry-run", "--minutes", "2"]) == 0
    said = capsys.readouterr()
    assert "plan for a machine that has one" in said.err
    for key in ("machine/", "build/tiny/fp16/tensorrt-rtx", "latency/tiny", "accuracy/tiny"):
        assert key in said.out
    assert not (bundle / "work").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--models", "other"], "the bundle has no 'other': it has tiny"),
        (["--set", "no_such=1"], "no option 'no_such'"),
        (["--set", "optimization_level=9"], "optimization_level is 9"),
        (["--set", "nonsense"], "--set nonsense cannot be read"),
        (["--python", "jax=/usr/bin/python"], "--python jax means nothing"),
        (["--minutes", "0"], "0 minutes are no time"),
    ],
)
def test_wrong_words(
    bundle: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert cli.main(["run", str(bundle), "--dry-run", *words]) == 1
    assert told in capsys.readouterr().err


def test_products_are_asked_for_in_children() -> None:
    def ask(question: str) -> Answer:
        if question == "tensorrt":
            return Answer(facts={"version": "8.6.0", "cuda": "12"})
        return Answer(error="it is not installed", absent=True)

    found = find_products(ask)
    assert found == Products({"tensorrt": "8.6.0"}, {"tensorrt-rtx": "it is not installed"})


def launched(log: list[str], **ends: Outcome) -> Callable[..., Outcome]:
    def launch(step: Step, seconds: float, say: Callable[[str], None]) -> Outcome:
        log.append(step.key)
        if step.makes is not None:
            step.makes.parent.mkdir(parents=True, exist_ok=True)
            step.makes.write_bytes(b"engine")
        return ends.get(step.kind.replace("-", "_"), Outcome(status="done"))

    return launch


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A machine with a GPU and TensorRT 8.6.0; gives the steps that are launched on it."""

    def make(**ends: Outcome) -> list[str]:
        log: list[str] = []

        def check(asked: checks.Asked, say: Callable[[str], None]) -> Any:
            return checks.check(
                asked,
                say,
                do=launched(log, **ends),
                products=lambda: Products({"tensorrt": "8.6.0"}, {"tensorrt-rtx": "no module"}),
                gpu=lambda: GPU,
            )

        monkeypatch.setattr(cli, "check", check)
        return log

    return make


def test_records_are_written_and_a_second_run_has_nothing_to_do(
    bundle: Path,
    tmp_path: Path,
    machine: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = machine()
    words = ["run", str(bundle), "--out", str(tmp_path / "results"), "--json"]
    words += ["--set", "external_tactics=false"]
    assert cli.main(words) == 0
    said = capsys.readouterr()
    rows = json.loads(said.out)
    assert [row["step"] for row in rows] == log
    assert "tensorrt-rtx is not here, because no module" in said.err
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name.startswith("fake-gpu-")
    records = [read_record(path) for path in folder.iterdir()]
    assert {record.kind for record in records} == {
        "gpu-machine", "gpu-engines", "gpu-latency", "gpu-device-path", "gpu-accuracy",
    }  # fmt: skip
    assert all("external_tactics=false" in record.command for record in records)
    assert all(record.command.startswith("scripts/gpu_check run") for record in records)
    assert all(record.environment["hardware"]["cpu"] for record in records)
    for record in records:
        assert str(folder / record.file_name) in said.err
    log.clear()
    assert cli.main(words) == 0
    assert log == []
    assert json.loads(capsys.readouterr().out) == rows


def test_a_verdict_that_is_no_ends_with_3(
    bundle: Path,
    tmp_path: Path,
    machine: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine(parity=Outcome(status="done", found={"passed": False, "verdicts": []}))
    words = ["run", str(bundle), "--out", str(tmp_path / "results"), "--json"]
    assert cli.main(words) == 3
    assert "NOT passed: parity/tiny/fp16/tensorrt" in capsys.readouterr().err


def test_everything_that_is_left_is_in_the_table(
    bundle: Path, tmp_path: Path, machine: Callable[..., list[str]]
) -> None:
    log = machine(build=Outcome(status="failed", words="Error Code 10"))
    asked = ["run", str(bundle), "--out", str(tmp_path / "results"), "--json"]
    assert cli.main(asked) == 1
    assert [key.split("/")[0] for key in log] == ["machine", "build", "build"]


def test_no_driver_is_the_first_thing_said(bundle: Path, tmp_path: Path) -> None:
    def gpu() -> Any:
        raise DeviceError("no usable GPU", "the driver finds no NVIDIA GPU")

    asked = checks.Asked(
        folders=(tmp_path / "no bundle",),
        out=tmp_path,
        work=None,
        minutes=1,
        models=None,
        settings={},
        pythons={},
        retry=False,
        command="",
    )
    with pytest.raises(DeviceError, match="finds no NVIDIA GPU"):
        checks.check(asked, print, gpu=gpu)


def test_the_script_starts_from_anywhere(repo_root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [repo_root / "scripts" / "gpu_check", "run", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--minutes" in done.stdout
