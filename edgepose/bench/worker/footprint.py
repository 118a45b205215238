"""What an artefact takes of memory, in a process that holds nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edgepose.bench.gpu_memory import GpuGauge
from edgepose.bench.memory import Gauge, available_bytes, find_gauge, pss_bytes, settle
from edgepose.errors import DeviceError
from edgepose.trt.gpu import find_gpu

__all__ = ["Footprint"]

_MEANING = (
    "all of the process counts; baseline: interpreter, libraries and the picture, before the "
    "artefact; growth: peak less baseline; the peak of all includes loading"
)
_NVIDIA = ("cuda", "tensorrt", "nv-tensorrt-rtx")


@dataclass
class Footprint:
    """Made when everything is imported and nothing is loaded.

    Args:
        device: Where the artefact will run, e.g. ``cpu`` or ``cuda:1``.
    """

    device: str
    baseline: int | None = None
    loaded: int | None = None
    _unread: str = ""
    _gauge: Gauge | None = None
    _highest: int = 0
    _rows: dict[int, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle()
        try:
            self._gauge = find_gauge()
            self.baseline = self._gauge.resident()
            self._gauge.reset()
        except DeviceError as error:
            self._unread = error.why or error.what
        self._gpu = _Gpu(self.device)
        self._available = available_bytes()

    def note_loaded(self) -> None:
        """Call when the artefact is loaded and has not run."""
        if self._gauge is not None:
            self._highest = self._gauge.peak()
            settle()
            self.loaded = self._gauge.resident()
        self._gpu.note_loaded()

    def peak(self, batch: int, run: Callable[[], Any]) -> dict[str, int]:
        """Run something for a batch size; its row of the record.

        Raises:
            DeviceError: The system does not tell.
        """
        if self._gauge is None or self.baseline is None:
            raise DeviceError("memory cannot be measured here", self._unread)
        settle()
        self._gauge.reset()
        run()
        peak = self._gauge.peak()
        self._highest = max(self._highest, peak)
        self._gpu.note()
        row = {"batch": batch, "peak_bytes": peak, "growth_bytes": peak - self.baseline}
        self._rows[batch] = row
        return row

    def section(self, file_bytes: int | None) -> dict[str, Any]:
        """The record's section on memory."""
        if self._gauge is None:
            return {"unavailable": self._unread}
        self._gpu.note()
        return {
            "how": f"{self._gauge.how}; {_MEANING}",
            "baseline_bytes": self.baseline,
            "loaded_bytes": self.loaded,
            "by_batch": [self._rows[batch] for batch in sorted(self._rows)],
            "peak_bytes": self._highest,
            "pss_bytes": pss_bytes(),
            "gpu": self._gpu.section(),
            "shared": self._shared(),
            "file_bytes": file_bytes,
        }

    def _shared(self) -> dict[str, Any] | None:
        if not self._gpu.integrated:
            return None
        now = available_bytes()
        if self._available is None or now is None:
            return {"unavailable": "the system does not tell MemAvailable"}
        return {
            "how": "the GPU shares the system's memory: drop of MemAvailable of the whole system "
            "since before the artefact was loaded, after its batches ran",
            "bytes": self._available - now,
        }


class _Gpu:
    """The same of the GPU, or why there is nothing to say."""

    def __init__(self, device: str) -> None:
        kind, _, number = device.partition(":")
        index = int(number) if number.isdigit() else 0
        self.integrated = False
        self._gauge: GpuGauge | None = None
        self._loaded = self._peak = 0
        self._why = f"it runs on '{device}', and only NVIDIA's driver is asked for memory"
        if kind == "cpu":
            self._why = "it runs on the CPU"
        if kind not in _NVIDIA:
            return
        found = find_gpu(index)
        self.integrated = found is not None and found.integrated
        if self.integrated:
            self._why = "the GPU has no memory of its own: see shared"
            return
        try:
            self._gauge = GpuGauge(index)
        except DeviceError as error:
            self._why = error.why or error.what

    def note_loaded(self) -> None:
        self._loaded = self.note()

    def note(self) -> int:
        """Runtimes keep what they took, so that what is held after a run was its peak."""
        if self._gauge is None:
            return 0
        used = self._gauge.used()
        self._peak = max(self._peak, used)
        return used

    def section(self) -> dict[str, Any]:
        if self._gauge is None:
            return {"unavailable": self._why}
        return {
            "how": f"{self._gauge.how}; read after loading and after each batch",
            "loaded_bytes": self._loaded,
            "peak_bytes": self._peak,
        }
