"""The TensorRT runner from end to end on the CPU: fake TensorRT, fake CUDA, real numbers."""

from __future__ import annotations

import gc
import json
import threading
import warnings
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.errors import DeviceError, EdgeposeError, EngineError, MissingDependency, SpecError
from edgepose.runtime import tensorrt
from edgepose.runtime.cuda.base import CudaError
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.runtime.tensorrt import TensorRTRunner
from edgepose.spec import Provenance
from edgepose.trt import sidecar
from edgepose.trt.sidecar import Profile
from tests.fakes import heatmap_spec, write_tiny_onnx
from tests.runtime.fake_cuda import FakeCuda
from tests.trt.engines import GPU, write_fake_engine
from tests.trt.fake import TENSORRT, VERSIONS, make


class World:
    """A machine with a fake TensorRT and fake GPUs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch, self.folder = monkeypatch, folder
        self.cudas: list[FakeCuda] = []
        self.knobs: dict[str, Any] = {}
        self.gpu = GPU
        monkeypatch.setattr(tensorrt, "read_gpu", lambda index: self.gpu)
        monkeypatch.setattr(tensorrt, "open_cuda", self._open)

    def _open(self, index: int, provider: str | None) -> FakeCuda:
        self.cudas.append(FakeCuda(gpu=self.gpu, index=index, **self.knobs))
        self.cudas[-1].fail = self.fail
        return self.cudas[-1]

    fail: int | None = None

    def engine(self, version: str = "10.3.0", **how: Any) -> Path:
        self.trt = make(version, enqueue=FakeCuda.enqueue).install(self._monkeypatch)
        return write_fake_engine(self.folder, self.trt, **how)

    @property
    def cuda(self) -> FakeCuda:
        (only,) = self.cudas
        return only

    def batches(self) -> list[int]:
        """Batch sizes that contexts were set to, in order."""
        return [shape[0] for _, shape in self.trt.called("IExecutionContext.set_input_shape")]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return World(monkeypatch, tmp_path)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 64, 48)).astype(np.float32)


def expected(world: World, images: np.ndarray) -> np.ndarray:
    with OnnxRunner(world.folder / "pose.onnx", threads=1) as runner:
        return runner.infer(images)["heatmaps"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("graphs", [True, False])
def test_computes_what_the_graph_computes(world: World, version: str, graphs: bool) -> None:
    engine = world.engine(version)
    with TensorRTRunner(engine, graphs=graphs) as runner:
        assert (runner.max_batch, runner.buckets, runner.device) == (16, None, "cuda:0")
        for count in (1, 3, 3, 3, 16, 1, 40, 40, 0):
            images = pictures(count, seed=count)
            outputs = runner.infer(images)
            assert list(outputs) == ["heatmaps"]
            assert outputs["heatmaps"].dtype == np.float32
            if count:
                np.testing.assert_allclose(
                    outputs["heatmaps"], expected(world, images), rtol=1e-5, atol=1e-6
                )
            assert outputs["heatmaps"].shape == (count, 17, 16, 12)
        described = json.loads(json.dumps(runner.describe()))
    world.cuda.assert_clean()
    assert described["graphs"].startswith("on" if graphs else "off: switched off")
    assert described["profiles"] == [[1, 4, 16]]
    assert (described["gpu"], described["precision"]) == ("Fake GPU", "fp32")
    assert described["runtime"] == world.trt.product


def test_outputs_stay_when_the_next_batch_comes(world: World) -> None:
    with TensorRTRunner(world.engine()) as runner:
        first = runner.infer(pictures(2, seed=1))["heatmaps"]
        kept = first.copy()
        runner.infer(pictures(2, seed=2))
        np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(first, kept)  # nor does closing take them


def test_batches_are_filled_up_to_what_has_a_graph(world: World) -> None:
    with TensorRTRunner(world.engine()) as runner:
        assert runner.describe()["graph_batches"] == (1, 2, 4, 8, 16)
        for count in (1, 2, 3, 5, 9, 16, 17):
            runner.infer(pictures(count))
        assert world.batches() == [1, 2, 4, 8, 16]
        # Only the rows that are asked for travel: 3 of the batch of 4, not 4.
        assert f"upload {3 * 3 * 64 * 48 * 4}" in world.cuda.calls
        assert f"download {3 * 17 * 16 * 12 * 4}" in world.cuda.calls


def test_without_graphs_batches_run_as_they_come(world: World) -> None:
    world.knobs = {"can_capture": False}
    with TensorRTRunner(world.engine(profiles=(Profile(2, 4, 16),))) as runner:
        for count in (1, 3, 5, 5, 20):
            runner.infer(pictures(count))
        assert world.batches() == [2, 3, 5, 16, 4]
        assert runner.describe()["graphs"] == "off: fake has none (cuda-bindings has)"
    assert not {"begin_capture", "launch"} & set(world.cuda.calls)
    assert len(world.trt.called("ICudaEngine.create_execution_context")) == 1


def test_a_graph_is_captured_at_the_second_run_and_launched_after(world: World) -> None:
    with TensorRTRunner(world.engine()) as runner:
        for _ in range(4):
            world.cuda.calls.clear()
            runner.infer(pictures(4))
            work = [c for c in world.cuda.calls if not c.startswith(("upload", "download"))]
            runs = [*locals().get("runs", []), work]
    assert runs == [
        ["enqueue", "synchronise"],
        ["begin_capture", "enqueue", "end_capture", "launch", "synchronise"],
        ["launch", "synchronise"],
        ["launch", "synchronise"],
    ]


def test_each_batch_size_keeps_its_graph(world: World) -> None:
    """From TensorRT 10 a context each, with shared memory to work in."""
    with TensorRTRunner(world.engine("10.3.0")) as runner:
        for count in (1, 4, 1, 4, 1, 4):
            runner.infer(pictures(count))
        assert world.cuda.calls.count("end_capture") == 2
        made = world.trt.called("ICudaEngine.create_execution_context")
        assert [arguments[0].name for arguments in made] == ["USER_MANAGED"] * 2
        addresses = world.trt.called("IExecutionContext.set_device_memory")
        assert len(set(addresses)) == 1
        assert len(addresses) == 2


def test_8_6_has_one_context_and_captures_again_after_a_change(world: World) -> None:
    """Its contexts cannot share a profile."""
    with TensorRTRunner(world.engine("8.6.0")) as runner:
        for count in (1, 1, 1, 4, 4, 1, 1):
            np.testing.assert_allclose(
                runner.infer(pictures(count))["heatmaps"],
                expected(world, pictures(count)),
                rtol=1e-5,
                atol=1e-6,
            )
        assert world.cuda.calls.count("end_capture") == 3
        assert world.cuda.calls.count("destroy_graph") == 2
        assert world.trt.called("ICudaEngine.create_execution_context") == [()]


def test_rtx_captures_its_own(world: World) -> None:
    world.knobs = {"can_capture": False}  # it needs no graphs of ours
    engine = world.engine("rtx-1.7.1.116")
    with TensorRTRunner(engine) as runner:
        runner.infer(pictures(3))
        runner.infer(pictures(3))
        assert "TensorRT-RTX" in runner.describe()["graphs"]
    (strategy,) = world.trt.called("IRuntimeConfig.cuda_graph_strategy=")[0]
    assert strategy.name == "WHOLE_GRAPH_CAPTURE"
    assert "begin_capture" not in world.cuda.calls


@pytest.mark.parametrize("how", ["end_capture", "enqueue"])
def test_an_engine_that_cannot_be_captured_says_so_and_runs(world: World, how: str) -> None:
    engine = world.engine()
    if how == "end_capture":
        world.knobs = {"refuse_capture": "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"}
    with TensorRTRunner(engine) as runner:
        runner.infer(pictures(1))
        if how == "enqueue":
            world.trt.refuse_enqueue = "this layer waits for the host"
        with pytest.warns(RuntimeWarning, match=r"pose\.engine runs without CUDA graphs"):
            outputs = runner.infer(pictures(1))
        np.testing.assert_allclose(
            outputs["heatmaps"], expected(world, pictures(1)), rtol=1e-5, atol=1e-6
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for count in (1, 4, 4, 4):
                runner.infer(pictures(count))
        assert runner.describe()["graphs"].startswith("off: this engine cannot be captured")
        assert "launch" not in world.cuda.calls
    world.cuda.assert_clean()


def test_a_failing_capture_is_no_reason_to_go_on(world: World) -> None:
    world.knobs = {"refuse_capture": "CUDA_ERROR_ILLEGAL_ADDRESS"}
    with TensorRTRunner(world.engine()) as runner:
        runner.infer(pictures(1))
        with pytest.raises(CudaError, match="ILLEGAL_ADDRESS"):
            runner.infer(pictures(1))
    world.cuda.assert_clean()


def test_shared_memory_is_not_copied(world: World) -> None:
    world.gpu = replace(GPU, integrated=True)
    with TensorRTRunner(world.engine()) as runner:
        for count in (3, 3, 3, 20):
            images = pictures(count, seed=count)
            np.testing.assert_allclose(
                runner.infer(images)["heatmaps"], expected(world, images), rtol=1e-5, atol=1e-6
            )
        assert runner.describe()["memory"] == "mapped, no copies"
    calls = world.cuda.calls
    assert calls.count("alloc_host mapped") == 2
    assert calls.count("alloc") == 1  # what contexts work in
    assert not [c for c in calls if c.startswith(("upload", "download"))]
    world.cuda.assert_clean()


def test_several_profiles(world: World) -> None:
    world.knobs = {"can_capture": False}
    engine = world.engine(profiles=(Profile(1, 1, 1), Profile(4, 8, 8)))
    with TensorRTRunner(engine) as runner:
        assert runner.max_batch == 8
        for count in (1, 3, 8, 10):
            images = pictures(count)
            np.testing.assert_allclose(
                runner.infer(images)["heatmaps"], expected(world, images), rtol=1e-5, atol=1e-6
            )
        assert world.batches() == [1, 4, 8, 4]
    chosen = world.trt.called("IExecutionContext.set_optimization_profile_async")
    assert [index for index, _ in chosen] == [1]


def test_a_fixed_batch(world: World) -> None:
    onnx = write_tiny_onnx(world.folder / "pose.onnx", heatmap_spec(), batch=8)
    with TensorRTRunner(world.engine(onnx=onnx, profiles=(Profile(8, 8, 8),))) as runner:
        assert (runner.max_batch, runner.buckets) == (8, (8,))
        images = pictures(11)
        found = runner.infer(images)["heatmaps"]
        whole = np.concatenate([images, np.zeros((5, 3, 64, 48), np.float32)])
        parts = [expected(world, whole[:8]), expected(world, whole[8:])]
        np.testing.assert_allclose(found, np.concatenate(parts)[:11], rtol=1e-5, atol=1e-6)


def write_converting_onnx(path: Path, spec: Any, kind: int) -> Path:
    """The same net between a Cast from ``kind`` and, for halves, a Cast back."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    half = kind == TensorProto.FLOAT16
    shape = ["batch", 3, 64, 48] if half else ["batch", 64, 48, 3]
    nodes = [helper.make_node("Cast", ["images"], ["f"], to=TensorProto.FLOAT)]
    nodes += [
        helper.make_node("Transpose", ["f"], ["t"], perm=[0, 1, 2, 3] if half else [0, 3, 1, 2])
    ]
    nodes += [helper.make_node("Conv", ["t", "weight"], ["c"], strides=[4, 4])]
    out = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    nodes += [helper.make_node("Cast", ["c"], ["heatmaps"], to=out)]
    weight = np.full((17, 3, 4, 4), 1 / 48, np.float32)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("heatmaps", out, ["batch", 17, 16, 12])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def test_uint8_pictures_travel_as_they_are(world: World) -> None:
    spec = heatmap_spec(dtype="uint8", layout="nhwc")
    onnx = write_converting_onnx(world.folder / "pose.onnx", spec, 2)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 48, 3), np.uint8)
    with TensorRTRunner(world.engine(onnx=onnx, spec=spec)) as runner:
        found = runner.infer(images)["heatmaps"]
        assert f"upload {images.nbytes}" in world.cuda.calls
        with pytest.raises(EngineError, match=r"takes uint8 \['batch', 64, 48, 3\], not float32"):
            runner.infer(images.astype(np.float32))
    cells = images.mean(3).reshape(3, 16, 4, 12, 4).mean((2, 4))
    np.testing.assert_allclose(found[:, 0], cells, rtol=1e-4)


