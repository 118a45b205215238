"""The process in which an engine is built.

TensorRT's native code writes to the standard streams as it likes, takes memory as it likes, and may
die of a file or be killed for want of memory: none of that should happen to the program that asks.
:mod:`edgepose.engine.build` starts this with one argument, a JSON object, and reads one JSON object
a line from its standard output; whatever else is written goes to standard error. When the asking
process is gone, so is this one.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from edgepose.engine.configure import configure, keep_timings
from edgepose.engine.inspection import layer_summary
from edgepose.engine.weak_typing import constrain
from edgepose.errors import DeviceError, EdgeposeError, GraphError, InputError, OutputError
from edgepose.trt.api import TensorRT, load

__all__ = ["main"]

_MIB = 2**20
_SAID = 3  # errors told in one message


class Events:
    """What is told to the parent, a line each; from any thread."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.notes: list[str] = []

    def send(self, event: str, **values: Any) -> None:
        """Tell something."""
        with self._lock:
            self._stream.write(json.dumps({"event": event, **values}) + "\n")
            self._stream.flush()

    def step(self, phase: str, step: int, of: int) -> None:
        """Tell how far a phase is; ``of`` is 0 where nobody knows its length."""
        self.send("step", phase=phase, step=step, of=of)

    def note(self, text: str) -> None:
        """Something that the user should know, and no error."""
        self.notes.append(text)


class _Forward(logging.Handler):
    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self._events.send("log", logger=record.name, level=record.levelno, text=text)


