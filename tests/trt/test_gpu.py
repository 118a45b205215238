"""The driver's own answers, from a stand-in for its library built on the spot."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgepose.errors import DeviceError
from edgepose.trt import gpu
from edgepose.trt.gpu import Gpu, find_gpu, read_gpu

# CUDA 12.8; one device: an Orin with 8 multiprocessors that shares memory with the CPU.
DRIVER = """
#include <string.h>
int cuInit(unsigned f) { return INIT; }
int cuDriverGetVersion(int* v) { *v = 12080; return 0; }
int cuDeviceGet(int* d, int i) { *d = 7; return i ? 101 : 0; }
int cuDeviceGetName(char* n, int l, int d) { strncpy(n, d == 7 ? "Orin" : "?", l); return 0; }
int cuDeviceTotalMem_v2(size_t* b, int d) { *b = 8ull << 30; return 0; }
int cuDeviceGetAttribute(int* v, int a, int d) {
  *v = a == 16 ? 8 : a == 75 ? 8 : a == 76 ? 7 : a == 18 ? 1 : -1;
  return 0;
}
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return build(tmp_path, monkeypatch, 0)


def build(folder: Path, monkeypatch: pytest.MonkeyPatch, init: int) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    source, library = folder / "cuda.c", folder / f"libcuda{init}.so"
    source.write_text(DRIVER)
    command = ["gcc", "-shared", "-fPIC", f"-DINIT={init}", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    monkeypatch.setattr(gpu, "_LIBRARY", str(library))
    version = folder / "version"
    version.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n"
        "GCC version:  gcc 11.4.0\n"
    )
    monkeypatch.setattr(gpu, "_VERSION", version)
    return library


def test_what_the_driver_tells(driver: Path) -> None:
    assert (
        read_gpu()
        == find_gpu()
        == Gpu(
            name="Orin",
            compute_capability=(8, 7),
            multiprocessors=8,
            memory_bytes=2**33,
            integrated=True,
            driver="540.4.0",
            cuda=(12, 8),
        )
    )


@pytest.mark.parametrize(
    "text",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.124.06  Wed Feb 26 2025\n",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build\n",
    ],
)
def test_driver_version(text: str, driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu._VERSION.write_text(text)
    assert read_gpu().driver == "570.124.06"
    monkeypatch.setattr(gpu, "_VERSION", Path("/no/such/file"))
    assert read_gpu().driver is None


def test_no_such_gpu(driver: Path) -> None:
    with pytest.raises(DeviceError, match="cuDeviceGet failed with error 101: there is no GPU"):
        read_gpu(3)


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_LIBRARY", "libno-such-driver.so.1")
    assert find_gpu() is None
    with pytest.raises(DeviceError, match="driver is not installed") as error:
        read_gpu()
    assert error.value.exit_code == 4


def test_a_driver_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, monkeypatch, 100)
    with pytest.raises(DeviceError, match="cuInit failed with error 100: the driver finds no"):
        read_gpu()
    build(tmp_path, monkeypatch, 666)
    with pytest.raises(DeviceError, match="error 666: see the CUDA driver API"):
        read_gpu()
