"""TensorRT-RTX: the one TensorRT whose parser runs without a GPU, asked what it reads.

It is a product of its own: what its parser reads says much about TensorRT 11 and nothing about 8.6,
and its engines finish compiling on the device and cannot be loaded by TensorRT. It runs in a
process of its own (:mod:`edgepose.export.lint._rtx_worker`), and only when asked for.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgepose.ending import ending
from edgepose.errors import GraphError
from edgepose.export.lint.verdict import Complaint, Verdict
from edgepose.trt import api

__all__ = ["installed", "parser_verdict"]

NAME = "TensorRT-RTX"
_log = logging.getLogger(__name__)

_WORKER = Path(__file__).with_name("_rtx_worker.py")
_TIMEOUT_S = 900.0


def installed() -> bool:
    """Whether TensorRT-RTX is there. Does not load it."""
    return api.installed("tensorrt-rtx")


def parser_verdict(model: bytes | str | Path) -> Verdict:
    """What the parser says of a model.

    Args:
        model: An ONNX file, or its bytes.

    Raises:
        MissingDependency: TensorRT-RTX is not installed.
        GraphError: It died of the file, or never finished.
    """
    answer = _asked(model)
    complaints = [Complaint(e["name"], e["op"], _one_line(e["text"])) for e in answer["errors"]]
    return Verdict(
        f"{NAME} {answer['version']}",
        supported=answer["supported"],
        # The parser tells some things twice.
        complaints=() if answer["supported"] else tuple(dict.fromkeys(complaints)),
    )


def _asked(model: bytes | str | Path) -> dict[str, Any]:
    module = api.require_installed("tensorrt-rtx")
    with tempfile.TemporaryDirectory() as folder, _file(model, Path(folder)) as path:
        answer = Path(folder) / "answer.json"
        request = {"module": module, "model": str(path), "answer": str(answer)}
        command = [sys.executable, str(_WORKER), json.dumps(request)]
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
            raise GraphError(
                f"{NAME} ended without an answer", ending(done.returncode, done.stdout)
            )
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


def _one_line(text: str) -> str:
    return " ".join(text.split())
