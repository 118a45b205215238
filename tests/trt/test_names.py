"""The tables of names, and the fake that is made of them."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgepose.trt.api import installed
from edgepose.trt.log import make_logger
from tests.trt.engines import write_fake_engine
from tests.trt.fake import TENSORRT, VERSIONS, make, table, write_package

RTX = VERSIONS[-1]
_SEVERITIES = ("Severity", "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")


@pytest.mark.parametrize(
    ("owner", "name", "versions"),
    [
        ("BuilderFlag", "FP16", TENSORRT[:4]),
        ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", TENSORRT[:4]),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED", VERSIONS[1:]),
        ("HardwareCompatibilityLevel", "SAME_COMPUTE_CAPABILITY", VERSIONS[2:]),
        ("ICudaEngine", "num_bindings", TENSORRT[:1]),
        ("ICudaEngine", "device_memory_size", TENSORRT[:4]),
        ("IBuilderConfig", "set_compute_capability", (RTX,)),
        ("IExecutionContext", "execute_async_v3", VERSIONS),
        ("ILayer", "precision", TENSORRT[:4]),
        ("IBuilderConfig", "progress_monitor", VERSIONS[1:]),
    ],
)
def test_a_name_is_there_just_where_the_real_one_has_it(
    owner: str, name: str, versions: tuple[str, ...]
) -> None:
    having = [v for v in VERSIONS if hasattr(getattr(make(v).module, owner), name)]
    assert having == list(versions)


def test_what_a_version_lacks_fails() -> None:
    trt = make("11.4.0.106").module
    builder = trt.Builder(make_logger(trt))
    config = builder.create_builder_config()
    with pytest.raises(AttributeError):
        config.max_workspace_size = 1
    with pytest.raises(AttributeError):
        _ = config.int8_calibrator
    with pytest.raises(AttributeError):
        _ = trt.BuilderFlag.FP16
    with pytest.raises(TypeError, match="incompatible function arguments"):
        builder.build_serialized_network(config)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        builder.create_network(flag=1)
    with pytest.raises(AttributeError):
        config.num_optimization_profiles = 3  # read-only
    with pytest.raises(NotImplementedError, match="is_network_supported"):
        builder.is_network_supported(builder.create_network(), config)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_fake_engine_runs(version: str, tmp_path: Any) -> None:
    fake = make(version)
    trt = fake.module
    engine = write_fake_engine(tmp_path, fake)
    runtime = trt.Runtime(make_logger(trt))
    context = runtime.deserialize_cuda_engine(engine.read_bytes()).create_execution_context()
    images = np.random.default_rng(0).random((2, 3, 64, 48), np.float32)
    assert not context.set_input_shape("images", (17, 3, 64, 48))
    assert context.set_input_shape("images", images.shape)
    maps = np.empty(tuple(context.get_tensor_shape("heatmaps")), np.float32)
    assert not context.execute_async_v3(0)  # no addresses yet
    context.set_tensor_address("images", images.ctypes.data)
    context.set_tensor_address("heatmaps", maps.ctypes.data)
    assert context.execute_async_v3(0)
    np.testing.assert_allclose(maps[0, 0, 0, 0], images[0, :, :4, :4].mean(), rtol=1e-5)
    assert fake.called("IExecutionContext.execute_async_v3") == [(0,), (0,)]
    assert runtime.deserialize_cuda_engine(engine.read_bytes()[:-5]) is None


@pytest.mark.trt
@pytest.mark.skipif(not installed("tensorrt-rtx"), reason='pip install "edgepose[rtx]"')
def test_the_table_is_what_the_bindings_have() -> None:
    """Of the one TensorRT that can be installed anywhere; the others were written alike."""
    real = importlib.import_module("tensorrt_rtx_bindings")
    if real.__version__ != RTX.removeprefix("rtx-"):
        pytest.skip(f"the table is of {RTX}, installed is {real.__version__}")
    names = table(RTX)
    for name in names["classes"]:
        listed = set(_SEVERITIES) if name == "Logger" else set()  # added by the package in Python
        base = name
        while base:
            entry = names["classes"][base]
            listed |= {n.removesuffix("=") for n in entry["properties"]} | set(entry["methods"])
            listed |= set(entry.get("values", {}))
            listed |= {n.partition(".")[2] for n in names["enums"] if n.startswith(f"{base}.")}
            base = entry["base"]
        assert {n for n in dir(getattr(real, name)) if not n.startswith("_")} == listed, name
    for name, members in names["enums"].items():
        if "." not in name:
            found = {k: int(v) for k, v in getattr(real, name).__members__.items()}
            assert found == members, name


def test_a_package_for_a_child(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(write_package(tmp_path, "8.6.0", dla_cores=2))
    # Put back by monkeypatch, which would otherwise leave behind what is imported here.
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    del sys.modules["tensorrt"]
    module = importlib.import_module("tensorrt")
    assert module.__version__ == "8.6.0"
    assert module.Builder(make_logger(module)).num_DLA_cores == 2
