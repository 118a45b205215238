from __future__ import annotations

import importlib.metadata
import logging
import platform
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from edgepose.errors import MissingDependency
from edgepose.trt import api
from edgepose.trt.api import load, parse_version
from edgepose.trt.log import make_logger
from tests.trt.fake import VERSIONS, make

NO = ("none",)
AMPERE = ("none", "ampere_plus")
ALL = ("none", "ampere_plus", "same_compute_capability")
FACTS = {
    # explicit batch, strongly typed, precision flags, progress, cuBLAS, version compatible, levels
    "8.6.0": (True, False, True, False, True, True, AMPERE),
    "10.3.0": (False, True, True, True, True, True, AMPERE),
    "10.13.3.9": (False, True, True, True, True, True, ALL),
    "10.16.1.11": (False, True, True, True, True, True, ALL),
    "11.4.0.106": (False, True, False, True, False, True, ALL),
    "rtx-1.7.1.116": (False, True, False, True, False, False, NO),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_each_version_can(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = make(version).install(monkeypatch)
    trt = load(fake.product)
    assert trt is load(fake.product)  # once a process
    assert trt.version == version.removeprefix("rtx-")
    assert (
        trt.explicit_batch,
        trt.strongly_typed,
        trt.precision_flags,
        trt.progress,
        trt.external_tactics,
        trt.version_compatible,
        trt.hardware_levels,
    ) == FACTS[version]
    rtx = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
    assert trt.compute_capabilities == (rtx if fake.product == "tensorrt-rtx" else ())


def test_names_in_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    make("rtx-1.7.1.116").install(monkeypatch)
    assert load("tensorrt-rtx").title == "TensorRT-RTX 1.7.1.116"


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_loaded", {})
    monkeypatch.setattr(api, "_MODULES", {p: ("no_such_module",) for p in api._MODULES})


@pytest.mark.parametrize(
    ("product", "system", "machine", "jetson", "told"),
    [
        ("tensorrt", "Linux", "x86_64", False, r"pip install tensorrt-cu13 .*pypi\.nvidia\.com"),
        ("tensorrt", "Linux", "aarch64", True, "JetPack.*system-site-packages"),
        ("tensorrt", "Darwin", "arm64", False, r"use the \.onnx file"),
        ("tensorrt-rtx", "Linux", "x86_64", False, r'pip install "edgepose\[rtx\]"'),
        ("tensorrt-rtx", "Windows", "AMD64", False, "developer.nvidia.com/tensorrt-rtx"),
    ],
)
def test_not_installed(
    product: Any,
    system: str,
    machine: str,
    jetson: bool,
    told: str,
    absent: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(api, "on_jetson", lambda: jetson)
    assert not api.installed(product)
    with pytest.raises(MissingDependency, match=told) as error:
        load(product)
    assert error.value.exit_code == 4


def test_bindings_without_their_libraries(
    absent: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "raise ImportError('libnvinfer.so.10: cannot open shared object file')"
    (tmp_path / "broken_trt.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(api._MODULES, "tensorrt", ("broken_trt",))
    assert api.installed("tensorrt")
    with pytest.raises(MissingDependency, match=r"does not load: libnvinfer\.so\.10"):
        load()


@pytest.mark.parametrize("version", ["8.5.2.2", "7.1", ""])
def test_out_of_range(version: str, absent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("old_trt")
    old.__dict__["__version__"] = version
    monkeypatch.setitem(sys.modules, "old_trt", old)
    monkeypatch.setitem(api._MODULES, "tensorrt", ("old_trt",))
    with pytest.raises(MissingDependency, match=r"8\.6 or later[\s\S]*JetPack 5"):
        load()


def test_versions() -> None:
    assert parse_version("10.13.3.9") == (10, 13, 3)
    assert parse_version("8.6.1+b2") == (8, 6, 1)
    assert parse_version("13") == (13, 0, 0)
    with pytest.raises(ValueError, match="no version"):
        parse_version("unknown")


def test_cuda_of_the_libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def installed(*names: str) -> None:
        found = [SimpleNamespace(metadata={"Name": name}) for name in names]
        monkeypatch.setattr(importlib.metadata, "distributions", lambda: found)

    status = tmp_path / "status"
    monkeypatch.setattr(api, "_DPKG", status)
    installed("numpy", "tensorrt-cu12-libs")
    assert api.libraries_cuda("tensorrt") == "12"
    installed("tensorrt_rtx_cu13_bindings")
    assert api.libraries_cuda("tensorrt-rtx") == "13"
    assert api.libraries_cuda("tensorrt") is None
    status.write_text(
        "Package: libnvinfer-bin\nVersion: 9+cuda1\n\n"
        "Package: libnvinfer10\nStatus: install ok installed\nArchitecture: arm64\n"
        "Version: 10.3.0.30-1+cuda12.5\n\nPackage: other\nVersion: 1\n"
    )
    assert api.libraries_cuda("tensorrt") == "12.5"
    assert api.libraries_cuda("tensorrt-rtx") == "13"


def test_the_log_goes_to_pythons(caplog: pytest.LogCaptureFixture) -> None:
    trt = make("10.3.0").module
    logger, severity = make_logger(trt), trt.ILogger.Severity
    with caplog.at_level(logging.DEBUG, logger="edgepose.trt"):
        logger.log(severity.INFO, "two\n  lines")
        with logger.watch() as first, logger.watch() as second:
            logger.log(severity.WARNING, "careful")
            thread = threading.Thread(target=logger.log, args=(severity.ERROR, "bad"))
            thread.start()
            thread.join()
        logger.log(severity.INTERNAL_ERROR, "after")
    assert first == second == ["bad"]
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", "two lines"),
        ("WARNING", "careful"),
        ("ERROR", "bad"),
        ("ERROR", "after"),
    ]


@pytest.mark.trt
@pytest.mark.skipif(not api.installed("tensorrt-rtx"), reason='pip install "edgepose[rtx]"')
def test_the_real_tensorrt_rtx() -> None:
    trt = load("tensorrt-rtx")
    assert trt.version.startswith("1.")
    assert (trt.strongly_typed, trt.explicit_batch, trt.progress) == (True, False, True)
    builder = trt.module.Builder(trt.logger)
    network = builder.create_network(0)  # which must outlive its parser
    with trt.logger.watch() as errors:
        parser = trt.module.OnnxParser(network, trt.logger)
        assert not parser.parse(b"no model")
    assert errors