def main() -> None:
    """Build what the argument asks for."""
    request = json.loads(sys.argv[1])
    # The pipe to the parent is ours alone: what native code prints goes to standard error.
    events = Events(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logger = logging.getLogger("edgepose")
    logger.addHandler(_Forward(events))
    logger.setLevel(request["log_level"])
    try:
        result = build(request, events)
    except EdgeposeError as error:
        kind = type(error).__name__
        events.send("error", kind=kind, what=error.what, why=error.why, hint=error.hint)
    else:
        events.send("result", notes=events.notes, **result)


def build(request: dict[str, Any], events: Events) -> dict[str, Any]:
    """Parse, build, write, inspect.

    Args:
        request: ``product``, ``onnx``, ``engine`` (where to write), ``profiles``, ``options``,
            ``gpu`` (whether there is one).
        events: Where progress goes.

    Returns:
        What the sidecar says of the build.
    """
    trt = load(request["product"])
    options = request["options"]
    with trt.logger.watch() as errors:
        started = time.perf_counter()
        builder = _builder(trt, errors)
        dla = options.get("dla_core")
        # DLA came to strong typing with 11 only.
        weak = trt.precision_flags and (not trt.strongly_typed or dla is not None)
        network = builder.create_network(_network_flags(trt, weak=weak))
        parser = trt.module.OnnxParser(network, trt.logger)
        events.step("reading the graph", 0, 0)
        adjust = getattr(trt.module, "OnnxParserFlag", None)
        if dla is not None and hasattr(adjust, "ADJUST_FOR_DLA"):
            parser.set_flag(trt.enum("OnnxParserFlag", "ADJUST_FOR_DLA"))
        if not parser.parse_from_file(request["onnx"]):
            raise GraphError(
                f"{trt.title} cannot read the graph",
                "; ".join(_parser_errors(parser)) or _said(errors),
                "see which node it is: edgepose export FILE.onnx --target "
                + ("trt-rtx" if trt.product == "tensorrt-rtx" else "trt-10"),
            )
        parsed = time.perf_counter()
        precision = _precision_of(trt, network)
        config = builder.create_builder_config()
        held = constrain(trt, network, config, precision) if weak else 0
        configure(trt, builder, config, options, events.note)
        for profile in _profiles(builder, network, request["profiles"]):
            if config.add_optimization_profile(profile) < 0:
                raise InputError(f"{trt.title} refuses the batch sizes", _said(errors))
        monitor = _monitor(trt, events) if trt.progress else None
        if monitor is not None:
            config.progress_monitor = monitor
        events.step("building", 0, 0)
        engine = builder.build_serialized_network(network, config)
        if engine is None:
            raise _no_engine(trt, errors)
        built = time.perf_counter()
        events.step("writing", 0, 0)
        _write(Path(request["engine"]), engine)
        keep_timings(config, options, events.note)
        figures: dict[str, Any] = {
            "layers": network.num_layers,
            "parse_seconds": round(parsed - started, 3),
            "build_seconds": round(built - parsed, 3),
            "peak_bytes": _peak_bytes(),
        }
        if weak:
            figures["held_to_fp32"] = held
        # Before the engine is loaded, which takes the memory that these hold.
        del parser, network, config, builder
        layers = None
        if request["gpu"]:
            events.step("inspecting", 0, 0)
            layers = _inspect(trt, engine, options, errors, events)
            _compare(precision, layers, events)
    return {
        "version": trt.version,
        "cuda": trt.cuda,
        "precision": precision,
        "build": figures,
        "layers": layers,
    }


def _builder(trt: TensorRT, errors: list[str]) -> Any:
    try:
        builder = trt.module.Builder(trt.logger)
    except (TypeError, RuntimeError) as error:  # "factory function returned nullptr"
        raise DeviceError(
            f"{trt.title} finds no usable GPU",
            _said(errors) or str(error),
            "error 35 is a driver older than TensorRT's CUDA, or none: see edgepose doctor. "
            "Without a GPU: --to rtx-engine, or build on the machine that will run it",
        ) from error
    return builder


def _network_flags(trt: TensorRT, *, weak: bool) -> int:
    if trt.strongly_typed and not weak:
        return 1 << int(trt.enum("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"))
    if trt.explicit_batch:
        return 1 << int(trt.enum("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"))
    return 0


def _precision_of(trt: TensorRT, network: Any) -> str:
    """From the types in the graph, which is where precision lives."""
    quantize, half = trt.enum("LayerType", "QUANTIZE"), trt.enum("DataType", "HALF")
    quantized = halved = False
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        quantized = quantized or layer.type == quantize
        halved = halved or any(layer.get_output(i).dtype == half for i in range(layer.num_outputs))
    return "-".join(["int8"] * quantized + ["fp16"] * halved) or "fp32"


def _profiles(builder: Any, network: Any, batches: list[list[int]]) -> list[Any]:
    """One optimisation profile per entry, over the free batch; none where nothing is free."""
    free = [
        tensor
        for tensor in (network.get_input(i) for i in range(network.num_inputs))
        if any(extent < 0 for extent in tuple(tensor.shape))
    ]
    if not free:
        return []
    profiles = []
    for sizes in batches:
        profile = builder.create_optimization_profile()
        for tensor in free:
            rest = tuple(tensor.shape)[1:]
            profile.set_shape(tensor.name, *((size, *rest) for size in sizes))
        profiles.append(profile)
    return profiles


def _monitor(trt: TensorRT, events: Events) -> Any:
    class Monitor(trt.module.IProgressMonitor):  # type: ignore[misc, name-defined]  # at run time
        """Called from TensorRT's own threads."""

        def __init__(self) -> None:
            trt.module.IProgressMonitor.__init__(self)
            self._lengths: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._lengths[phase_name] = num_steps
            events.step(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            events.step(phase_name, step + 1, self._lengths.get(phase_name, 0))
            return True

        def phase_finish(self, phase_name: str) -> None:
            length = self._lengths.pop(phase_name, 0)
            events.step(phase_name, length, length)

    return Monitor()


def _no_engine(trt: TensorRT, errors: list[str]) -> EdgeposeError:
    said = _said(errors)
    if any("memory" in text.lower() and "out" in text.lower() for text in errors):
        return DeviceError(
            f"{trt.title} ran out of GPU memory while building",
            said,
            "close what else uses the GPU, lower --set engine.workspace_mib=N, or build with a "
            "smaller largest batch",
        )
    target = "trt-rtx" if trt.product == "tensorrt-rtx" else "trt-10"
    return GraphError(
        f"{trt.title} cannot build an engine",
        said or "it does not say why",
        f"see whether a node is at fault: edgepose export FILE.onnx --target {target}",
    )


def _write(path: Path, engine: Any) -> None:
    try:
        with path.open("wb") as file:
            file.write(memoryview(engine))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno == errno.ENOSPC:
            why = f"the disk is full; the engine takes {engine.nbytes // _MIB + 1} MiB"
        raise OutputError(
            f"cannot write the engine in {path.parent}", why, "free space, or choose another place"
        ) from error


def _inspect(
    trt: TensorRT, engine: Any, options: dict[str, Any], errors: list[str], events: Events
) -> dict[str, Any] | None:
    """Load the engine once: what cannot be loaded where it was built is no engine."""
    try:
        runtime = trt.module.Runtime(trt.logger)
        if options.get("version_compatible"):
            runtime.engine_host_code_allowed = True
        loaded = runtime.deserialize_cuda_engine(memoryview(engine))
    except (TypeError, RuntimeError):
        loaded = None
    if loaded is None:
        if trt.product == "tensorrt-rtx":  # built for other GPUs than this one, perhaps
            events.note(f"the engine does not load on this GPU: {_said(errors)}")
            return None
        raise GraphError(f"{trt.title} cannot load the engine that it has built", _said(errors))
    inspector = loaded.create_engine_inspector()
    report = inspector.get_engine_information(trt.enum("LayerInformationFormat", "JSON"))
    return layer_summary(report)


def _compare(precision: str, layers: dict[str, Any] | None, events: Events) -> None:
    """Say it where the graph asks for a precision and no layer of the engine has it."""
    found = {} if layers is None else layers["by_precision"]
    if not found or "unknown" in found:
        return
    for name in precision.split("-"):
        if name not in found:
            events.note(f"the graph is {precision}, but no layer of the engine runs in {name}")


def _parser_errors(parser: Any) -> list[str]:
    told = []
    for index in range(min(parser.num_errors, _SAID)):
        error = parser.get_error(index)
        # 8.6 gives a number only.
        name = error.node_name() if hasattr(error, "node_name") else f"number {error.node()}"
        where = f"node {name}: " if name and error.node() >= 0 else ""
        told.append(where + " ".join(error.desc().split()))
    return list(dict.fromkeys(told))  # the parser tells some things twice


def _said(errors: list[str]) -> str:
    return "; ".join(list(dict.fromkeys(errors))[-_SAID:])


def _peak_bytes() -> int:
    """Most memory held at once by this process; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(x.split()[1]) for x in lines if x.startswith("VmHWM:")), 0)


def _end_with_parent() -> None:
    """Standard input is a pipe that nobody writes to: its end is the parent's."""
    sys.stdin.read()
    os._exit(1)