def test_half_precision_in_and_out_of_the_engine(world: World) -> None:
    """The caller has float32 on both sides."""
    onnx = write_converting_onnx(world.folder / "pose.onnx", heatmap_spec(), 10)
    images = pictures(2)
    with TensorRTRunner(world.engine(onnx=onnx)) as runner:
        found = runner.infer(images)["heatmaps"]
        assert f"upload {images.nbytes // 2}" in world.cuda.calls
    assert found.dtype == np.float32
    cells = images.mean(1).reshape(2, 16, 4, 12, 4).mean((2, 4))
    np.testing.assert_allclose(found[:, 3], cells, atol=2e-3)


def test_outputs_of_another_name_are_told_by_their_shape(world: World) -> None:
    onnx = write_tiny_onnx(world.folder / "pose.onnx", None, output="maps")
    with TensorRTRunner(world.engine(onnx=onnx, spec=heatmap_spec())) as runner:
        assert list(runner.infer(pictures(1))) == ["heatmaps"]


def test_device_time(world: World) -> None:
    with TensorRTRunner(world.engine()) as runner:
        for _ in range(3):
            outputs, milliseconds = runner.infer_timed(pictures(20))
            assert milliseconds > 0
            assert len(outputs["heatmaps"]) == 20
        work = [c for c in world.cuda.calls if c in ("record", "enqueue", "launch")]
        assert work[-3:] == ["record", "launch", "record"]
        assert world.cuda.calls.count("create_event") == 2
    world.cuda.assert_clean()


