"""Running a TensorRT or TensorRT-RTX engine."""

from __future__ import annotations

import contextlib
import threading
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.closing import Closing
from edgepose.errors import DeviceError, EdgeposeError, EngineError
from edgepose.runtime.cuda import open_cuda
from edgepose.runtime.cuda.base import Cuda, DeviceMemory, Event, Stream
from edgepose.runtime.cuda.tensors import Tensor
from edgepose.runtime.lane import CaptureRefused, Lane, Wiring, ask
from edgepose.runtime.overriding import overridden
from edgepose.runtime.signature import Port, Signature, match_outputs
from edgepose.spec import PoseSpec
from edgepose.trt.api import TensorRT, load
from edgepose.trt.gpu import read_gpu
from edgepose.trt.sidecar import Profile, check, here, read

__all__ = ["TensorRTRunner"]

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "UINT8": "uint8",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
# What the runner turns the spec's inputs into where the engine was built so.
_CONVERTED = {"float32": ("float16",), "float16": ("float32",)}


class TensorRTRunner(Closing):
    """An engine on one GPU: its own stream, its own memory, allocated once for the largest batch.

    Any number of rows may be given: larger batches than the engine's are split, smaller ones
    filled up to what it runs. Calls from several threads wait for one another; two runners in two
    threads do not.

    Args:
        path: The ``.engine`` file; its sidecar lies beside it. Both are checked, the digest of the
            engine's bytes included, before TensorRT sees any of them.
        spec: Overrides the one in the sidecar, but for its provenance.
        device: ``cuda`` or ``cuda:N``.
        provider: Binding of CUDA to Python: ``cuda-bindings`` or ``pycuda``; the first of these
            that is installed by default.
        graphs: Whether to launch CUDA graphs, one per batch size, instead of single kernels.
            :meth:`describe` says what is in force.

    Attributes:
        sidecar: What is known of the engine.

    Raises:
        EngineError: No sidecar, or the engine is damaged or of another machine or version.
        SpecError: The spec contradicts the engine.
        MissingDependency: No TensorRT, or no binding of CUDA.
        DeviceError: No GPU, or not enough memory on it.
    """

    def __init__(
        self,
        path: str | Path,
        spec: PoseSpec | None = None,
        device: str = "cuda",
        *,
        provider: str | None = None,
        graphs: bool = True,
    ) -> None:
        self.path = Path(path)
        index = _index(device, self.path)
        self.device = f"cuda:{index}"
        self.sidecar = read(self.path)
        self.spec = overridden(self.sidecar.spec, spec)
        self._trt = load(self.sidecar.product)
        data = check(self.sidecar, self.path, here(self._trt, read_gpu(index)))
        self._cuda = open_cuda(index, provider)
        self._lock = threading.Lock()
        self._failed = False
        self._held = _Held(self._cuda)
        # Also where nobody closes it: at the end of the process at the latest.
        self._release = weakref.finalize(self, self._held.release_quietly)
        try:
            with self._cuda.active():
                self._held.stream = self._cuda.create_stream()
                self._deserialise(data)
                self._connect()
                self._plan(graphs)
        except BaseException:
            self._release()
            raise

    def infer(self, images: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """See :class:`edgepose.runtime.base.Runner`. FP16 outputs are given as float32."""
        return self._infer(images, timed=False)[0]

    def infer_timed(self, images: npt.NDArray[Any]) -> tuple[dict[str, npt.NDArray[Any]], float]:
        """The same, and the milliseconds that the network took on the device's own clock.

        Copies between host and device are not in it.
        """
        return self._infer(images, timed=True)

    def describe(self) -> dict[str, Any]:
        """See :class:`edgepose.runtime.base.Runner`."""
        gpu, side = self._cuda.gpu, self.sidecar
        return {
            "runtime": self._trt.product,
            "version": self._trt.version,
            "device": self.device,
            "gpu": gpu.name,
            "compute_capability": ".".join(map(str, gpu.compute_capability)),
            "driver": gpu.driver,
            "cuda_provider": f"{self._cuda.provider} {self._cuda.version}",
            "memory": "mapped, no copies" if self._mapped else "page-locked, copied",
            "graphs": self._graphs,
            "graph_batches": self._buckets if self._graphs.startswith("on") else None,
            "artefact": self.path.name,
            "input_dtype": self._input.dtype,
            "precision": side.precision,
            "layers": side.layers,
            "profiles": [(p.min, p.opt, p.max) for p in self._profiles],
            "dla_core": side.dla_core,
        }

    def close(self) -> None:
        """Give everything on the device back. May be called twice."""
        with self._lock:
            if self._release.detach() is None:
                return
            if self._failed:  # then CUDA refuses everything, and the first error is known
                self._held.release_quietly()
            else:
                self._held.release()

    # --- opening ---

    def _deserialise(self, data: bytes) -> None:
        module, side, held = self._trt.module, self.sidecar, self._held
        held.runtime = self._ask("Runtime", lambda: module.Runtime(self._trt.logger))
        if side.version_compatible:  # its host code is as trusted as the rest: the digest matched
            held.runtime.engine_host_code_allowed = True
        if side.dla_core is not None:
            held.runtime.DLA_core = side.dla_core
        held.engine = self._ask(
            "deserialize_cuda_engine", lambda: held.runtime.deserialize_cuda_engine(data)
        )

    def _connect(self) -> None:
        """Hold the engine's tensors against the spec, and give each its memory."""
        held = self._held
        signature = _signature(self._trt, held.engine, self.path)
        self._input = signature.check_input(self.spec, self.path, _CONVERTED)
        self._row = tuple(n for n in self._input.shape[1:] if n is not None)
        self._outputs = match_outputs(signature, self.spec, self.path, foreign=True)
        self._profiles = _profiles(held.engine, self._input)
        self.max_batch = max(profile.max for profile in self._profiles)
        fixed = all(profile.min == profile.max for profile in self._profiles)
        self.buckets: tuple[int, ...] | None = (
            tuple(sorted({p.max for p in self._profiles})) if fixed else None
        )
        self._mapped = self._cuda.gpu.integrated
        for port in (self._input, *signature.outputs):
            tail = tuple(n for n in port.shape[1:] if n is not None)
            if len(tail) != len(port.shape) - 1:
                raise EngineError(
                    f"{self.path} has a tensor '{port.name}' of open size",
                    f"its shape is {list(port.shape)}",
                    "export the model for one input size",
                )
            held.tensors[port.name] = Tensor(
                self._cuda, (self.max_batch, *tail), port.dtype, mapped=self._mapped
            )
        # The rows that fill a batch up are whatever lies there: finite from the start.
        held.tensors[self._input.name].upload(self.max_batch, _made(held.stream))
        self._wiring = Wiring(
            self.path.name,
            self._trt,
            self._cuda,
            _made(held.stream),
            held.tensors,
            self._input.name,
            self._row,
        )

    def _plan(self, graphs: bool) -> None:
        """Whose graphs, for which batch sizes, and whether contexts share their scratch memory."""
        module, cuda = self._trt.module, self._cuda
        own = hasattr(module, "CudaGraphStrategy")  # TensorRT-RTX captures by itself
        if not graphs:
            self._graphs = "off: switched off"
        elif own:
            self._graphs = f"on: {self._trt.title} captures its own"
        elif cuda.can_capture:
            self._graphs = "on: captured at the second run of a batch size"
        else:
            self._graphs = f"off: {cuda.provider} has none (cuda-bindings has)"
        on = self._graphs.startswith("on")
        self._capturing, self._own_graphs = on and not own, on and own
        self._buckets = _buckets(self._profiles) if on else ()
        # From TensorRT 10 contexts may share a profile, and so each batch size can have its own.
        shareable = hasattr(module, "ExecutionContextAllocationStrategy")
        self._lane_per_batch = on and shareable
        if shareable and (self._lane_per_batch or len(self._profiles) > 1):
            size = int(self._held.engine.device_memory_size_v2)
            self._held.scratch = cuda.alloc(max(size, 256))

    # --- running ---

    def _infer(
        self, images: npt.NDArray[Any], *, timed: bool
    ) -> tuple[dict[str, npt.NDArray[Any]], float]:
        with self._lock:
            if not self._release.alive:
                raise EdgeposeError(
                    f"{self.path.name} is closed", "close() gave its memory back", "open it again"
                )
            self._check_images(images)
            parts, total = [], 0.0
            try:
                with self._cuda.active():
                    for start in range(0, max(len(images), 1), self.max_batch):
                        part, spent = self._run(images[start : start + self.max_batch], timed)
                        parts.append(part)
                        total += spent
            except EdgeposeError:
                self._failed = True
                raise
        if len(parts) == 1:
            return parts[0], total
        return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}, total

    def _run(
        self, images: npt.NDArray[Any], timed: bool
    ) -> tuple[dict[str, npt.NDArray[Any]], float]:
        tensors, stream, count = self._held.tensors, _made(self._held.stream), len(images)
        outputs = {name: tensors[name] for name in self._outputs}
        spent = 0.0
        if count:
            source = tensors[self._input.name]
            source.array[:count] = images
            source.upload(count, stream)
            batch, profile = self._size(count)
            lane = self._lane(batch, profile)
            events = self._events() if timed else None
            if events is not None:
                self._cuda.record(events[0], stream)
            self._launch(lane, batch)
            if events is not None:
                self._cuda.record(events[1], stream)
            for tensor in outputs.values():
                tensor.download(count, stream)
            self._cuda.synchronise(stream)
            if events is not None:
                spent = self._cuda.elapsed_ms(*events)
        values = {self._outputs[name]: _copy(t.array[:count]) for name, t in outputs.items()}
        return values, spent

    def _launch(self, lane: Lane, batch: int) -> None:
        try:
            lane.run(batch)
        except CaptureRefused as error:
            self._capturing = False
            for other in self._held.lanes.values():
                other.without_graphs()
            self._graphs = f"off: this engine cannot be captured ({error})"
            warnings.warn(
                f"{self.path.name} runs without CUDA graphs: {error}", RuntimeWarning, stacklevel=5
            )
            lane.run(batch)

    def _size(self, count: int) -> tuple[int, int]:
        """Batch to run ``count`` rows in, and the profile for it."""
        if self._buckets:
            batch = min(size for size in self._buckets if size >= count)
        else:
            batch = min(max(count, p.min) for p in self._profiles if count <= p.max)
        fitting = [(p.max, i) for i, p in enumerate(self._profiles) if p.min <= batch <= p.max]
        return batch, min(fitting)[1]

    def _lane(self, batch: int, profile: int) -> Lane:
        key = (profile, batch if self._lane_per_batch else 0)
        lanes = self._held.lanes
        if key not in lanes:
            context = self._context(profile)
            lanes[key] = Lane(self._wiring, context, capture=self._capturing)
        return lanes[key]

    def _context(self, profile: int) -> Any:
        module, held = self._trt.module, self._held
        engine, scratch = held.engine, held.scratch
        if scratch is None and not self._own_graphs:
            context = self._ask("create_execution_context", engine.create_execution_context)
        elif self._own_graphs:
            config = self._ask("create_runtime_config", engine.create_runtime_config)
            config.cuda_graph_strategy = module.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            config.set_execution_context_allocation_strategy(
                module.ExecutionContextAllocationStrategy.USER_MANAGED
            )
            context = self._ask(
                "create_execution_context", lambda: engine.create_execution_context(config)
            )
        else:
            strategy = module.ExecutionContextAllocationStrategy.USER_MANAGED
            context = self._ask(
                "create_execution_context", lambda: engine.create_execution_context(strategy)
            )
        if scratch is not None:
            context.set_device_memory(scratch.pointer, scratch.size)
        if context.active_optimization_profile != profile:
            stream = _made(held.stream)
            self._ask(
                "set_optimization_profile_async",
                lambda: context.set_optimization_profile_async(profile, stream.handle),
            )
            self._cuda.synchronise(stream)
        return context

    def _events(self) -> tuple[Event, Event]:
        if self._held.events is None:
            first = self._cuda.create_event()
            try:
                self._held.events = (first, self._cuda.create_event())
            except BaseException:
                self._cuda.destroy_event(first)
                raise
        return self._held.events

    def _check_images(self, images: npt.NDArray[Any]) -> None:
        if images.shape[1:] != self._row or images.dtype != np.dtype(self.spec.dtype):
            raise EngineError(
                f"{self.path.name} failed on a batch of {len(images)}",
                f"it takes {self.spec.dtype} {['batch', *self._row]}, "
                f"not {images.dtype} {list(images.shape)}",
            )

    def _ask(self, call: str, make: Any) -> Any:
        return ask(self._trt, self.path.name, call, make)


