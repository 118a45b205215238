"""onnxruntime's execution providers: what ``--device`` names, how each is set up, what it lacks."""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import importlib.util
import json
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.cache import user_cache
from edgepose.errors import DeviceError, GraphError
from edgepose.spec import RECORD_KEY

__all__ = [
    "DEVICES",
    "PROFILE",
    "Device",
    "Setup",
    "first_line",
    "loader_words",
    "parse_device",
    "plugin_of",
    "setup",
    "unreadable",
]

# Smallest, usual and largest batch that TensorRT is told of where the graph leaves the batch open;
# without them it builds a new engine, minutes each, whenever a batch is larger than all before.
PROFILE = (1, 4, 16)
_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_REPLACE = "pip uninstall -y onnxruntime && pip install --force-reinstall --no-deps {}"


@dataclass(frozen=True)
class Setup:
    """What a session on a device needs.

    Attributes:
        provider: onnxruntime's name of the provider.
        options: For it.
        others: Providers that take what it leaves, in this order.
        max_batch: Largest batch where the graph leaves it open; None for no limit of its own.
    """

    provider: str
    options: dict[str, str]
    others: tuple[str, ...]
    max_batch: int | None


@dataclass(frozen=True)
class Device:
    """A row of the table.

    Attributes:
        provider: onnxruntime's name of the provider.
        install: What brings it.
        suffix: Option that takes what stands behind the colon of ``cuda:1``; None if nothing may.
        options: Makes the options from (graph, threads).
        others: Providers that take what it leaves, before the CPU's.
        plugin: Python package that carries the provider for a plain onnxruntime.
        profiles: Whether it builds engines for a range of batches.
    """

    provider: str
    install: str
    suffix: str | None = None
    options: Callable[[_Graph, int | None], dict[str, str]] = lambda graph, threads: {}
    others: tuple[str, ...] = ()
    plugin: str | None = None
    profiles: bool = False


@dataclass(frozen=True)
class _Graph:
    """What a provider's options depend on: asked of the file only if one needs it."""

    path: Path
    ort: Any

    def session(self) -> Any:
        """The file read and not prepared for anything."""
        options = self.ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = self.ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return self.ort.InferenceSession(str(self.path), options, providers=[_CPU])
        except Exception as error:  # onnxruntime's own classes share no base but Exception
            raise unreadable(self.path, error) from error

    def digest(self) -> str:
        """Of all bytes of the graph, weights beside it included."""
        sha256 = hashlib.sha256()
        for path in (self.path, self.path.with_name(self.path.name + ".data")):
            if path.is_file():
                with path.open("rb") as file:
                    while block := file.read(1 << 20):
                        sha256.update(block)
        return sha256.hexdigest()


def _cuda(graph: _Graph, threads: int | None) -> dict[str, str]:
    # TF32 off: an FP32 file is computed in FP32, as torch does it for parity. The default search
    # for algorithms tries all of them for every new batch size.
    options = {"cudnn_conv_algo_search": "HEURISTIC"}
    if _version(graph.ort) >= (1, 18):
        options["use_tf32"] = "0"
    return options


def _tensorrt(graph: _Graph, threads: int | None) -> dict[str, str]:
    # The provider names an engine by the graph's structure, not by its weights; so each file has a
    # folder of its own, and new weights never meet an old engine.
    parts = (f"onnxruntime-{graph.ort.__version__}", f"tensorrt-{_tensorrt_version()}")
    timings = user_cache("tensorrt", *parts)
    engines = user_cache("tensorrt", *parts, graph.digest()[:16])
    session = graph.session()
    options = {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(engines),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(timings),
        **_shapes(session, "trt_profile_{}_shapes"),
    }
    # The provider's networks are weakly typed: what the file holds must be allowed by flags too.
    precision = _precision(session)
    if "fp16" in precision:
        options["trt_fp16_enable"] = "1"
    if "int8" in precision:
        options["trt_int8_enable"] = "1"
    return options