# --- lifetimes ---


def test_everything_goes_in_order(world: World) -> None:
    runner = TensorRTRunner(world.engine())
    for _ in range(2):
        runner.infer_timed(pictures(1))
        runner.infer(pictures(4))
    calls = world.cuda.calls
    held = runner._held
    for lane in held.lanes.values():
        weakref.finalize(lane._context, calls.append, "context gone")
    weakref.finalize(held.engine, calls.append, "engine gone")
    weakref.finalize(held.runtime, calls.append, "runtime gone")
    calls.clear()
    runner.close()
    assert calls == [
        "synchronise",
        *["destroy_graph"] * 2,
        *["context gone"] * 2,
        "engine gone",
        "runtime gone",
        *["free", "free_host"] * 2,
        "free",
        *["destroy_event"] * 2,
        "destroy_stream",
    ]
    runner.close()
    world.cuda.assert_clean()
    with pytest.raises(EdgeposeError, match=r"pose\.engine is closed"):
        runner.infer(pictures(1))


def test_forgotten_runners_give_back_too(world: World) -> None:
    runner = TensorRTRunner(world.engine())
    runner.infer(pictures(1))
    del runner
    gc.collect()
    world.cuda.assert_clean()


def test_an_exception_in_the_block_closes(world: World) -> None:
    with pytest.raises(KeyboardInterrupt), TensorRTRunner(world.engine()) as runner:
        runner.infer(pictures(1))
        raise KeyboardInterrupt
    world.cuda.assert_clean()


