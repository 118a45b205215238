"""Execution providers of onnxruntime, with an onnxruntime that has whichever a test wants."""

from __future__ import annotations

import json
import stat
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edgepose.cache import user_cache
from edgepose.errors import DeviceError, GraphError, OutputError
from edgepose.runtime import providers
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.runtime.providers import DEVICES, loader_words, parse_device, setup
from edgepose.spec import METADATA_KEY, RECORD_KEY
from tests.fakes import heatmap_spec, write_tiny_onnx

GPU = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


class FakeRuntime(types.ModuleType):
    """An onnxruntime that runs all on the CPU and claims what it is told to.

    Attributes:
        available: Providers in this build.
        working: Those that come into force.
        raises: What making a session with another one raises; None to fall back as CUDA's does.
        took: Nodes that the first provider takes.
        asked: (providers, options) of every session.
    """

    def __init__(self, available: list[str], folder: Path) -> None:
        super().__init__("onnxruntime")
        self.__version__ = "1.31.1"
        self.__file__ = str(folder / "__init__.py")
        self.available = available
        self.working = set(available)
        self.raises: Exception | None = None
        self.took = 5
        self.asked: list[tuple[Any, Any]] = []
        self.preloaded = 0
        self.registered: list[tuple[str, str]] = []
        self.devices: list[Any] = []
        self.GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel
        runtime = self

        class SessionOptions:
            def __init__(self) -> None:
                self.entries: dict[str, str] = {}
                self.added: list[Any] = []

            def add_session_config_entry(self, key: str, value: str) -> None:
                self.entries[key] = value

            def add_provider_for_devices(self, devices: list[Any], options: dict[str, str]) -> None:
                self.added.append((devices, options))

        class InferenceSession:
            def __init__(
                self, path: str, options: Any, providers: Any = None, enable_fallback: int = 1
            ) -> None:
                runtime.asked.append((providers, options))
                pairs = [(p, {}) if isinstance(p, str) else p for p in providers or ()]
                names = [name for name, _ in pairs] or [d[0].ep_name for d, _ in options.added]
                if runtime.raises is not None and names[0] != "CPUExecutionProvider":
                    raise runtime.raises
                self._names = [n for n in names if n in runtime.working or n.startswith("CPU")]
                self._real = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
                self.fallback = bool(enable_fallback)

            def __getattr__(self, name: str) -> Any:
                return getattr(self._real, name)

            def disable_fallback(self) -> None:
                self.fallback = False

            def get_providers(self) -> list[str]:
                return self._names

            def get_provider_graph_assignment_info(self) -> list[Any]:
                counts = {self._names[0]: runtime.took, "CPUExecutionProvider": 2}
                return [
                    types.SimpleNamespace(ep_name=n, get_nodes=lambda c=c: [None] * c)
                    for n, c in counts.items()
                ]

        self.SessionOptions, self.InferenceSession = SessionOptions, InferenceSession

    def get_available_providers(self) -> list[str]:
        return self.available

    def preload_dlls(self) -> None:
        self.preloaded += 1
        print("Failed to load libcublas")  # as it does, to stdout

    def get_ep_devices(self) -> list[Any]:
        return self.devices

    def register_execution_provider_library(self, name: str, path: str) -> None:
        self.registered.append((name, path))
        self.devices += [types.SimpleNamespace(ep_name=name, number=n) for n in range(2)]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., FakeRuntime]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(*available: str) -> FakeRuntime:
        made = FakeRuntime([*available, "CPUExecutionProvider"], tmp_path / "onnxruntime")
        monkeypatch.setitem(sys.modules, "onnxruntime", made)
        return made

    return make


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_onnx(tmp_path / "pose.onnx", heatmap_spec())


def test_names_of_devices() -> None:
    assert parse_device("cpu") == ("cpu", None)
    assert parse_device("cuda:1") == ("cuda", "1")
    assert parse_device("openvino:GPU.1") == ("openvino", "GPU.1")
    for text in ("tpu", "cpu:0", "cuda:", "cuda:x", "coreml:1", "openvino:", ""):
        with pytest.raises(DeviceError, match="unknown device"):
            parse_device(text)
    real = set(onnxruntime.get_all_providers())
    assert {row.provider for row in DEVICES.values()} <= real