def _tensorrt_rtx(graph: _Graph, threads: int | None) -> dict[str, str]:
    # Kernels are compiled on first use; the runtime cache keeps them.
    cache = user_cache("tensorrt-rtx", f"onnxruntime-{graph.ort.__version__}", graph.digest()[:16])
    return {
        "nv_runtime_cache_path": str(cache),
        **_shapes(graph.session(), "nv_profile_{}_shapes"),
    }


def _openvino(graph: _Graph, threads: int | None) -> dict[str, str]:
    return {} if threads is None else {"num_of_threads": str(threads)}


DEVICES: dict[str, Device] = {
    "cpu": Device(_CPU, "pip install onnxruntime"),
    "cuda": Device(_CUDA, _REPLACE.format("onnxruntime-gpu"), "device_id", _cuda),
    "tensorrt": Device(
        "TensorrtExecutionProvider",
        _REPLACE.format("onnxruntime-gpu"),
        "device_id",
        _tensorrt,
        (_CUDA,),
        profiles=True,
    ),
    "nv-tensorrt-rtx": Device(
        "NvTensorRTRTXExecutionProvider",
        "pip install onnxruntime-ep-nv-tensorrt-rtx-cu13 (beside a plain onnxruntime)",
        "device_id",
        _tensorrt_rtx,
        plugin="onnxruntime_ep_nv_tensorrt_rtx",
        profiles=True,
    ),
    "coreml": Device("CoreMLExecutionProvider", "on macOS: pip install onnxruntime"),
    "openvino": Device(
        "OpenVINOExecutionProvider",
        _REPLACE.format("onnxruntime-openvino"),
        "device_type",
        _openvino,
    ),
    "dml": Device(
        "DmlExecutionProvider",
        "on Windows: " + _REPLACE.format("onnxruntime-directml"),
        "device_id",
    ),
    "migraphx": Device(
        "MIGraphXExecutionProvider", _REPLACE.format("onnxruntime-migraphx"), "device_id"
    ),
}


def parse_device(text: str) -> tuple[str, str | None]:
    """``cuda:1`` -> ("cuda", "1"); ``cpu`` -> ("cpu", None).

    Raises:
        DeviceError: No such device, or something behind the colon that it does not take.
    """
    kind, colon, suffix = text.partition(":")
    if kind not in DEVICES:
        raise DeviceError(f"unknown device '{text}'", f"known are {', '.join(DEVICES)}")
    option = DEVICES[kind].suffix
    if colon and (option is None or not suffix or (option == "device_id" and not suffix.isdigit())):
        takes = {None: "nothing", "device_id": "a number", "device_type": "a name such as GPU"}
        raise DeviceError(
            f"unknown device '{text}'", f"'{kind}' takes {takes[option]} behind a colon"
        )
    return kind, suffix or None


def setup(
    device: str,
    path: Path,
    ort: Any,
    threads: int | None = None,
    extra: Mapping[str, str] | None = None,
) -> Setup:
    """How a session for a file is set up on a device.

    Args:
        device: As in :func:`parse_device`.
        path: The ONNX file.
        ort: onnxruntime's module.
        threads: Threads inside one operator.
        extra: Options for the provider that win over the defaults here.

    Raises:
        DeviceError: This onnxruntime does not have the provider.
        OutputError: The provider keeps engines, and there is no folder to keep them in.
    """
    kind, suffix = parse_device(device)
    row = DEVICES[kind]
    available = ort.get_available_providers()
    if row.provider not in available and not _plugin_installed(row):
        raise DeviceError(
            f"device '{device}' is not available",
            f"this onnxruntime {ort.__version__} offers {', '.join(available)}",
            f"{row.install}; or use --device cpu",
        )
    options = row.options(_Graph(path, ort), threads)
    if suffix is not None and row.suffix is not None:
        options[row.suffix] = suffix
    others = (*(name for name in row.others if name in available), _CPU)
    return Setup(
        row.provider,
        options | dict(extra or {}),
        () if row.provider == _CPU else others,
        PROFILE[2] if row.profiles else None,
    )