@pytest.mark.parametrize("integrated", [False, True])
@pytest.mark.parametrize("version", ["8.6.0", "10.3.0"])
def test_whatever_fails_everything_is_given_back(
    world: World, version: str, integrated: bool
) -> None:
    """Each call of CUDA fails once, in opening, running, capturing, timing or closing."""
    world.gpu = replace(GPU, integrated=integrated)
    engine = world.engine(version)

    def session() -> None:
        with TensorRTRunner(engine) as runner:
            for count in (1, 1, 4, 1, 20):
                runner.infer_timed(pictures(count))

    session()
    total = len([c for c in world.cuda.calls if c != "enqueue"])
    assert total > 30
    failed = 0
    for number in range(len(world.cuda.calls)):
        world.cudas.clear()
        world.fail = number
        try:
            session()
        except CudaError as error:
            failed += 1
            assert error.exit_code == 4
            assert "CUDA_ERROR_INJECTED" in str(error)
        (cuda,) = world.cudas
        name = cuda.calls[number] if number < len(cuda.calls) else ""
        # What could not be destroyed is lost; all else is gone.
        lost = name.startswith(("destroy", "free"))
        assert len(cuda.live) == lost, (number, name)
        assert cuda.closed == 1
    assert failed == total


def test_out_of_memory_says_how_much(world: World) -> None:
    world.knobs = {"room": 10_000}
    with pytest.raises(DeviceError, match=r"asked for 0\.6 MiB; 0\.0 MiB of GPU memory are free"):
        TensorRTRunner(world.engine())
    world.cuda.assert_clean()


# --- what TensorRT refuses ---


def test_what_tensorrt_cannot_deserialise(world: World) -> None:
    engine = world.engine()
    data = b"not an engine"
    engine.write_bytes(data)
    from tests.trt.engines import make_sidecar

    sidecar.write(make_sidecar(data), engine)
    with pytest.raises(EngineError, match=r"TensorRT 10\.3\.0 failed on pose\.engine in deserial"):
        TensorRTRunner(engine)
    world.cuda.assert_clean()


