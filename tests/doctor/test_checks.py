"""What each check says of what may be wrong with its part, and what it tells to type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgepose import zoo
from edgepose.doctor import Finding, System, examine
from edgepose.doctor.asking import Answer
from tests.doctor import machines


def finding(system: System, group: str, check: str) -> Finding:
    (found,) = [f for f in examine(system).findings if (f.group, f.check) == (group, check)]
    return found


def level(system: System, group: str, check: str) -> str:
    return finding(system, group, check).level


def test_too_little_memory_to_build_on_a_jetson(tmp_path: Path) -> None:
    full = {"/proc/meminfo": machines.meminfo(7.4, 2.0, 0)}
    found = finding(machines.orin_nano(tmp_path, files=full), "memory", "memory")
    assert found.level == "warn"
    assert "kill TensorRT's builder" in found.means
    assert "multi-user.target" in found.do
    swap = finding(machines.orin_nano(tmp_path, files=full), "memory", "swap")
    assert swap.level == "warn"
    assert "mkswap" in swap.do


def test_swap_on_a_disk_is_swap(tmp_path: Path) -> None:
    files = {
        "/proc/meminfo": machines.meminfo(7.4, 2.0, 8),
        "/proc/swaps": machines.ZRAM + "/swapfile file 8388604 0 -2\n",
    }
    jetson = machines.orin_nano(tmp_path, files=files)
    assert level(jetson, "memory", "swap") == "ok"
    assert level(jetson, "memory", "memory") == "ok"


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    files = {
        "/sys/fs/cgroup/memory.max": str(machines.GIB),
        "/sys/fs/cgroup/memory.current": str(machines.GIB * 3 // 4),
        "/.dockerenv": "",
    }
    cpu = machines.plain_cpu(tmp_path, files=files)
    found = finding(cpu, "memory", "memory")
    assert found.level == "warn"
    assert found.seen.startswith("0.2 GiB free of the 1.0 GiB that this container")
    assert level(cpu, "system", "container") == "note"


def test_what_a_container_only_caches_is_free(tmp_path: Path) -> None:
    files = {
        "/sys/fs/cgroup/memory.max": str(2 * machines.GIB),
        "/sys/fs/cgroup/memory.current": str(2 * machines.GIB),
        "/sys/fs/cgroup/memory.stat": f"anon 1\nactive_file 5\ninactive_file {machines.GIB}\n",
    }
    found = finding(machines.plain_cpu(tmp_path, files=files), "memory", "memory")
    assert found.level == "ok"
    assert found.seen.startswith("1.0 GiB free of the 2.0 GiB")


def test_no_limit_is_none(tmp_path: Path) -> None:
    cpu = machines.plain_cpu(tmp_path, files={"/sys/fs/cgroup/memory.max": "max\n"})
    assert finding(cpu, "memory", "memory").seen == "3.0 GiB free of 4.0 GiB"


def test_a_full_disk(tmp_path: Path) -> None:
    cpu = machines.plain_cpu(tmp_path, free_bytes=lambda path: machines.GIB)
    assert level(cpu, "memory", "disk") == "warn"


def test_a_jetson_without_its_driver_is_a_container_without_its_runtime(tmp_path: Path) -> None:
    found = finding(machines.orin_nano(tmp_path, told={"gpu": machines.NO_DRIVER}), "GPU", "GPU")
    assert found.level == "fail"
    assert "--runtime nvidia" in found.do
    assert set(found.blocks) == {"cuda", "tensorrt"}


def test_a_card_without_a_driver(tmp_path: Path) -> None:
    found = finding(machines.desktop(tmp_path, told={"gpu": machines.NO_DRIVER}), "GPU", "GPU")
    assert found.level == "fail"
    assert found.seen.startswith("an NVIDIA card is built in, and no usable GPU")


def test_an_old_gpu(tmp_path: Path) -> None:
    old = machines.gpu("Quadro P400", (6, 1), (12, 2), driver="535.1")
    found = finding(machines.desktop(tmp_path, told={"gpu": old}), "GPU", "GPU")
    assert found.level == "warn"
    assert "7.5" in found.means


@pytest.mark.parametrize(
    ("told", "check", "level", "words"),
    [
        ({"cuda_bindings": Answer({"version": "13.5.0"})}, "cuda-bindings", "fail", "12.9"),
        ({"cuda_bindings": Answer({"version": "12.6.2"})}, "cuda-bindings", "ok", ""),
        (
            {"pycuda": Answer(error="ImportError: undefined symbol: cuCtxX")},
            "pycuda",
            "fail",
            "--force-reinstall",
        ),
        ({"pycuda": Answer({"version": "2026.1"})}, "pycuda", "ok", ""),
    ],
)
def test_cuda_in_python(
    told: dict[str, Answer], check: str, level: str, words: str, tmp_path: Path
) -> None:
    told = {"cuda_bindings": machines.NO_BINDINGS, **told}
    found = finding(machines.orin_nano(tmp_path, told=told), "CUDA in Python", check)
    assert found.level == level
    assert words in found.do


def test_one_package_for_device_memory_is_enough(tmp_path: Path) -> None:
    told = {
        "pycuda": Answer(error="ImportError: no"),
        "cuda_bindings": Answer({"version": "12.9.10"}),
    }
    assert examine(machines.orin_nano(tmp_path, told=told), asked="tensorrt")
    told["cuda_bindings"] = Answer(error="ImportError: no")
    assert not examine(machines.orin_nano(tmp_path, told=told), asked="tensorrt")


def test_the_systems_tensorrt_outside_of_the_environment(tmp_path: Path) -> None:
    jetson = machines.orin_nano(tmp_path, told={"tensorrt": machines.NO_TENSORRT})
    found = finding(jetson, "TensorRT", "TensorRT")
    assert found.level == "warn"
    assert "/usr/lib/python3.10/dist-packages/tensorrt" in found.seen
    assert "--system-site-packages" in found.do


def test_tensorrt_on_a_jetson_is_not_pips(tmp_path: Path) -> None:
    jetson = machines.thor(tmp_path)
    told = machines.answers(gpu=jetson.ask("gpu"))
    bare = System(**{**vars(jetson), "ask": told.__getitem__})
    found = finding(bare, "TensorRT", "TensorRT")
    assert found.do.startswith("sudo apt install nvidia-jetpack")


@pytest.mark.parametrize(
    "error",
    [
        "TensorRT is installed but does not load: libnvinfer.so.10: cannot open shared object file",
        "this needs TensorRT 8.6 or later, and version 8.5.2.2 is installed",
    ],
)
def test_a_tensorrt_that_cannot_be_used(error: str, tmp_path: Path) -> None:
    broken = Answer(error=error, hint="update to JetPack 6 or later")
    found = finding(machines.orin_nano(tmp_path, told={"tensorrt": broken}), "TensorRT", "TensorRT")
    assert found.level == "fail"
    assert found.seen == error
    assert found.do == "update to JetPack 6 or later"
    assert found.blocks == ("tensorrt",)


@pytest.mark.parametrize(
    ("version", "level", "words"),
    [
        ("8.6.2", "ok", "precision is told by builder flags, shows no progress"),
        ("11.4.1", "ok", "precision is the graph's, shows its progress"),
        ("12.0.0", "note", "12.0.0"),
    ],
)
def test_versions_of_tensorrt(version: str, level: str, words: str, tmp_path: Path) -> None:
    told = {"tensorrt": machines.tensorrt(version)}
    found = finding(machines.orin_nano(tmp_path, told=told), "TensorRT", "TensorRT")
    assert found.level == level
    assert words in found.seen
    assert not found.blocks


def test_a_driver_too_old_for_its_tensorrt(tmp_path: Path) -> None:
    told = {"tensorrt": machines.tensorrt("11.4.0.106", "13")}
    jetson = machines.orin_nano(tmp_path, told=told)
    found = finding(jetson, "TensorRT", "TensorRT")
    assert found.level == "fail"
    assert found.seen == "11.4.0.106 for CUDA 13, and the driver runs CUDA up to 12.6"
    assert not examine(jetson, asked="tensorrt")


def test_tensorrt_rtx_is_named_where_it_is(tmp_path: Path) -> None:
    told = {"tensorrt_rtx": machines.tensorrt("1.7.1.116", "13")}
    assert level(machines.plain_cpu(tmp_path, told=told), "TensorRT", "TensorRT-RTX") == "ok"


def test_onnxruntimes_tensorrt_wants_another_tensorrt(tmp_path: Path) -> None:
    words = "libnvinfer.so.10: cannot open shared object file: No such file or directory"
    providers = {"TensorrtExecutionProvider": [words, "that one"], "CUDAExecutionProvider": []}
    told = {
        "onnxruntime": Answer({"version": "1.31.1", "providers": providers | machines.CPU_ONLY}),
        "tensorrt": machines.tensorrt("11.4.0.106", "13"),
    }
    desktop = machines.desktop(tmp_path, told=told)
    found = finding(desktop, "onnxruntime", "Tensorrt provider")
    assert found.level == "warn"
    assert "wants TensorRT 10, and 11.4.0.106 is installed" in found.means
    assert found.do == "that one"
    assert level(desktop, "onnxruntime", "CUDA provider") == "ok"
    assert examine(desktop, asked="cuda")


def test_a_gpu_without_the_gpu_package(tmp_path: Path) -> None:
    cpu_only = {"onnxruntime": Answer({"version": "1.31.1", "providers": machines.CPU_ONLY})}
    found = finding(machines.desktop(tmp_path, told=cpu_only), "onnxruntime", "CUDA provider")
    assert "onnxruntime-gpu" in found.do
    found = finding(machines.orin_nano(tmp_path / "j"), "onnxruntime", "CUDA provider")
    assert "no GPU wheel for ARM" in found.do


def test_opencv_for_numpy_1_under_numpy_2(tmp_path: Path) -> None:
    broken = {"opencv": Answer(error="ImportError: numpy.core.multiarray failed to import")}
    packages = {"numpy": "2.2.6", "onnxruntime": "1.23.2"}
    found = finding(
        machines.orin_nano(tmp_path, told=broken, packages=packages), "OpenCV", "OpenCV"
    )
    assert found.do == "pip install 'numpy<2'"
    assert set(found.blocks) == {"cpu", "camera"}


@pytest.mark.parametrize(
    ("machine", "error", "words"),
    [
        (machines.orin_nano, "ModuleNotFoundError: No module named 'cv2'", "python3-opencv"),
        (machines.plain_cpu, "ImportError: libGL.so.1: cannot open", "libgl1"),
        (machines.plain_cpu, "ModuleNotFoundError: No module named 'cv2'", "opencv-python"),
    ],
)
def test_opencv_that_does_not_load(machine: Any, error: str, words: str, tmp_path: Path) -> None:
    found = finding(machine(tmp_path, told={"opencv": Answer(error=error)}), "OpenCV", "OpenCV")
    assert found.level == "fail"
    assert words in found.do


def test_two_wheels_of_opencv(tmp_path: Path) -> None:
    packages = {"opencv-python": "5.0", "opencv-python-headless": "5.0", "onnxruntime": "1.31.1"}
    found = finding(machines.plain_cpu(tmp_path, packages=packages), "OpenCV", "packages")
    assert found.level == "warn"
    assert found.do.startswith("pip uninstall -y opencv-python opencv-python-headless")


def test_a_csi_camera_needs_gstreamer(tmp_path: Path) -> None:
    jetson = machines.orin_nano(tmp_path, told={"opencv": machines.opencv()})
    found = finding(jetson, "cameras", "camera")
    assert found.level == "warn"
    assert not examine(jetson, asked="camera")


def test_one_camera_that_works_is_enough(tmp_path: Path) -> None:
    usb = {
        "/dev/video1": "",
        "/sys/class/video4linux/video1/name": "HD Pro Webcam C920\n",
        "/sys/class/video4linux/video1/index": "0\n",
        "/dev/video2": "",
        "/sys/class/video4linux/video2/name": "HD Pro Webcam C920\n",
        "/sys/class/video4linux/video2/index": "1\n",  # its metadata, no pictures
    }
    jetson = machines.orin_nano(tmp_path, told={"opencv": machines.opencv()}, files=usb)
    seen = [f.seen for f in examine(jetson).findings if f.check == "camera"]
    assert seen == [
        "/dev/video0 vi-output, imx219 9-0010: a CSI camera",
        "/dev/video1 HD Pro Webcam C920",
    ]
    assert examine(jetson, asked="camera")


def test_a_camera_of_another_group(tmp_path: Path) -> None:
    jetson = machines.orin_nano(tmp_path, may_use=lambda path: False)
    found = finding(jetson, "cameras", "camera")
    assert 'sudo usermod -aG video "$USER"' in found.do
    assert not examine(jetson, asked="camera")


def test_throttling_is_told_first(tmp_path: Path) -> None:
    hot = {
        "/sys/class/thermal/cooling_device0/cur_state": "1",
        "/sys/class/thermal/thermal_zone1/temp": "99500",
    }
    found = finding(machines.orin_nano(tmp_path, files=hot), "power", "heat")
    assert found.level == "warn"
    assert found.seen == "throttled now: cpu; gpu-thermal 100 °C"


def test_heat_and_sensors_that_are_none(tmp_path: Path) -> None:
    zones = {
        "/sys/class/thermal/thermal_zone1/temp": "91000",
        "/sys/class/thermal/thermal_zone2/type": "cv0-thermal",
        "/sys/class/thermal/thermal_zone2/temp": "-256000",
    }
    found = finding(machines.orin_nano(tmp_path, files=zones), "power", "heat")
    assert (found.level, found.seen) == ("warn", "gpu-thermal 91 °C")


def test_power_that_does_not_tell(tmp_path: Path) -> None:
    jetson = machines.orin_nano(tmp_path, tools={})
    assert level(jetson, "power", "power mode") == "note"


def test_a_cpu_held_at_its_lowest_clock(tmp_path: Path) -> None:
    files = {"/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave"}
    assert level(machines.plain_cpu(tmp_path, files=files), "power", "CPU governor") == "warn"


def test_an_int8_that_does_not_pay(tmp_path: Path) -> None:
    old = {"/proc/cpuinfo": "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx2\n"}
    found = finding(machines.plain_cpu(tmp_path, files=old), "system", "CPU")
    assert (found.level, found.seen) == ("note", "Xeon, 1 core, no INT8 dot products")


def test_a_file_of_the_zoo_that_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "zoo" / "net-a"
    folder.mkdir(parents=True)
    (folder / "a.safetensors").write_bytes(b"weights")
    digest = zoo.sha256_of(folder / "a.safetensors")
    row = (
        f'[[setting]]\ninput_size = [8, 8]\nweights = "a.safetensors"\nweights_sha256 = "{digest}"'
    )
    (folder / "figures.toml").write_text(row)
    monkeypatch.setattr(zoo, "zoo_folder", lambda: tmp_path / "zoo")
    cpu = machines.plain_cpu(tmp_path / "cpu")
    assert level(cpu, "zoo", "files") == "ok"
    (folder / "a.safetensors").write_bytes(b"Weights")
    found = finding(cpu, "zoo", "files")
    assert found.level == "fail"
    assert "a.safetensors is not the file that was measured" in found.seen
    (folder / "a.safetensors").unlink()
    assert "cannot be read" in finding(cpu, "zoo", "files").seen
    (folder / "figures.toml").write_text("[[setting]]\n")
    assert level(cpu, "zoo", "zoo") == "fail"
