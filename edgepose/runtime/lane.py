"""One TensorRT execution context on one stream: a batch size, and a CUDA graph of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgepose.errors import DeviceError, EdgeposeError, EngineError
from edgepose.runtime.cuda.base import Cuda, CudaError, Graph, Stream
from edgepose.runtime.cuda.tensors import Tensor
from edgepose.trt.api import TensorRT

__all__ = ["CaptureRefused", "Lane", "Wiring", "ask"]


class CaptureRefused(Exception):
    """The work of this engine cannot be captured in a CUDA graph; says why."""


@dataclass(frozen=True)
class Wiring:
    """What the lanes of one engine share.

    Attributes:
        name: Of the engine, for messages.
        trt: TensorRT.
        cuda: The device.
        stream: All work goes through it, one call after the other.
        tensors: Name -> memory, inputs and outputs.
        input: Name of the input.
        row: Shape of one row of the input.
    """

    name: str
    trt: TensorRT
    cuda: Cuda
    stream: Stream
    tensors: Mapping[str, Tensor]
    input: str
    row: tuple[int, ...]


class Lane:
    """A context that runs one batch size after another.

    A graph holds what the context was at its capture. After a change of shape it must not be
    launched again, so it goes; contexts that keep their shape keep their graph ("CUDA Graphs" in
    docs.nvidia.com/deeplearning/tensorrt/latest/performance/optimization.html).

    Args:
        wiring: What all lanes share.
        context: The execution context, its profile and memory set.
        capture: Whether to capture: the second time that a batch size comes in a row, since work
            that TensorRT puts off until the first run cannot be captured.
    """

    def __init__(self, wiring: Wiring, context: Any, *, capture: bool) -> None:
        self._wiring = wiring
        self._context = context
        self._capture = capture
        self._batch: int | None = None
        self._warm = False
        self._graph: Graph | None = None
        for name, tensor in wiring.tensors.items():
            self._ask("set_tensor_address", name, tensor.address)

    def run(self, batch: int) -> None:
        """Put the work for a batch into the stream.

        Raises:
            CaptureRefused: It cannot be captured. Nothing was put into the stream; it works after
                :meth:`without_graphs`.
            EngineError: TensorRT refuses.
            DeviceError: CUDA refuses.
        """
        if batch != self._batch:
            self.drop_graph()
            self._ask("set_input_shape", self._wiring.input, (batch, *self._wiring.row))
            self._batch, self._warm = batch, False
        if self._graph is None and self._capture and self._warm:
            self._graph = self._captured()
        if self._graph is not None:
            self._wiring.cuda.launch(self._graph, self._wiring.stream)
        else:
            self._ask("execute_async_v3", self._wiring.stream.handle)
            self._warm = True

    def without_graphs(self) -> None:
        """Run kernel by kernel from now on."""
        self._capture = False
        self.drop_graph()

    def drop_graph(self) -> None:
        """Let go of the graph."""
        graph, self._graph = self._graph, None
        if graph is not None:
            self._wiring.cuda.destroy_graph(graph)

    def drop(self) -> None:
        """Let go of the context. The graph is gone already."""
        self._context = None

    def _captured(self) -> Graph:
        cuda, stream = self._wiring.cuda, self._wiring.stream
        refused: EdgeposeError | None = None
        cuda.begin_capture(stream)
        try:
            self._ask("execute_async_v3", stream.handle)
        except EdgeposeError as error:
            refused = error
        except BaseException:
            self._abandon()
            raise
        try:
            graph = cuda.end_capture(stream)
        except CudaError as error:
            if refused is None and not _is_refusal(error):
                raise
            refused = refused or error
        else:
            if refused is None:
                return graph
            cuda.destroy_graph(graph)
        raise CaptureRefused(refused.why or refused.what) from refused

    def _abandon(self) -> None:
        """End a capture whose outcome does not matter."""
        try:
            graph = self._wiring.cuda.end_capture(self._wiring.stream)
        except CudaError:
            return
        self._wiring.cuda.destroy_graph(graph)

    def _ask(self, call: str, *arguments: Any) -> None:
        method = getattr(self._context, call)
        ask(self._wiring.trt, self._wiring.name, call, lambda: method(*arguments))


def ask(trt: TensorRT, name: str, call: str, make: Callable[[], Any]) -> Any:
    """Call TensorRT; what it gives, or an error in its own words.

    Raises:
        DeviceError: It ran out of GPU memory.
        EngineError: It refuses for another reason.
    """
    with trt.logger.watch() as errors:
        try:
            made = make()
        except TypeError as error:
            # pybind11 says so where a constructor fails; any other TypeError is a fault of ours.
            if "nullptr" not in str(error):
                raise
            made = None
    if made is None or made is False:
        words = "; ".join(errors) or "it gives no reason"
        what = f"{trt.title} failed on {name} in {call}"
        if "out of memory" in words.lower() or "outofmemory" in words.lower():
            hint = "close what else uses the GPU, or build the engine for a smaller batch"
            raise DeviceError(what, words, hint)
        raise EngineError(what, words, "build the engine again: edgepose export MODEL --to engine")
    return made


def _is_refusal(error: CudaError) -> bool:
    return error.name == "CUDA_ERROR_NOT_SUPPORTED" or "CAPTURE" in error.name