class _Held:
    """All that a runner has on its device, and the order in which it goes."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        self.stream: Stream | None = None
        self.events: tuple[Event, Event] | None = None
        self.tensors: dict[str, Tensor] = {}
        self.scratch: DeviceMemory | None = None
        self.runtime: Any = None
        self.engine: Any = None
        self.lanes: dict[tuple[int, int], Lane] = {}

    def release(self) -> None:
        """Let go of everything: graphs, contexts, engine, runtime, memory, stream, the device.

        What fails does not keep the rest from going.

        Raises:
            CudaError: CUDA refuses; the last of its errors.
        """
        cuda, stream = self.cuda, self.stream
        with contextlib.ExitStack() as last_first:
            undo = last_first.callback
            undo(cuda.close)
            last_first.enter_context(cuda.active())
            if stream is not None:
                undo(cuda.destroy_stream, stream)
            for event in self.events or ():
                undo(cuda.destroy_event, event)
            if self.scratch is not None:
                undo(cuda.free, self.scratch)
            for tensor in self.tensors.values():
                undo(tensor.free)
            undo(self._drop_engine)
            for lane in self.lanes.values():
                undo(lane.drop)
            for lane in self.lanes.values():
                undo(lane.drop_graph)
            if stream is not None:
                undo(cuda.synchronise, stream)

    def release_quietly(self) -> None:
        """The same where an error is on its way already, or nobody is left to tell."""
        with contextlib.suppress(EdgeposeError):
            self.release()

    def _drop_engine(self) -> None:
        self.lanes.clear()
        self.engine = None
        self.runtime = None


def _index(device: str, path: Path) -> int:
    kind, _, number = device.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise DeviceError(
            f"{path.name} cannot run on '{device}'",
            "an engine is code for one kind of NVIDIA GPU",
            "use --device cuda or cuda:N, or give the .onnx file instead",
        )
    return int(number or 0)


def _made(stream: Stream | None) -> Stream:
    if stream is None:
        raise AssertionError("the stream is made first")
    return stream


def _copy(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Out of the buffer, which the next batch overwrites."""
    return values.astype(np.float32 if values.dtype == np.float16 else values.dtype)


