"""The builder from end to end, with a fake TensorRT in a real child process."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgepose.engine import BuildOptions, Profile, build_engine, preflight
from edgepose.engine.build import _CHILD
from edgepose.errors import (
    DeviceError,
    EngineError,
    GraphError,
    InputError,
    MissingDependency,
    OutputError,
    SpecError,
)
from edgepose.spec import RECORD_KEY
from edgepose.trt import api, sidecar
from edgepose.trt.gpu import Gpu
from tests.engine.graphs import write
from tests.fakes import heatmap_spec, write_tiny_onnx
from tests.trt.engines import GPU

Install = Callable[..., Path]
LEFT = ["pose.engine", "pose.engine.json"]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "pose.engine"


def test_an_engine_and_its_sidecar(
    installed: Install,
    gpu: Gpu,
    out: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    installed("10.3.0")
    record = {"precision": "fp16", "calibration": {"crops": 64}}
    onnx = write(tmp_path / "pose.onnx", "fp16", metadata={RECORD_KEY: json.dumps(record)})
    steps: list[tuple[str, int, int]] = []
    with caplog.at_level(logging.DEBUG):
        built = build_engine(onnx, out, progress=lambda *step: steps.append(step))
    assert names(out.parent) == LEFT
    found = sidecar.read(out)
    assert found == built.sidecar
    here = sidecar.Here(
        product="tensorrt", version="10.3.0", gpu=GPU, platform=sidecar.platform_name()
    )
    assert len(sidecar.check(found, out, here)) == found.engine_bytes
    assert (found.precision, found.onnx, found.spec) == ("fp16", str(onnx), heatmap_spec((64, 48)))
    assert found.profiles == (Profile(1, 4, 16),)
    assert found.record == record
    assert found.gpu == GPU
    assert found.build["layers"] == 4
    assert found.layers == {
        "layers": 4,
        "by_precision": {"fp16": 2, "fp32": 2},
        "fp32_names": ["cast_s", "soft(Softmax)/Softmax_2"],
    }
    assert steps[:2] == [("reading the graph", 0, 0), ("building", 0, 0)]
    assert ("Timing", 2, 2) in steps
    assert steps[-2:] == [("writing", 0, 0), ("inspecting", 0, 0)]
    # What native code prints reaches nobody's terminal, and no pipe.
    assert capfd.readouterr() == ("", "")
    assert "native code writes where it likes" in caplog.text
    assert "Building" in caplog.text


@pytest.mark.parametrize(
    ("knobs", "error", "told"),
    [
        ({"kill": int(signal.SIGKILL)}, DeviceError, "was stopped while building: .*want of mem"),
        ({"kill": int(signal.SIGSEGV)}, GraphError, "died of signal SIGSEGV"),
        ({"refuse": "Error Code 10: no tactic"}, GraphError, "cannot build an engine: .*no tactic"),
        ({"refuse": "Error Code 2: OutOfMemory (Requested size 9)"}, DeviceError, "out of GPU mem"),
        ({"parser_refuses": "no such op"}, GraphError, r"node relu_x: no such op[\s\S]*--target"),
        ({"gpu": False}, DeviceError, r"finds no usable GPU: CUDA init.*error: 35"),
    ],
    ids=["out of memory", "crash", "no tactic", "out of GPU memory", "parser", "driver too old"],
)
def test_a_build_that_fails(
    knobs: dict[str, Any],
    error: type[Exception],
    told: str,
    installed: Install,
    gpu: Gpu,
    out: Path,
    tmp_path: Path,
) -> None:
    installed("10.13.3.9", **knobs)
    onnx = write(tmp_path / "pose.onnx")
    out.write_bytes(b"the engine of yesterday")
    with pytest.raises(error, match=told) as raised:
        build_engine(onnx, out)
    assert raised.value.exit_code == (4 if error is DeviceError else 1)  # type: ignore[attr-defined]
    assert names(out.parent) == ["pose.engine"]
    assert out.read_bytes() == b"the engine of yesterday"


def test_ctrl_c_ends_the_child_and_leaves_nothing(
    installed: Install, gpu: Gpu, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("10.3.0", seconds=60.0)
    onnx = write(tmp_path / "pose.onnx")
    started_children = []

    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started_children.append(self.pid)

    monkeypatch.setattr(subprocess, "Popen", Popen)

    def interrupt(phase: str, step: int, of: int) -> None:
        if phase == "Timing":
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        build_engine(onnx, out, progress=interrupt)
    assert time.monotonic() - started < 45
    assert names(out.parent) == []
    (child,) = started_children
    with pytest.raises(ProcessLookupError):  # it is neither alive nor waits to be reaped
        os.kill(child, 0)


def test_the_child_ends_with_its_parent(installed: Install, tmp_path: Path, gpu: Gpu) -> None:
    installed("10.3.0", seconds=60.0)
    request = {
        "product": "tensorrt",
        "onnx": str(write(tmp_path / "pose.onnx")),
        "engine": str(tmp_path / "x.engine"),
        "profiles": [[1, 1, 1]],
        "options": {},
        "gpu": False,
        "log_level": logging.WARNING,
    }
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, json.dumps(sys.path), json.dumps(request)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with child:
        assert child.stdout is not None and child.stdin is not None
        for line in child.stdout:
            if "Timing" in line:
                break
        child.stdin.close()  # as the end of the parent does
        assert child.wait(timeout=30) == 1


def test_a_crash_between_the_two_files_leaves_no_believable_pair(
    installed: Install, gpu: Gpu, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("10.3.0")
    build_engine(write(tmp_path / "pose.onnx"), out)
    replace = Path.replace

    def die(self: Path, target: Path) -> Path:
        if target == out:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        build_engine(write(tmp_path / "pose.onnx", "fp16"), out)
    assert names(out.parent) == LEFT
    here = sidecar.Here(
        product="tensorrt", version="10.3.0", gpu=GPU, platform=sidecar.platform_name()
    )
    with pytest.raises(EngineError, match="not the engine that its sidecar describes"):
        sidecar.check(sidecar.read(out), out, here)


def test_not_installed(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: Gpu
) -> None:
    monkeypatch.setitem(api._MODULES, "tensorrt", ("no_such_module",))
    with pytest.raises(MissingDependency, match="this needs TensorRT"):
        build_engine(write(tmp_path / "pose.onnx"), out)


def test_too_old(installed: Install, gpu: Gpu, out: Path, tmp_path: Path) -> None:
    installed("8.6.0")
    module = tmp_path / "fake" / "tensorrt.py"
    module.write_text("__version__ = '8.5.2.2'\n")
    with pytest.raises(MissingDependency, match=r"8\.6 or later, and version 8\.5\.2\.2"):
        build_engine(write(tmp_path / "pose.onnx"), out)


def test_no_gpu(
    installed: Install, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("10.3.0")
    monkeypatch.setattr("edgepose.trt.gpu._LIBRARY", "libno-such-driver.so.1")
    with pytest.raises(DeviceError, match=r"no usable GPU[\s\S]*--to rtx-engine") as error:
        build_engine(write(tmp_path / "pose.onnx"), out)
    assert error.value.exit_code == 4
    assert names(out.parent) == []


def test_driver_too_old(
    installed: Install, gpu: Gpu, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = installed("10.3.0")
    monkeypatch.setattr(preflight, "libraries_cuda", lambda product: "14.1")
    with pytest.raises(DeviceError, match=r"driver 580\.10 is too old.*CUDA 14\.1.*to 13\.0"):
        build_engine(write(tmp_path / "pose.onnx"), out)
    assert not trace.exists()


@pytest.mark.parametrize("where", ["a file/pose.engine", "a folder.engine", "full/pose.engine"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    where: str,
    installed: Install,
    gpu: Gpu,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = installed("10.3.0")
    (tmp_path / "a file").touch()
    (tmp_path / "a folder.engine").mkdir()
    if "full" in where:
        usage = type("usage", (), {"free": 1000})
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises((OutputError, InputError), match=r"cannot write|is a folder"):
        build_engine(write(tmp_path / "pose.onnx"), tmp_path / where)
    assert not trace.exists()


def test_memory(
    installed: Install,
    gpu: Gpu,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    trace = installed("10.3.0")
    onnx = write(tmp_path / "pose.onnx")
    monkeypatch.setattr(preflight, "available_memory", lambda: 512 * 2**20)
    with pytest.raises(DeviceError, match="1536 MiB are needed and 512 MiB are free") as error:
        build_engine(onnx, out)
    assert error.value.exit_code == 4
    assert not trace.exists()
    monkeypatch.setattr(preflight, "available_memory", lambda: 1000 * 2**20)
    (note,) = build_engine(onnx, out).notes
    assert "memory may run short" in note
    assert note in caplog.text


def test_a_fixed_batch(installed: Install, gpu: Gpu, out: Path, tmp_path: Path) -> None:
    installed("10.3.0")
    onnx = write(tmp_path / "pose.onnx", batch=8)
    with pytest.raises(InputError, match=r"batches of 8 and no others[\s\S]*--batch 8"):
        build_engine(onnx, out, BuildOptions(profiles=(Profile(1, 4, 16),)))
    assert build_engine(onnx, out).sidecar.profiles == (Profile(8, 8, 8),)


def test_files_that_are_no_pose_graphs(
    installed: Install, gpu: Gpu, out: Path, tmp_path: Path
) -> None:
    installed("10.3.0")
    with pytest.raises(GraphError, match="there is no file"):
        build_engine(tmp_path / "none.onnx", out)
    (tmp_path / "torn.onnx").write_bytes(write(tmp_path / "x.onnx").read_bytes()[:900])
    with pytest.raises(GraphError, match="cannot read"):
        build_engine(tmp_path / "torn.onnx", out)
    bare = write_tiny_onnx(tmp_path / "bare.onnx", None)
    with pytest.raises(SpecError, match=r"no edgepose spec[\s\S]*spec=\.\.\."):
        build_engine(bare, out)
    built = build_engine(bare, out, spec=heatmap_spec())
    assert built.sidecar.spec == heatmap_spec()


def test_pairs_for_onnxruntime_are_refused_in_words(out: Path, tmp_path: Path) -> None:
    record = json.dumps({"precision": "int8", "form": "onnxruntime"})
    onnx = write(tmp_path / "pose.onnx", "int8", metadata={RECORD_KEY: record})
    with pytest.raises(GraphError, match=r"quantised for onnxruntime[\s\S]*--to rtx-engine"):
        build_engine(onnx, out, product="tensorrt-rtx")


@pytest.mark.parametrize(
    ("product", "options"),
    [
        ("tensorrt", {"compute_capabilities": ("8.6",)}),
        ("tensorrt-rtx", {"dla_core": 0}),
        ("tensorrt-rtx", {"timing_cache": "x"}),
        ("tensorrt-rtx", {"version_compatible": True}),
    ],
)
def test_options_of_the_other_product(
    product: Any, options: dict[str, Any], out: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"has no option {next(iter(options))}"):
        build_engine(tmp_path / "never read", out, BuildOptions(**options), product=product)