def plugin_of(provider: str) -> Any | None:
    """The installed Python package that carries a provider as a plugin."""
    for row in DEVICES.values():
        if row.provider == provider and _plugin_installed(row):
            return importlib.import_module(row.plugin or "")
    return None


def loader_words(provider: str, ort: Any) -> tuple[str, str | None] | None:
    """Why a provider's library cannot be loaded, in the words of the system, and what to do.

    To be asked after onnxruntime has tried, and not before: the library takes hold of onnxruntime
    while it is loaded. None if it can be loaded.
    """
    stem = {_CUDA: "cuda", "TensorrtExecutionProvider": "tensorrt"}.get(provider)
    if stem is None:
        return None
    folder = Path(ort.__file__).parent / "capi"
    name = f"onnxruntime_providers_{stem}"
    file = folder / (f"{name}.dll" if sys.platform == "win32" else f"lib{name}.so")
    try:
        ctypes.CDLL(str(file))
    except OSError as error:
        words = str(error)
    else:
        return None
    if "nvinfer" in words or "nvonnxparser" in words:
        return words, (
            f"onnxruntime {ort.__version__} needs the TensorRT that this library's number names "
            "(TensorRT 11 does not serve a provider built for 10): install that one, e.g. "
            "pip install 'tensorrt-cu13<11' --extra-index-url https://pypi.nvidia.com, or build an "
            "engine with edgepose export MODEL --to engine"
        )
    if platform.machine() == "aarch64":
        return words, "on a Jetson, install the onnxruntime-gpu that is built for its JetPack"
    return words, (
        'install the CUDA libraries: pip install "onnxruntime-gpu[cuda,cudnn]" '
        "--force-reinstall, or CUDA and cuDNN of that version"
    )


def unreadable(path: Path, error: Exception) -> GraphError:
    """The error for a file that onnxruntime cannot load on any device."""
    return GraphError(
        f"onnxruntime cannot load {path}",
        first_line(error),
        "export it again: edgepose export MODEL -o FILE.onnx",
    )


def first_line(error: Exception) -> str:
    """Of what onnxruntime says; the rest is its stack."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _plugin_installed(row: Device) -> bool:
    return row.plugin is not None and importlib.util.find_spec(row.plugin) is not None


def _shapes(session: Any, option: str) -> dict[str, str]:
    """The range of shapes, where the batch is open and nothing else."""
    ports = [port for port in session.get_inputs() if not isinstance(port.shape[0], int)]
    if not ports or any(not isinstance(n, int) for port in ports for n in port.shape[1:]):
        return {}
    return {
        option.format(word): ",".join(
            f"{port.name}:{'x'.join(map(str, (batch, *port.shape[1:])))}" for port in ports
        )
        for word, batch in zip(("min", "opt", "max"), PROFILE, strict=True)
    }


def _precision(session: Any) -> str:
    """Of the graph, by the record that it carries; empty for a foreign one."""
    text = session.get_modelmeta().custom_metadata_map.get(RECORD_KEY, "{}")
    try:
        record = json.loads(text)
    except ValueError:
        return ""
    return str(record.get("precision", "")) if isinstance(record, dict) else ""


def _tensorrt_version() -> str:
    """Of the TensorRT library that the provider will load; engines do not outlive it."""
    for name in ("libnvinfer.so.10", "nvinfer_10.dll"):
        try:
            return str(ctypes.CDLL(name).getInferLibVersion())
        except (OSError, AttributeError):
            continue
    return "unknown"


def _version(ort: Any) -> tuple[int, int]:
    major, minor = ort.__version__.split(".")[:2]
    return int(major), int(minor)
