"""The spec inside the artefact, and who wrote the file."""

from __future__ import annotations

import onnx
from onnx import helper

import edgepose
from edgepose.errors import SpecError
from edgepose.spec import METADATA_KEY, PoseSpec

__all__ = ["embed_spec", "read_spec"]

PRODUCER = "edgepose"


def embed_spec(model: onnx.ModelProto, spec: PoseSpec) -> None:
    """Write the spec into the metadata of a graph, in place, and sign it with this version."""
    model.producer_name = PRODUCER
    model.producer_version = edgepose.__version__
    kept = {p.key: p.value for p in model.metadata_props}
    helper.set_model_props(model, kept | {METADATA_KEY: spec.to_json()})


def read_spec(model: onnx.ModelProto) -> PoseSpec:
    """The spec that :func:`embed_spec` wrote.

    Raises:
        SpecError: There is none, or it is damaged.
    """
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            return PoseSpec.from_json(entry.value)
    raise SpecError(
        "the graph carries no edgepose spec",
        f"its metadata has no '{METADATA_KEY}'",
        "export it again: edgepose export MODEL -o FILE.onnx",
    )
