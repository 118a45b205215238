"""Whole machines: what each can do, and the words that a person gets about what it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepose.doctor import PURPOSES, Finding, Report, System, examine
from edgepose.doctor.asking import Answer
from edgepose.recipes import load_recipe
from tests.doctor import machines

EVERYTHING = {name: "1.0" for name in ("torch", "onnx", "onnxscript", "onnxslim", "safetensors")}


def one(report: Report, group: str, check: str) -> Finding:
    (finding,) = [f for f in report.findings if (f.group, f.check) == (group, check)]
    return finding


def can(report: Report) -> set[str]:
    return {purpose for purpose in PURPOSES if not report.reasons(purpose)}


def test_a_jetson_as_it_should_be(tmp_path: Path) -> None:
    report = examine(machines.orin_nano(tmp_path), asked="tensorrt")
    assert report
    assert can(report) == {"cpu", "tensorrt", "camera"}
    assert not [f for f in report.findings if f.level in ("warn", "fail")]
    assert (
        "JetPack 6.2 (L4T 36.4.3), which carries TensorRT 10.3"
        in one(report, "system", "JetPack").seen
    )
    board = one(report, "system", "board").seen
    recipe = load_recipe(board.rpartition(" ")[2])
    assert recipe.target == "trt-10"
    assert recipe.to == "engine"
    assert "shared by CPU and GPU" in one(report, "memory", "memory").seen
    assert one(report, "memory", "swap").level == "note"
    assert (
        "10.3.0 for CUDA 12.5; precision is the graph's" in one(report, "TensorRT", "TensorRT").seen
    )
    assert "imx219" in one(report, "cameras", "camera").seen


def test_its_power_mode_and_clock_are_told_with_what_to_type(tmp_path: Path) -> None:
    report = examine(machines.orin_nano(tmp_path))
    mode = one(report, "power", "power mode")
    assert mode.level == "note"
    assert mode.seen == "15W (others: 25W, MAXN_SUPER, 7W)"
    assert mode.do.startswith("sudo nvpmodel -m 2 is MAXN_SUPER")
    clock = one(report, "power", "GPU clock")
    assert "306 now, 306 to 1020 MHz" in clock.seen
    assert "jetson_clocks" in clock.do
    assert one(report, "power", "heat").seen == "gpu-thermal 49 °C"


def test_jetpack_5_is_out_of_range_but_its_cpu_is_not(tmp_path: Path) -> None:
    report = examine(machines.jetpack5(tmp_path))
    assert report
    assert can(report) == {"cpu"}
    jetpack = one(report, "system", "JetPack")
    assert jetpack.level == "fail"
    assert "JetPack 5 (L4T 35.4.1)" in jetpack.seen
    assert "8.5" in jetpack.means
    assert "no JetPack 6" in jetpack.do
    assert "a wheel from PyPI hides the system's" in one(report, "OpenCV", "GStreamer").seen
    assert not examine(machines.jetpack5(tmp_path), asked="tensorrt")


def test_thor_lacks_one_package(tmp_path: Path) -> None:
    report = examine(machines.thor(tmp_path), asked="tensorrt")
    assert not report
    (reason,) = report.reasons("tensorrt")
    assert reason.level == "fail"
    assert reason.do == "pip install 'cuda-bindings>=13,<14'"
    assert "thor-fp16" in one(report, "system", "board").seen
    assert one(report, "power", "GPU clock").seen == "fixed at 1575 MHz"
    assert one(report, "power", "power mode").seen == "MAXN"
    assert one(report, "memory", "swap").level == "warn"


def test_a_desktop_with_a_driver_only(tmp_path: Path) -> None:
    report = examine(machines.desktop(tmp_path))
    assert can(report) == {"cpu"}
    assert one(report, "GPU", "GPU").seen == (
        "NVIDIA GeForce RTX 4070, compute capability 8.9, 12.0 GiB; driver 580.95.05, "
        "CUDA up to 13.0"
    )
    missing = one(report, "TensorRT", "TensorRT")
    assert missing.level == "warn"
    assert missing.do.startswith("pip install tensorrt-cu13")
    assert one(report, "onnxruntime", "packages").level == "warn"
    provider = one(report, "onnxruntime", "CUDA provider")
    assert provider.level == "fail"
    assert "libcublasLt.so.13" in provider.seen
    assert "onnxruntime-gpu[cuda,cudnn]" in provider.do
    assert "avx512_vnni" in one(report, "system", "CPU").seen
    assert one(report, "power", "CPU governor").level == "ok"  # by load, under that driver


def test_a_plain_cpu_has_nothing_to_complain_of(tmp_path: Path) -> None:
    report = examine(machines.plain_cpu(tmp_path))
    assert report
    assert can(report) == {"cpu"}
    assert {f.level for f in report.findings} == {"ok", "note"}
    assert report.verdict().startswith("You can: run models on the CPU. Not: run them on the GPU")
    assert "no NVIDIA GPU" in report.verdict()


def test_what_is_asked_for_and_missing_is_a_failure(tmp_path: Path) -> None:
    for purpose in ("cuda", "tensorrt", "camera", "export"):
        report = examine(machines.plain_cpu(tmp_path), asked=purpose)
        assert not report
        assert all(finding.level == "fail" for finding in report.reasons(purpose))
    packages = {"onnxruntime": "1.31.1", **EVERYTHING}
    assert examine(machines.plain_cpu(tmp_path, packages=packages), asked="export")


def test_without_its_two_packages_nothing_runs(tmp_path: Path) -> None:
    for name in ("onnxruntime", "opencv"):
        broken = {name: Answer(error=f"ModuleNotFoundError: No module named '{name}'")}
        report = examine(machines.plain_cpu(tmp_path, told=broken))
        assert not report
        assert report.reasons("cpu")[0].do.startswith("pip install")


@pytest.mark.parametrize(
    "machine", [machines.orin_nano, machines.jetpack5, machines.thor, machines.desktop]
)
def test_every_finding_says_enough(machine: Callable[[Path], System], tmp_path: Path) -> None:
    for finding in examine(machine(tmp_path)).findings:
        assert finding.seen
        if finding.level in ("warn", "fail"):
            assert finding.means or finding.do
        assert "\n" not in finding.seen + finding.means + finding.do


def test_the_report_is_json_without_secrets(tmp_path: Path) -> None:
    secret = Answer(error="OSError: cannot open rtsp://admin:hunter2@cam/live?token=abc")
    report = examine(machines.plain_cpu(tmp_path, told={"tensorrt_rtx": secret}))
    text = json.dumps(report.to_dict())
    assert "hunter2" not in text
    assert "abc" not in text
    data = json.loads(text)
    assert data["can"]["cpu"] is True
    assert data["ok"] is True
    assert set(data["findings"][0]) == {
        "group", "check", "level", "seen", "means", "do", "blocks",
    }  # fmt: skip
