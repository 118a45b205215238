"""The process in which TensorRT-RTX runs; imports nothing of edgepose.

Its native code writes to the standard streams as it likes, takes memory as it likes, and may die of
a file: none of that should happen to the program that asks. Called with one argument, a JSON
object; the answer is a JSON file.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main(request: dict[str, Any]) -> None:
    """Ask the parser about a model."""
    del sys.path[0]  # this script's folder, whose modules are none of TensorRT's business
    trt = importlib.import_module(request["module"])
    # Bound to the names that keep them alive: TensorRT's objects outlive nothing they point to.
    log = _log(trt)
    builder = trt.Builder(log)
    answer = {"version": trt.__version__} | _check(trt, log, builder, request)
    Path(request["answer"]).write_text(json.dumps(answer))


def _check(trt: Any, log: Any, builder: Any, request: dict[str, Any]) -> dict[str, Any]:
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    path = Path(request["model"])
    supported = parser.supports_model_v2(path.read_bytes(), str(path))
    return {"supported": bool(supported), "errors": _errors(parser)}


def _errors(parser: Any) -> list[dict[str, Any]]:
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    return [
        {"node": e.node(), "name": e.node_name(), "op": e.node_operator(), "text": e.desc()}
        for e in errors
    ]


def _log(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]  # a class of a module known at run time only
        """To stderr, which the caller keeps."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.INFO:
                sys.stderr.write(f"{severity.name.lower()}: {message}\n")

    return Log()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