def _signature(trt: TensorRT, engine: Any, path: Path) -> Signature:
    module = trt.module
    inputs: list[Port] = []
    outputs: list[Port] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        kind = engine.get_tensor_dtype(name).name
        on_device = engine.get_tensor_location(name) == module.TensorLocation.DEVICE
        if kind not in _DTYPES or not on_device:
            raise EngineError(
                f"{path} has a tensor '{name}' that edgepose cannot feed or read",
                f"its type is {kind}" if on_device else "TensorRT wants it on the host",
                "export the model again: edgepose export MODEL --to engine",
            )
        shape = tuple(int(n) if n >= 0 else None for n in engine.get_tensor_shape(name))
        is_input = engine.get_tensor_mode(name) == module.TensorIOMode.INPUT
        (inputs if is_input else outputs).append(Port(name, shape, _DTYPES[kind]))
    return Signature(inputs, outputs)


def _profiles(engine: Any, port: Port) -> tuple[Profile, ...]:
    """Batch sizes of each profile; those of the engine itself, not the sidecar's word for it."""
    fixed = port.shape[0]
    if fixed is not None:
        return (Profile(fixed, fixed, fixed),)
    shapes = [
        engine.get_tensor_profile_shape(port.name, index)
        for index in range(engine.num_optimization_profiles)
    ]
    return tuple(Profile(*(int(shape[0]) for shape in three)) for three in shapes)


def _buckets(profiles: tuple[Profile, ...]) -> tuple[int, ...]:
    """Batch sizes to make graphs for: those of the profiles, and powers of two between them."""
    sizes = {n for p in profiles for n in (p.min, p.opt, p.max)}
    for profile in profiles:
        power = 1
        while power < profile.max:
            if power > profile.min:
                sizes.add(power)
            power *= 2
    return tuple(sorted(sizes))