@pytest.mark.parametrize(
    ("words", "kind", "code"),
    [("the layer is broken", EngineError, 1), ("Cuda Runtime (out of memory)", DeviceError, 4)],
)
def test_a_failing_run_gives_tensorrts_words(
    world: World, words: str, kind: type[EdgeposeError], code: int
) -> None:
    with TensorRTRunner(world.engine()) as runner:
        world.trt.refuse_enqueue = words
        with pytest.raises(kind, match="execute_async_v3") as caught:
            runner.infer(pictures(1))
        assert words in str(caught.value)
        assert caught.value.exit_code == code
    world.cuda.assert_clean()


def test_tensorrt_without_a_gpu_of_its_own(world: World) -> None:
    """The driver has one, CUDA's runtime inside TensorRT does not work: its words are told."""
    engine = world.engine()
    world.trt.gpu = False
    with pytest.raises(EngineError, match=r"Runtime.*CUDA initialization failure"):
        TensorRTRunner(engine)
    world.cuda.assert_clean()


def test_a_version_compatible_engine_may_carry_host_code(world: World) -> None:
    with TensorRTRunner(world.engine(version_compatible=True)):
        pass
    assert world.trt.called("Runtime.engine_host_code_allowed=") == [(True,)]
    with TensorRTRunner(world.engine(dla_core=1)):
        pass
    assert world.trt.called("Runtime.DLA_core=") == [(1,)]
    assert world.trt.called("Runtime.engine_host_code_allowed=") == []


def test_nothing_is_deserialised_before_the_digest_matches(world: World) -> None:
    engine = world.engine()
    data = bytearray(engine.read_bytes())
    data[-1] ^= 1
    engine.write_bytes(data)
    with pytest.raises(EngineError, match="engine_sha256"):
        TensorRTRunner(engine)
    assert world.trt.called("Runtime") == []
    assert world.cudas == []


def test_a_spec_that_contradicts_the_engine(world: World) -> None:
    engine = world.engine()
    for spec, words in (
        (heatmap_spec((128, 96)), "the graph takes"),
        (heatmap_spec(dtype="uint8"), "uint8"),
        (heatmap_spec(layout="nhwc"), "the graph takes"),
    ):
        world.cudas.clear()
        with pytest.raises(SpecError, match=words):
            TensorRTRunner(engine, spec=spec)
        world.cuda.assert_clean()


def test_a_given_spec_takes_nothing_back_of_where_the_weights_come_from(world: World) -> None:
    known = Provenance(weights_sha256="ab", trained_on="photos of val2017", holdout_only=True)
    engine = world.engine(spec=heatmap_spec(provenance=known))
    with TensorRTRunner(engine, spec=heatmap_spec(model="renamed")) as runner:
        assert runner.spec.model == "renamed"
        assert runner.spec.provenance == known


def test_devices_that_an_engine_does_not_run_on(world: World) -> None:
    engine = world.engine()
    for device in ("cpu", "tensorrt", "cuda:x"):
        with pytest.raises(DeviceError, match=rf"cannot run on '{device}'[\s\S]*--device cuda"):
            TensorRTRunner(engine, device=device)
    with TensorRTRunner(engine, device="cuda:2") as runner:
        assert runner.device == "cuda:2"
    assert world.cuda.index == 2


def test_without_tensorrt(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = world.engine()
    from edgepose.trt import api

    monkeypatch.setattr(api, "_loaded", {})
    monkeypatch.setattr(api, "_MODULES", {"tensorrt": ()})
    with pytest.raises(MissingDependency, match="this needs TensorRT"):
        TensorRTRunner(engine)


# --- threads ---


def together(calls: list[Callable[[], None]]) -> None:
    """Run them in a thread each; the first exception is raised."""
    failures: list[BaseException] = []
    start = threading.Barrier(len(calls))

    def guarded(call: Callable[[], None]) -> None:
        start.wait()
        try:
            call()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("version", TENSORRT[:2])
@pytest.mark.parametrize("shared", [True, False])
def test_runners_and_threads(world: World, version: str, shared: bool) -> None:
    """Two runners in two threads, and one runner in two: everyone gets what is theirs."""
    engine = world.engine(version)
    runners = [TensorRTRunner(engine) for _ in range(1 if shared else 2)]

    def work(number: int) -> None:
        for turn in range(12):
            images = pictures(1 + (number + turn) % 5, seed=100 * number + turn)
            cells = images.mean(1).reshape(-1, 16, 4, 12, 4).mean((2, 4))
            found = runners[number % len(runners)].infer(images)["heatmaps"]
            np.testing.assert_allclose(found[:, 5], cells, rtol=1e-4, atol=1e-6)

    together([lambda: work(0), lambda: work(1)])
    together([runner.close for runner in runners] * 2)
    for cuda in world.cudas:
        cuda.assert_clean()
