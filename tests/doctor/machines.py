"""Machines made of files and answers: what a Jetson or a PC shows of itself, word for word.

The texts of Jetsons are as owners post them; memory and clocks are of such boards too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepose.doctor.asking import Answer
from edgepose.doctor.system import System
from edgepose.system import Ran

GIB = 2**30

NO_DRIVER = Answer(
    error="no usable GPU: the NVIDIA driver is not installed: libcuda.so.1: cannot open shared "
    "object file: No such file or directory",
    hint="install NVIDIA's driver; in a container, start it with the NVIDIA runtime",
)
NO_TENSORRT = Answer(
    error="this needs TensorRT: it is not installed",
    hint="pip install tensorrt-cu13 --extra-index-url https://pypi.nvidia.com",
    absent=True,
)
NO_PYCUDA = Answer(error="ModuleNotFoundError: No module named 'pycuda'", absent=True)
NO_BINDINGS = Answer(error="ModuleNotFoundError: No module named 'cuda'", absent=True)
CPU_ONLY: dict[str, list[str]] = {"CPUExecutionProvider": []}


def answers(**changed: Answer) -> dict[str, Answer]:
    """What a plain CPU says; what differs is given."""
    return {
        "gpu": NO_DRIVER,
        "tensorrt": NO_TENSORRT,
        "tensorrt_rtx": replace(NO_TENSORRT, error="this needs TensorRT-RTX: it is not installed"),
        "pycuda": NO_PYCUDA,
        "cuda_bindings": NO_BINDINGS,
        "onnxruntime": Answer({"version": "1.31.1", "providers": CPU_ONLY}),
        "opencv": opencv(),
        **changed,
    }


def opencv(version: str = "5.0.0", gstreamer: str = "NO", gui: str = "QT5") -> Answer:
    built = {"GUI": gui, "FFMPEG": "YES", "GStreamer": gstreamer, "v4l/v4l2": "YES"}
    return Answer({"version": version, "file": "/x/cv2/__init__.py", "built": built})


def tensorrt(version: str, cuda: str | None = None) -> Answer:
    modern = int(version.split(".")[0]) >= 10
    return Answer(
        {
            "version": version,
            "cuda": cuda,
            "strongly_typed": modern,
            "precision_flags": not version.startswith("11"),
            "progress": modern,
            "version_compatible": True,
        }
    )


def gpu(
    name: str,
    capability: tuple[int, int],
    cuda: tuple[int, int],
    *,
    memory_gib: float = 8,
    driver: str | None = None,
) -> Answer:
    return Answer(
        {
            "name": name,
            "compute_capability": capability,
            "multiprocessors": 8,
            "memory_bytes": int(memory_gib * GIB),
            "integrated": driver is None,
            "driver": driver,
            "cuda": cuda,
        }
    )


def system(
    root: Path,
    told: dict[str, Answer],
    *,
    files: dict[str, str] | None = None,
    tools: dict[str, str] | None = None,
    packages: dict[str, str] | None = None,
    **facts: Any,
) -> System:
    """A machine of these files, tools, packages and answers."""
    for path, text in (files or {}).items():
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / path.lstrip("/")).write_text(text)

    def run(command: Sequence[str]) -> Ran:
        said = (tools or {}).get(command[0])
        return Ran(None) if said is None else Ran(0, said)

    return System(
        root=root,
        run=run,
        ask=told.__getitem__,
        version=(packages or {}).get,
        free_bytes=facts.pop("free_bytes", lambda path: 100 * GIB),
        may_use=facts.pop("may_use", lambda path: True),
        kind="Linux",
        machine=facts.pop("machine", "x86_64"),
        python=facts.pop("python", "3.12.3"),
        **facts,
    )


def meminfo(total_gib: float, free_gib: float, swap_gib: float = 0) -> str:
    rows = {"MemTotal": total_gib, "MemAvailable": free_gib}
    rows |= {"SwapTotal": swap_gib, "SwapFree": swap_gib}
    return "".join(f"{name}:{int(size * 2**20):>15} kB\n" for name, size in rows.items())


UBUNTU = 'PRETTY_NAME="Ubuntu {} LTS"\nNAME="Ubuntu"\nID=ubuntu\n'
ZRAM = (
    "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    "/dev/zram0                              partition\t650240\t\t0\t\t5\n"
    "/dev/zram1                              partition\t650240\t\t0\t\t5\n"
)
_NVPMODEL_ORIN_NANO = (
    "< PM_CONFIG DEFAULT=1 >\n"
    "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n"
    "< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
    "< POWER_MODEL ID=3 NAME=7W >\n"
)


def _release(major: int, revision: str) -> str:
    return (
        f"# R{major} (release), REVISION: {revision}, GCID: 38968081, BOARD: generic, "
        "EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n"
        "TARGET_USERSPACE_LIB_DIR=nvidia\n"
    )


def _package(name: str, version: str) -> str:
    return (
        f"Package: {name}\nStatus: install ok installed\nPriority: standard\nSection: misc\n"
        f"Architecture: arm64\nVersion: {version}\nDescription: NVIDIA\n\n"
    )


ORIN_NANO_FILES = {
    "/etc/os-release": UBUNTU.format("22.04.5"),
    "/etc/nv_tegra_release": _release(36, "4.3"),
    "/etc/nvpmodel.conf": _NVPMODEL_ORIN_NANO,
    "/var/lib/dpkg/status": _package("libc6", "2.35-0ubuntu3.8")
    + _package("nvidia-jetpack", "6.2+b77"),
    "/proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit "
    "Super\0",
    "/proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0"
    "nvidia,tegra234\0",
    "/proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd aes asimddp\n\n"
    "processor\t: 1\nFeatures\t: fp asimd aes asimddp\n",
    "/proc/meminfo": meminfo(7.4, 5.6, 3.7),
    "/proc/swaps": ZRAM,
    "/proc/sys/kernel/osrelease": "5.15.148-tegra\n",
    "/sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "/sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "/sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    "/sys/class/devfreq/17000000.gpu/governor": "nvhost_podgov\n",
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "/sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "/sys/class/thermal/thermal_zone0/temp": "48718\n",
    "/sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "/sys/class/thermal/thermal_zone1/temp": "49343\n",
    "/sys/class/thermal/cooling_device0/type": "cpu-throttle-alert\n",
    "/sys/class/thermal/cooling_device0/cur_state": "0\n",
    "/sys/class/thermal/cooling_device1/type": "pwm-fan\n",
    "/sys/class/thermal/cooling_device1/cur_state": "2\n",
    "/sys/class/video4linux/video0/name": "vi-output, imx219 9-0010\n",
    "/sys/class/video4linux/video0/index": "0\n",
    "/dev/video0": "",
    "/usr/lib/python3.10/dist-packages/tensorrt/__init__.py": "",
}


def orin_nano(root: Path, **changed: Any) -> System:
    """An Orin Nano with JetPack 6.2 as it should be set up."""
    told = answers(
        gpu=gpu("Orin", (8, 7), (12, 6), memory_gib=7.4),
        tensorrt=tensorrt("10.3.0", "12.5"),
        cuda_bindings=Answer({"version": "12.9.10"}),
        opencv=opencv("4.8.0", "YES (1.20.3)", "GTK2"),
        onnxruntime=Answer({"version": "1.23.2", "providers": CPU_ONLY}),
    )
    told |= changed.pop("told", {})
    files = ORIN_NANO_FILES | changed.pop("files", {})
    return system(
        root,
        told,
        files=files,
        tools=changed.pop("tools", {"nvpmodel": "NV Power Mode: 15W\n0\n"}),
        packages=changed.pop("packages", {"onnxruntime": "1.23.2", "numpy": "1.26.4"}),
        machine="aarch64",
        python="3.10.12",
        **changed,
    )


def jetpack5(root: Path) -> System:
    """An AGX Xavier on JetPack 5.1.2, with a Python that somebody compiled."""
    return system(
        root,
        answers(
            gpu=gpu("Xavier", (7, 2), (11, 4), memory_gib=30.5),
            opencv=opencv("4.11.0", "NO", "QT5"),
        ),
        files={
            "/etc/os-release": UBUNTU.format("20.04.6"),
            "/etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, "
            "BOARD: t186ref, EABI: aarch64, DATE: Tue Aug  1 19:57:35 UTC 2023\n",
            "/proc/device-tree/model": "Jetson-AGX\0",
            "/proc/device-tree/compatible": "nvidia,p2972-0000\0nvidia,tegra194\0",
            "/proc/meminfo": meminfo(30.5, 27.0, 15.2),
            "/proc/swaps": ZRAM,
        },
        tools={"nvpmodel": "NV Power Mode: MODE_15W_DESKTOP\n7\n"},
        machine="aarch64",
        python="3.10.14",
        packages={"opencv-python": "4.11.0.86", "onnxruntime": "1.23.2"},
    )


def thor(root: Path) -> System:
    """An AGX Thor on JetPack 7.0, fresh from the installer: no package for device memory."""
    return system(
        root,
        answers(
            gpu=gpu("NVIDIA Thor", (11, 0), (13, 0), memory_gib=122.8),
            tensorrt=tensorrt("10.13.3", "13.0"),
            opencv=opencv("4.6.0", "YES (1.24.2)"),
        ),
        files={
            "/etc/os-release": UBUNTU.format("24.04.3"),
            "/etc/nv_tegra_release": _release(38, "2.0"),
            "/proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
            "/proc/device-tree/compatible": "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0"
            "nvidia,tegra264\0",
            "/proc/meminfo": meminfo(122.8, 117.0),
            "/sys/class/devfreq/gpu-gpc-0/cur_freq": "1575000000\n",
            "/sys/class/devfreq/gpu-gpc-0/min_freq": "1575000000\n",
            "/sys/class/devfreq/gpu-gpc-0/max_freq": "1575000000\n",
            "/sys/class/devfreq/gpu-gpc-0/governor": "performance\n",
        },
        tools={"nvpmodel": "NV Power Mode: MAXN\n0\n"},
        machine="aarch64",
        packages={"onnxruntime": "1.31.1"},
    )


def desktop(root: Path, **changed: Any) -> System:
    """A PC with a GPU and its driver, both packages of onnxruntime, and no TensorRT."""
    trouble = [
        "libcublasLt.so.13: cannot open shared object file: No such file or directory",
        'install the CUDA libraries: pip install "onnxruntime-gpu[cuda,cudnn]"',
    ]
    told = answers(
        gpu=gpu("NVIDIA GeForce RTX 4070", (8, 9), (13, 0), memory_gib=12, driver="580.95.05"),
        onnxruntime=Answer(
            {"version": "1.31.1", "providers": {"CUDAExecutionProvider": trouble, **CPU_ONLY}}
        ),
    )
    told |= changed.pop("told", {})
    files = {
        "/etc/os-release": UBUNTU.format("24.04.3"),
        "/proc/meminfo": meminfo(31.2, 20.1, 2.0),
        "/proc/swaps": "Filename Type Size Used Priority\n/swap.img file 2097148 0 -2\n",
        "/proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD Ryzen 7\nflags\t\t: fpu avx512_vnni\n",
        "/sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
        "/sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver": "amd-pstate-epp\n",
    }
    packages = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1", "opencv-python": "5.0.0"}
    return system(root, told, files=files | changed.pop("files", {}), packages=packages, **changed)


def plain_cpu(root: Path, **changed: Any) -> System:
    """A small cloud machine."""
    files = {
        "/etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "/proc/meminfo": meminfo(4, 3),
    }
    return system(
        root,
        answers(**changed.pop("told", {})),
        files=files | changed.pop("files", {}),
        packages=changed.pop("packages", {"onnxruntime": "1.31.1", "opencv-python": "5.0.0"}),
        **changed,
    )
