"""What is timed: one network in one runtime, opened in a process of its own.

The process may be another Python, where torch or onnxruntime's CUDA provider is: nothing is
imported here before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.gpu.absent import Absent

__all__ = ["Contender", "Entry", "entries", "open_contender"]

Images = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A contender by name, and how it is opened.

    Attributes:
        name: Unique among the contenders of a model.
        kind: ``torch``, ``onnxruntime`` or ``tensorrt``.
        model: Registry name.
        file: ONNX file or engine; None for torch.
        mode: Of torch: ``eager-fp32``, ``compile-fp16`` or ``compile-fp16-graphs``.
        graphs: Of TensorRT: whether CUDA graphs are launched.
        python: Interpreter; None for this one.
    """

    name: str
    kind: str
    model: str
    file: str | None = None
    mode: str = ""
    graphs: bool = False
    python: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


class Contender(Protocol):
    """An opened contender."""

    def call(self, images: Images) -> Any:
        """From the host's memory to the host's memory."""
        ...

    def device_ms(self, images: Images) -> float | None:
        """Milliseconds of the network on the device's own clock; None where nobody can ask it."""
        ...

    def describe(self) -> dict[str, Any]:
        """What is in force."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def entries(
    model: str,
    onnx: Mapping[str, str],
    engines: Mapping[str, str],
    pythons: Mapping[str, str],
) -> list[Entry]:
    """All contenders of a model, whether they are here or not.

    Args:
        model: Registry name.
        onnx: Precision -> ONNX file.
        engines: ``product precision`` -> engine.
        pythons: ``torch`` or ``onnxruntime`` -> interpreter to run it in, where it is another.
    """
    found = [
        Entry(name=f"torch {mode}", kind="torch", model=model, mode=mode)
        for mode in ("eager-fp32", "compile-fp16", "compile-fp16-graphs")
    ]
    found += [
        Entry(name=f"onnxruntime-cuda {precision}", kind="onnxruntime", model=model, file=file)
        for precision, file in onnx.items()
        if precision in ("fp32", "fp16")
    ]
    for name, engine in engines.items():
        plain = Entry(name=name, kind="tensorrt", model=model, file=engine)
        found.append(plain)
        if not name.endswith("fp32"):
            found.append(Entry(**{**vars(plain), "name": f"{name} graphs", "graphs": True}))
    return [Entry(**{**vars(entry), "python": pythons.get(entry.kind)}) for entry in found]


def open_contender(entry: Entry) -> Contender:
    """Open one.

    Raises:
        Absent: What it needs is not here.
        EdgeposeError: It is here and does not work.
    """
    kinds: dict[str, Callable[[Entry], Contender]] = {
        "torch": _Torch,
        "onnxruntime": _Onnx,
        "tensorrt": _Engine,
    }
    return kinds[entry.kind](entry)


class _Engine:
    """TensorRT or TensorRT-RTX."""

    def __init__(self, entry: Entry) -> None:
        from edgepose.runtime.tensorrt import TensorRTRunner

        path = Path(entry.file or "")
        if not path.is_file():
            raise Absent(f"the engine {path.name}", "it was not built in this run or before")
        self._runner = TensorRTRunner(path, graphs=entry.graphs)
        force = str(self._runner.describe()["graphs"])
        if entry.graphs and not force.startswith("on"):
            self._runner.close()
            raise Absent("a way to launch CUDA graphs", force)

    def call(self, images: Images) -> Any:
        return self._runner.infer(images)

    def device_ms(self, images: Images) -> float | None:
        return self._runner.infer_timed(images)[1]

    def describe(self) -> dict[str, Any]:
        return self._runner.describe()

    def close(self) -> None:
        self._runner.close()


class _Onnx:
    """onnxruntime's CUDA provider. It offers no way to time its stream."""

    def __init__(self, entry: Entry) -> None:
        from edgepose.errors import DeviceError
        from edgepose.runtime.onnxruntime import OnnxRunner

        try:
            self._runner = OnnxRunner(Path(entry.file or ""), device="cuda")
        except DeviceError as error:
            raise Absent("onnxruntime's CUDA provider", f"{error.what}: {error.why}") from error

    def call(self, images: Images) -> Any:
        return self._runner.infer(images)

    def device_ms(self, images: Images) -> float | None:
        return None

    def describe(self) -> dict[str, Any]:
        return self._runner.describe()

    def close(self) -> None:
        self._runner.close()


class _Torch:
    """The module in torch, with random weights: they change its poses and not its time."""

    def __init__(self, entry: Entry) -> None:
        try:
            import torch
        except ImportError as error:
            raise Absent("torch", str(error)) from error
        if not torch.cuda.is_available():
            raise Absent("torch for CUDA", f"torch {torch.__version__} sees no CUDA device")
        from edgepose.models import build

        self._torch, self._mode = torch, entry.mode
        # FP32 means FP32, as everywhere here.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.manual_seed(0)
        module = build(entry.model).eval().cuda()
        self._half = entry.mode != "eager-fp32"
        self._forward: Any = module
        if self._half:
            mode = "reduce-overhead" if entry.mode.endswith("graphs") else "default"
            self._forward = torch.compile(module.half(), mode=mode, dynamic=False)

    def call(self, images: Images) -> dict[str, Images]:
        with self._torch.no_grad():
            outputs = self._forward(self._uploaded(images))
            return {name: value.float().cpu().numpy() for name, value in outputs.items()}

    def device_ms(self, images: Images) -> float | None:
        torch = self._torch
        uploaded = self._uploaded(images)
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.no_grad():
            torch.cuda.synchronize()
            before.record()
            self._forward(uploaded)
            after.record()
            torch.cuda.synchronize()
        return float(before.elapsed_time(after))

    def describe(self) -> dict[str, Any]:
        torch = self._torch
        return {
            "runtime": "torch",
            "version": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "gpu": torch.cuda.get_device_name(),
            "mode": self._mode,
            "tf32": False,
            "weights": "random",
            "peak_allocated_mib": round(torch.cuda.max_memory_allocated() / 2**20, 1),
            "reserved_mib": round(torch.cuda.memory_reserved() / 2**20, 1),
        }

    def close(self) -> None:
        self._forward = None

    def _uploaded(self, images: Images) -> Any:
        tensor = self._torch.from_numpy(np.ascontiguousarray(images)).cuda()
        return tensor.half() if self._half else tensor
