"""What a worker is asked for and what it answers: values that travel as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Kind", "Opened", "Request", "Sustained", "Warmed"]

Kind = Literal["onnx", "engine", "torch"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One artefact to be opened in a process of its own.

    Attributes:
        label: What it is called in the run.
        artefact: Path of the file, or a registry name for ``torch``.
        kind: What runs it.
        weights: Weights file of a registry model; the zoo's by default.
        random_weights: Take fresh random weights, always the same.
        device: Where it runs; as :func:`edgepose.runtime.open.open_runner`.
        threads: Threads inside one operator of everything in the process: onnxruntime, torch,
            OpenCV, BLAS. Each one's own choice by default.
        spec_file: TOML file with the spec of a foreign graph.
        scene_folder: Folder whose first picture is timed on; a packaged photograph by default.
        keep_heap: Whether the process keeps the memory it frees, for the sake of its times; see
            :mod:`edgepose.bench.worker.heap`.
    """

    label: str
    artefact: str
    kind: Kind
    weights: str | None = None
    random_weights: bool = False
    device: str | None = None
    threads: int | None = None
    spec_file: str | None = None
    scene_folder: str | None = None
    keep_heap: bool = False


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An artefact that is loaded and has not run yet.

    Attributes:
        describe: What is in force, as the runner says before its first run.
        spec: Its spec.
        precision: ``fp32``, ``fp16``, ``int8`` or ``int8-fp16``; None if the file cannot be read.
        import_ms: From the process's first line of Python until the libraries were imported.
        load_ms: From file to runner. The file was read before: the disk is not in it.
        baseline_bytes: Resident bytes with all libraries and the scene, without the artefact; None
            where the system does not say.
        loaded_bytes: The same with the artefact.
        file: Name of the file; for PyTorch of the weights. None where weights are random.
        sha256: Of that file.
        bytes: Its size.
        max_batch: Largest batch of one call.
        buckets: Batch sizes it is made for; None if any will do.
        stages: Keys of :data:`edgepose.bench.stages.STAGES` that can be timed.
        scene: What it is timed on, in words.
        heap: How its process deals with memory, in words; None if as the system would have it.
        record: How the artefact says it was made.
    """

    describe: dict[str, Any]
    spec: dict[str, Any]
    precision: str | None
    import_ms: float
    load_ms: float
    baseline_bytes: int | None
    loaded_bytes: int | None
    file: str | None
    sha256: str | None
    bytes: int | None
    max_batch: int
    buckets: tuple[int, ...] | None
    stages: tuple[str, ...]
    scene: str
    heap: str | None
    record: dict[str, Any] | None

    def refuses(self, batch: int) -> str | None:
        """Why it cannot run a batch of that size in one call; None if it can."""
        if batch > self.max_batch:
            return f"it takes at most {self.max_batch} people"
        if self.buckets is not None and batch not in self.buckets:
            return f"it takes batches of {', '.join(map(str, self.buckets))} and no others"
        return None


@dataclass(frozen=True, kw_only=True)
class Warmed:
    """A stage that has been run until its times settled.

    Attributes:
        calls: Calls made.
        stable: Whether times had settled.
        first_ms: Milliseconds of the first of them.
        first_inference_ms: Of the very first inference of this process, whatever asked for it.
        first_inference_batch: The batch of that one.
    """

    calls: int
    stable: bool
    first_ms: float
    first_inference_ms: float
    first_inference_batch: int


@dataclass(frozen=True, kw_only=True)
class Sustained:
    """A time in which a stage ran without a break.

    Attributes:
        calls: Calls made.
        seconds: From the first one's begin to the last one's end.
        started_ns: Begin, on ``perf_counter_ns``, which all processes of a machine share.
        ended_ns: End.
    """

    calls: int
    seconds: float
    started_ns: int
    ended_ns: int