@pytest.mark.parametrize("device", [d for d in DEVICES if d != "cpu"])
def test_not_in_this_build(runtime: Callable[..., FakeRuntime], model: Path, device: str) -> None:
    runtime()
    with pytest.raises(DeviceError, match="offers CPUExecutionProvider") as caught:
        OnnxRunner(model, device=device)
    assert "pip install" in str(caught.value.hint)
    assert caught.value.exit_code == 4


def test_cuda(
    runtime: Callable[..., FakeRuntime], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ort = runtime(*GPU[:2])
    with OnnxRunner(model, device="cuda:1", threads=3, provider_options={"x": "y"}) as runner:
        facts = runner.describe()
        runner.infer(np.zeros((2, 3, 64, 48), np.float32))
    ((first, last), options) = ort.asked[-1]
    assert first == (
        "CUDAExecutionProvider",
        {
            "cudnn_conv_algo_search": "HEURISTIC",
            "use_tf32": "0",
            "device_id": "1",
            "x": "y",
        },
    )
    assert last == ("CPUExecutionProvider", {})
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.entries["session.force_spinning_stop"] == "1"
    assert facts["nodes"] == {"CUDAExecutionProvider": 5, "CPUExecutionProvider": 2}
    assert facts["device"] == "cuda:1"
    assert ort.preloaded == 1
    assert capsys.readouterr().out == ""


def test_an_old_onnxruntime_gets_no_option_that_it_lacks(
    runtime: Callable[..., FakeRuntime], model: Path
) -> None:
    ort = runtime("CUDAExecutionProvider")
    ort.__version__ = "1.17.3"
    OnnxRunner(model, device="cuda")
    assert "use_tf32" not in ort.asked[-1][0][0][1]


def test_what_fell_back_is_an_error(runtime: Callable[..., FakeRuntime], model: Path) -> None:
    ort = runtime("OpenVINOExecutionProvider")
    ort.working.clear()
    with pytest.raises(DeviceError, match="fell back to CPUExecutionProvider"):
        OnnxRunner(model, device="openvino:NPU")


def test_a_provider_that_takes_nothing_is_an_error(
    runtime: Callable[..., FakeRuntime], model: Path
) -> None:
    ort = runtime("CoreMLExecutionProvider")
    ort.took = 0
    with pytest.raises(DeviceError, match="took no node of this graph"):
        OnnxRunner(model, device="coreml")


def test_the_loaders_words(
    runtime: Callable[..., FakeRuntime], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is no library stands for a library that is missing."""
    ort = runtime(*GPU[:2])
    folder = Path(ort.__file__).parent / "capi"
    folder.mkdir(parents=True)
    (folder / "libonnxruntime_providers_cuda.so").write_text("no library")
    ort.working.clear()
    with pytest.raises(DeviceError, match=r"libonnxruntime_providers_cuda\.so") as caught:
        OnnxRunner(model, device="cuda")
    assert "CUDA" in str(caught.value.hint)

    def missing(name: str) -> None:
        raise OSError("libnvinfer.so.10: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(providers.ctypes, "CDLL", missing)
    ort.raises = RuntimeError("Please install TensorRT libraries\nand so on")
    with pytest.raises(DeviceError, match=r"libnvinfer\.so\.10: cannot open") as caught:
        OnnxRunner(model, device="tensorrt")
    assert "TensorRT 11 does not serve" in str(caught.value.hint)
    assert loader_words("CoreMLExecutionProvider", ort) is None


def test_whose_fault_it_is(runtime: Callable[..., FakeRuntime], model: Path) -> None:
    ort = runtime("OpenVINOExecutionProvider")
    ort.raises = RuntimeError("no such plugin\nstack")
    with pytest.raises(DeviceError, match=r"not in force: no such plugin\n"):
        OnnxRunner(model, device="openvino")
    model.write_bytes(model.read_bytes()[:-500])
    with pytest.raises(GraphError, match="cannot load"):
        OnnxRunner(model, device="openvino")


def test_tensorrt_keeps_its_engines(
    runtime: Callable[..., FakeRuntime], model: Path, tmp_path: Path
) -> None:
    ort = runtime(*GPU[:2])
    with OnnxRunner(model, device="tensorrt") as runner:
        assert runner.max_batch == 16
        assert runner.buckets is None
    requested = ort.asked[-1][0]
    assert [name for name, _ in requested] == GPU
    options = requested[0][1]
    assert options["trt_profile_min_shapes"] == "images:1x3x64x48"
    assert options["trt_profile_opt_shapes"] == "images:4x3x64x48"
    assert options["trt_profile_max_shapes"] == "images:16x3x64x48"
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "1"
    engines, timings = (Path(options[f"trt_{k}_cache_path"]) for k in ("engine", "timing"))
    assert engines.is_dir()
    assert engines.parent == timings
    assert timings.is_relative_to(tmp_path / "cache" / "edgepose")
    assert not timings.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    assert not {"trt_fp16_enable", "trt_int8_enable"} & set(options)


def test_new_weights_never_meet_an_old_engine(
    runtime: Callable[..., FakeRuntime], model: Path, tmp_path: Path
) -> None:
    import onnx

    ort = runtime("TensorrtExecutionProvider")

    def place() -> str:
        chosen = setup("tensorrt", model, ort)
        return chosen.options["trt_engine_cache_path"]

    first = place()
    assert place() == first
    graph = onnx.load(model)
    graph.graph.initializer[0].raw_data = bytes(len(graph.graph.initializer[0].raw_data))
    onnx.save(graph, model)
    assert place() != first
    second = place()
    model.with_name("pose.onnx.data").write_bytes(b"weights beside it")
    assert place() not in (first, second)


@pytest.mark.parametrize(
    ("precision", "flags"),
    [
        ("fp32", set()),
        ("fp16", {"trt_fp16_enable"}),
        ("int8", {"trt_int8_enable"}),
        ("int8-fp16", {"trt_fp16_enable", "trt_int8_enable"}),
    ],
)
def test_tensorrt_may_use_what_the_file_holds(
    runtime: Callable[..., FakeRuntime], model: Path, precision: str, flags: set[str]
) -> None:
    import onnx
    from onnx import helper

    ort = runtime("TensorrtExecutionProvider")
    graph = onnx.load(model)
    record = json.dumps({"precision": precision})
    helper.set_model_props(graph, {METADATA_KEY: heatmap_spec().to_json(), RECORD_KEY: record})
    onnx.save(graph, model)
    options = setup("tensorrt", model, ort).options
    assert {name for name in options if name.endswith(("fp16_enable", "int8_enable"))} == flags


def test_a_fixed_batch_needs_no_profile(
    runtime: Callable[..., FakeRuntime], tmp_path: Path
) -> None:
    ort = runtime("TensorrtExecutionProvider")
    model = write_tiny_onnx(tmp_path / "a.onnx", heatmap_spec(), batch=8)
    with OnnxRunner(model, device="tensorrt") as runner:
        assert (runner.max_batch, runner.buckets) == (8, (8,))
    assert not [name for name in ort.asked[-1][0][0][1] if "profile" in name]


def test_a_provider_that_comes_as_a_plugin(
    runtime: Callable[..., FakeRuntime], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ort = runtime()
    package = types.ModuleType("onnxruntime_ep_nv_tensorrt_rtx")
    package.get_library_path = lambda: "/somewhere/plugin.so"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setattr(providers, "_plugin_installed", lambda row: row.plugin is not None)
    name = "NvTensorRTRTXExecutionProvider"
    ort.working.add(name)
    for _ in range(2):
        with OnnxRunner(model, device="nv-tensorrt-rtx:1") as runner:
            assert runner.max_batch == 16
    assert ort.registered == [(name, "/somewhere/plugin.so")]  # once a process
    requested, options = ort.asked[-1]
    assert requested is None
    (([device], settings),) = options.added
    assert device.number == 1
    assert settings["nv_profile_max_shapes"] == "images:16x3x64x48"
    assert Path(settings["nv_runtime_cache_path"]).is_dir()
    assert "device_id" not in settings
    with pytest.raises(DeviceError, match="there is no device 2"):
        OnnxRunner(model, device="nv-tensorrt-rtx:2")


# --- the cache ---


def test_the_cache_is_the_users_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = user_cache("a", "b")
    assert folder == tmp_path / "edgepose" / "a" / "b"
    assert user_cache("a", "b") == folder
    folder.chmod(0o777)
    with pytest.raises(OutputError, match=r"cannot be trusted[\s\S]*chmod go-w"):
        user_cache("a", "b")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="set XDG_CACHE_HOME"):
        user_cache("a")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache("a") == tmp_path / ".cache" / "edgepose" / "a"
