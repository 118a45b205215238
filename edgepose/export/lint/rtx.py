"""TensorRT-RTX: the one TensorRT whose parser and builder run without a GPU.

It is a product of its own: what its parser reads says much about TensorRT 11 and nothing about 8.6,
and its engines finish compiling on the device and cannot be loaded by TensorRT. It runs in a
process of its own (:mod:`edgepose.export.lint._rtx_worker`), and only when asked for.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import GraphError, MissingDependency
from edgepose.export.lint.verdict import Complaint, Verdict

__all__ = ["Built", "build_on_cpu", "installed", "parser_verdict"]

NAME = "TensorRT-RTX"
_log = logging.getLogger(__name__)

# The full SDK, then the plain bindings of the wheels.
_MODULES = ("tensorrt_rtx", "tensorrt_rtx_bindings")
_WORKER = Path(__file__).with_name("_rtx_worker.py")
_TIMEOUT_S = 900.0


@dataclass(frozen=True, kw_only=True)
class Built:
    """An engine that was built.

    Attributes:
        version: Of TensorRT-RTX.
        layers: Layers of the parsed network.
        size_bytes: Size of the engine.
        parse_seconds: Time to parse.
        build_seconds: Time to build.
        peak_bytes: Most memory that the builder's process held; 0 where the system does not say.
    """

    version: str
    layers: int
    size_bytes: int
    parse_seconds: float
    build_seconds: float
    peak_bytes: int


def installed() -> bool:
    """Whether TensorRT-RTX is there. Does not load it."""
    return _module() is not None


def parser_verdict(model: bytes | str | Path) -> Verdict:
    """What the parser says of a model.

    Args:
        model: An ONNX file, or its bytes.

    Raises:
        MissingDependency: TensorRT-RTX is not installed.
        GraphError: It died of the file, or never finished.
    """
    answer = _asked("check", model)
    complaints = [Complaint(e["name"], e["op"], _one_line(e["text"])) for e in answer["errors"]]
    return Verdict(
        f"{NAME} {answer['version']}",
        supported=answer["supported"],
        # The parser tells some things twice.
        complaints=() if answer["supported"] else tuple(dict.fromkeys(complaints)),
    )


def build_on_cpu(
    model: bytes | str | Path,
    batches: Sequence[int] = (1, 4, 16),
    engine: str | Path | None = None,
) -> Built:
    """Build an engine without a GPU; what is left of compiling is done where it first runs.

    Args:
        model: An ONNX file, or its bytes. Only the batch may be free.
        batches: Smallest, usual and largest batch.
        engine: File to write the engine to; none by default.

    Raises:
        MissingDependency: TensorRT-RTX is not installed.
        GraphError: It cannot parse or build the model, died of it, or never finished.
    """
    low, usual, high = batches
    answer = _asked("build", model, batches=[low, usual, high], engine=str(engine or ""))
    if answer["errors"] or "size_bytes" not in answer:
        said = [_one_line(e["text"]) for e in answer["errors"]] or ["it does not say why"]
        raise GraphError(
            f"{NAME} {answer['version']} cannot build an engine",
            "; ".join(said[-3:]),
            "see which node it is with: edgepose export FILE.onnx --target trt-rtx",
        )
    fields = {name: answer[name] for name in Built.__dataclass_fields__}
    return Built(**fields)


def _module() -> str | None:
    return next((name for name in _MODULES if importlib.util.find_spec(name)), None)


def _asked(task: str, model: bytes | str | Path, **details: Any) -> dict[str, Any]:
    module = _module()
    if module is None:
        raise MissingDependency(
            f"this needs {NAME}",
            "it comes with the 'rtx' extra, on Linux on x86_64 and aarch64, and is not installed",
            'pip install "edgepose[rtx]"',
        )
    with tempfile.TemporaryDirectory() as folder, _file(model, Path(folder)) as path:
        answer = Path(folder) / "answer.json"
        request = {"task": task, "module": module, "model": str(path), "answer": str(answer)}
        command = [sys.executable, str(_WORKER), json.dumps(request | details)]
        try:
            done = subprocess.run(  # noqa: S603 - this interpreter, our own script
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise GraphError(f"{NAME} did not finish within {_TIMEOUT_S:.0f} s") from error
        for line in done.stdout.splitlines():
            _log.debug("%s", line)
        if done.returncode or not answer.is_file():
            raise GraphError(f"{NAME} ended without an answer", _end(done.returncode, done.stdout))
        answered: dict[str, Any] = json.loads(answer.read_text())
    return answered


@contextmanager
def _file(model: bytes | str | Path, folder: Path) -> Iterator[Path]:
    """The model as a file; one that is a file stays where it is, beside its weights."""
    if isinstance(model, bytes):
        path = folder / "model.onnx"
        path.write_bytes(model)
        yield path
    else:
        yield Path(model).absolute()


def _end(code: int, said: str) -> str:
    """Why a process ended early, in words."""
    last = said.strip().splitlines()[-1] if said.strip() else "it said nothing"
    if code == -signal.SIGKILL:
        return "the system stopped it, most likely for want of memory"
    if code < 0:
        return f"it died of signal {signal.Signals(-code).name}; last words: {last}"
    return last


def _one_line(text: str) -> str:
    return " ".join(text.split())
