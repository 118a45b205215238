"""What an ONNX file says of itself, read with onnxruntime: a device has no onnx package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import GraphError, SpecError, require
from edgepose.spec import METADATA_KEY, RECORD_KEY, PoseSpec
from edgepose.zoo import sha256_of

__all__ = ["Source", "read_source"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """An ONNX file that an engine is to be built from.

    Attributes:
        path: The file.
        sha256: Its digest.
        size_bytes: Its size, with the file of weights beside it where there is one.
        spec: How to feed it and read it.
        record: How it was made and judged; None where nobody wrote that.
        batch: The batch, where it is fixed; None where any will do.
    """

    path: Path
    sha256: str
    size_bytes: int
    spec: PoseSpec
    record: dict[str, Any] | None
    batch: int | None


def read_source(path: str | Path, spec: PoseSpec | None = None) -> Source:
    """Look into an ONNX file.

    Args:
        path: The file.
        spec: For a file that carries none; overrides the one inside otherwise.

    Raises:
        GraphError: The file is missing or corrupt, or more than the batch is free.
        SpecError: It carries no spec and none was given.
    """
    path = Path(path)
    if not path.is_file():
        raise GraphError(f"there is no file {path}")
    session = _session(path)
    metadata = session.get_modelmeta().custom_metadata_map
    if spec is None:
        if METADATA_KEY not in metadata:
            raise SpecError(
                f"{path} carries no edgepose spec",
                f"its metadata has no '{METADATA_KEY}', so input size, normalisation and decoding "
                "are unknown",
                "export it with edgepose, which puts one in; from Python, give one: "
                "build_engine(..., spec=...)",
            )
        spec = PoseSpec.from_json(metadata[METADATA_KEY])
    # Weights of other files are named after the graph; see edgepose.export.large.
    beside = path.parent.glob(f"{path.name}.*.data")
    return Source(
        path=path,
        sha256=sha256_of(path),
        size_bytes=path.stat().st_size + sum(file.stat().st_size for file in beside),
        spec=spec,
        record=_record(metadata.get(RECORD_KEY)),
        batch=_batch(session, path),
    )


def _session(path: Path) -> Any:
    ort = require("onnxruntime", None)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # It is looked at, not run.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        raise GraphError(
            f"cannot read {path}",
            str(error).strip().splitlines()[0],
            "export it again: edgepose export MODEL -o FILE.onnx",
        ) from error


def _batch(session: Any, path: Path) -> int | None:
    """The fixed batch of the only input, or None."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise GraphError(f"{path} has {len(inputs)} inputs", "a pose graph takes one")
    shape = list(inputs[0].shape)
    free = [axis for axis, extent in enumerate(shape) if not isinstance(extent, int)]
    if free not in ([], [0]):
        raise GraphError(
            f"an engine cannot be built of {path}",
            f"axes {free} of its input {shape} are free, not the batch alone",
            "export it with a fixed input size",
        )
    return None if free else int(shape[0])


def _record(text: str | None) -> dict[str, Any] | None:
    """The record; one that cannot be read is as good as none, since nothing runs by it."""
    try:
        record = json.loads(text) if text else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
