"""The process in which TensorRT-RTX runs; imports nothing of edgepose.

Its native code writes to the standard streams as it likes, takes memory as it likes, and may die of
a file: none of that should happen to the program that asks. Called with one argument, a JSON
object; the answer is a JSON file.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any


def main(request: dict[str, Any]) -> None:
    """Do what is asked: ``check`` a model, or ``build`` an engine of it."""
    del sys.path[0]  # this script's folder, whose modules are none of TensorRT's business
    trt = importlib.import_module(request["module"])
    # Bound to the names that keep them alive: TensorRT's objects outlive nothing they point to.
    log = _log(trt)
    builder = trt.Builder(log)
    answer: dict[str, Any] = {"version": trt.__version__}
    task = {"check": _check, "build": _build}[request["task"]]
    answer |= task(trt, log, builder, request)
    Path(request["answer"]).write_text(json.dumps(answer))


def _check(trt: Any, log: Any, builder: Any, request: dict[str, Any]) -> dict[str, Any]:
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    path = Path(request["model"])
    supported = parser.supports_model_v2(path.read_bytes(), str(path))
    return {"supported": bool(supported), "errors": _errors(parser)}


def _build(trt: Any, log: Any, builder: Any, request: dict[str, Any]) -> dict[str, Any]:
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    path = Path(request["model"])
    started = time.perf_counter()
    if not parser.parse(path.read_bytes(), str(path)):
        return {"errors": _errors(parser)}
    parsed = time.perf_counter()
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        value = network.get_input(index)
        free = [axis for axis, extent in enumerate(value.shape) if extent < 0]
        if free not in ([], [0]):
            text = f"axes {free} of input '{value.name}' are free, not the batch alone"
            return {"errors": [{"node": -1, "name": "", "op": "", "text": text}]}
        rest = tuple(value.shape)[1:]
        if free:
            profile.set_shape(value.name, *((batch, *rest) for batch in request["batches"]))
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        return {"errors": [{"node": -1, "name": "", "op": "", "text": t} for t in log.errors]}
    if request["engine"]:
        Path(request["engine"]).write_bytes(memoryview(engine))
    return {
        "errors": [],
        "layers": network.num_layers,
        "size_bytes": engine.nbytes,
        "parse_seconds": parsed - started,
        "build_seconds": time.perf_counter() - parsed,
        "peak_bytes": _peak_bytes(),
    }


def _errors(parser: Any) -> list[dict[str, Any]]:
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    return [
        {"node": e.node(), "name": e.node_name(), "op": e.node_operator(), "text": e.desc()}
        for e in errors
    ]


def _peak_bytes() -> int:
    """Most memory held at once by this process; getrusage would count its parent's too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return 0


def _log(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]  # a class of a module known at run time only
        """Errors are kept for the answer; the rest goes to stderr, which the caller keeps."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)
            if severity <= trt.ILogger.Severity.INFO:
                sys.stderr.write(f"{severity.name.lower()}: {message}\n")

    return Log()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
