"""One front door for every kind of artefact, and what the command line says without a GPU."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import edgepose
from edgepose.bench.records import describe_artefact
from edgepose.bench.worker import Request
from edgepose.bench.worker.opening import open_contender
from edgepose.cli import main
from edgepose.errors import DeviceError, GraphError
from edgepose.images import read_image
from edgepose.runtime import tensorrt
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.runtime.open import default_device, open_runner
from edgepose.runtime.tensorrt import TensorRTRunner
from edgepose.trt import api
from edgepose.trt.gpu import find_gpu
from tests.fakes import heatmap_spec, write_tiny_onnx
from tests.runtime.fake_cuda import FakeCuda
from tests.trt.engines import GPU, write_fake_engine
from tests.trt.fake import make

PHOTO = Path(edgepose.__file__).parent / "samples" / "000000000785.jpg"


class Done(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["edgepose", *map(str, arguments)])
        capfd.readouterr()  # making the engine has its say too
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capfd.readouterr())

    return run


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """On a machine with a fake TensorRT and a fake GPU."""
    trt = make("10.3.0", enqueue=FakeCuda.enqueue).install(monkeypatch)
    monkeypatch.setattr(tensorrt, "read_gpu", lambda index: GPU)
    monkeypatch.setattr(tensorrt, "open_cuda", lambda index, provider: FakeCuda(index=index))
    return write_fake_engine(tmp_path, trt)


def test_by_suffix(engine: Path, tmp_path: Path) -> None:
    model = tmp_path / "pose.onnx"
    with open_runner(model, threads=1) as runner:
        assert isinstance(runner, OnnxRunner)
        assert runner.device == "cpu"
    with open_runner(engine, threads=1) as runner:
        assert isinstance(runner, TensorRTRunner)
        assert runner.device == "cuda:0"
    with pytest.raises(DeviceError, match="cannot run on 'cpu'"):
        open_runner(engine, device="cpu")
    for name in ("weights.pth", "pose"):
        for device in (None, "cpu"):
            with pytest.raises(GraphError, match=r"not an \.onnx or \.engine file"):
                open_runner(tmp_path / name, device=device)
    assert (default_device("a.onnx"), default_device("b.engine")) == ("cpu", "cuda")


def test_an_engine_finds_the_poses_of_its_graph(engine: Path, tmp_path: Path) -> None:
    image = read_image(PHOTO)
    boxes = np.array([[50, 40, 300, 400], [200, 100, 420, 380], [10, 10, 90, 300]])
    with edgepose.load(engine) as ours, edgepose.load(tmp_path / "pose.onnx", threads=1) as graph:
        for flip in (False, True):
            found, wanted = (pose(image, boxes, flip=flip) for pose in (ours, graph))
            np.testing.assert_allclose(found.keypoints, wanted.keypoints, atol=1e-3)
            np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
        facts = describe_artefact(ours, "pose.engine")
    assert facts["file"] == "pose.engine"
    assert facts["bytes"] == engine.stat().st_size
    assert facts["spec"]["model"] == "fake"


def test_run_takes_an_engine(command: Command, engine: Path, tmp_path: Path) -> None:
    poses = tmp_path / "poses.jsonl"
    done = command("run", engine, "--source", PHOTO, "--jsonl", poses, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["device"] == "cuda:0"
    assert json.loads(poses.read_text())["persons"]
    # Nothing is written over the engine.
    done = command("run", engine, "--source", PHOTO, "--jsonl", engine)
    assert done.code == 1
    assert "the artefact" in done.err


def test_bench_takes_an_engine(engine: Path) -> None:
    """What its worker does; in this process, since the fakes are here."""
    request = Request(label="pose.engine", artefact=str(engine), kind="engine")
    contender, opened = open_contender(request, 0)
    assert opened.describe["runtime"] == "tensorrt"
    assert opened.describe["graphs"].startswith("on")
    assert set(opened.stages) == {"network", "device", "frame"}
    for stage in opened.stages:
        assert len(contender.visit(stage, 3, calls=2, untimed=1)) == 2


# --- this machine as it is ---


@pytest.fixture
def without_gpu() -> None:
    if find_gpu() is not None:
        pytest.skip("there is a GPU here")


def test_an_engine_without_tensorrt(
    command: Command, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    if api.installed("tensorrt"):
        pytest.skip("TensorRT is installed here")
    done = command("run", engine, "--source", PHOTO)
    assert done.code == 4
    assert "this needs TensorRT" in done.err
    assert "next: " in done.err
    assert done.out == ""


def test_an_engine_without_a_gpu(
    command: Command, without_gpu: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the real TensorRT-RTX where it is installed, else a fake one; the driver is missing."""
    fake = make("rtx-1.7.1.116")
    with pytest.MonkeyPatch.context() as patch:
        fake.install(patch)
        engine = write_fake_engine(tmp_path, fake)
    if not api.installed("tensorrt-rtx"):
        fake.install(monkeypatch)
    done = command("run", engine, "--source", PHOTO)
    assert done.code == 4
    assert "no usable GPU" in done.err
    assert done.out == ""


def test_an_engine_on_the_cpu(command: Command, engine: Path) -> None:
    done = command("run", engine, "--source", PHOTO, "--device", "cpu")
    assert done.code == 4
    assert "pose.engine cannot run on 'cpu'" in done.err
    assert "or give the .onnx file instead" in " ".join(done.err.split())


def test_an_engine_without_its_sidecar(command: Command, engine: Path) -> None:
    lonely = engine.with_name("lonely.engine")
    shutil.copy(engine, lonely)
    done = command("run", lonely, "--source", PHOTO)
    assert done.code == 1
    assert "has no sidecar" in done.err


def test_a_device_that_is_not_there(command: Command, tmp_path: Path) -> None:
    model = write_tiny_onnx(tmp_path / "pose.onnx", heatmap_spec())
    for device, words in (("migraphx", "is not available"), ("tpu", "unknown device 'tpu'")):
        done = command("run", model, "--source", PHOTO, "--device", device)
        assert done.code == 4
        assert words in done.err
