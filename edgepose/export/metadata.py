"""What travels inside the artefact: its spec, how it was made, and who wrote the file."""

from __future__ import annotations

import json
from typing import Any

import onnx
from onnx import helper

import edgepose
from edgepose.errors import SpecError
from edgepose.spec import METADATA_KEY, RECORD_KEY, PoseSpec

__all__ = ["embed_record", "embed_spec", "read_record", "read_spec"]

PRODUCER = "edgepose"


def embed_spec(model: onnx.ModelProto, spec: PoseSpec) -> None:
    """Write the spec into the metadata of a graph, in place, and sign it with this version."""
    model.producer_name = PRODUCER
    model.producer_version = edgepose.__version__
    _set(model, METADATA_KEY, spec.to_json())


def embed_record(model: onnx.ModelProto, record: dict[str, Any]) -> None:
    """Write how the artefact was made and judged into its metadata, in place."""
    _set(model, RECORD_KEY, json.dumps(record, separators=(",", ":"), allow_nan=False))


def read_record(model: onnx.ModelProto) -> dict[str, Any]:
    """What :func:`embed_record` wrote; empty where nobody did.

    Raises:
        SpecError: It is damaged.
    """
    text = _get(model, RECORD_KEY)
    try:
        record = json.loads(text or "{}")
    except ValueError as error:
        raise SpecError("the graph's record cannot be read", f"it is not JSON ({error})") from error
    if not isinstance(record, dict):
        raise SpecError("the graph's record cannot be read", "it is no JSON object")
    return record


def read_spec(model: onnx.ModelProto) -> PoseSpec:
    """The spec that :func:`embed_spec` wrote.

    Raises:
        SpecError: There is none, or it is damaged.
    """
    text = _get(model, METADATA_KEY)
    if text is not None:
        return PoseSpec.from_json(text)
    raise SpecError(
        "the graph carries no edgepose spec",
        f"its metadata has no '{METADATA_KEY}'",
        "export it again: edgepose export MODEL -o FILE.onnx",
    )


def _get(model: onnx.ModelProto, key: str) -> str | None:
    return next((entry.value for entry in model.metadata_props if entry.key == key), None)


def _set(model: onnx.ModelProto, key: str, value: str) -> None:
    kept = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, kept | {key: value})
