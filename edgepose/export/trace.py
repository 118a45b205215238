"""From a PyTorch module to one ONNX graph: plain operators, symbolic batch, nothing else in it.

torch's exporter is traced with a batch of 2 (0 and 1 are specialised) and a named batch axis. What
it promises is then checked on the result, since it can fail silently: an ``int(x.shape[0])`` in a
module gives a static graph without a word.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence

import onnx
import onnxslim
import torch
from torch import Tensor, nn

from edgepose.errors import GraphError
from edgepose.export.large import put_back, set_aside
from edgepose.export.lint.origin import name_by_module, name_strays
from edgepose.export.opset import DEFAULT_OPSET, NATIVE, check_opset, downgrade, ir_version

__all__ = ["BATCH", "INPUT", "MAX_BATCH", "check_graph", "trace"]

BATCH = "batch"
INPUT = "images"
MAX_BATCH = 64
SAMPLES = 2


def trace(module: nn.Module, example: Tensor, *, opset: int = DEFAULT_OPSET) -> onnx.ModelProto:
    """Export a module, simplified and checked.

    Args:
        module: In evaluation mode; ``forward(images)`` returns a dictionary of tensors that all
            have the batch first.
        example: One input without its batch axis, e.g. zeros of (3, H, W).
        opset: 17 to 20.

    Returns:
        A graph with the input ``images``, the module's output names, and the batch axis ``batch``
        on all of them. Its nodes are named after the modules they come from.

    Raises:
        InputError: The operator set is out of range.
        GraphError: The module cannot be traced, or the result is not such a graph.
    """
    check_opset(opset)
    images = example.expand(SAMPLES, *example.shape).contiguous()
    with torch.no_grad():
        names = list(module(images))
    program = _exported(module, images, names, max(opset, NATIVE))
    weights = set_aside(program.model)
    model = program.model_proto
    origins = name_by_module(model.graph)
    model = _simplified(model)
    if opset < NATIVE:
        model = downgrade(model)
    name_strays(model.graph, origins)
    _clean(model, opset)
    check_graph(model, names, list(weights))
    put_back(model, weights)
    return model


def check_graph(
    model: onnx.ModelProto, outputs: Sequence[str], weights: Sequence[str] = ()
) -> None:
    """Hold a graph to what every artefact promises.

    Args:
        model: The graph.
        outputs: Names its outputs must have, in this order.
        weights: Names of inputs that are weights set aside, see :mod:`edgepose.export.large`.

    Raises:
        GraphError: It is no valid ONNX, has other outputs, a fixed batch, an operator outside the
            standard set or a local function. Names the culprit.
    """
    if model.functions:
        raise GraphError(
            "the graph holds local functions",
            ", ".join(f.name for f in model.functions),
            "TensorRT cannot read them; write the module in operators that export plainly",
        )
    for node in _nodes(model.graph):
        if node.domain not in ("", "ai.onnx"):
            raise GraphError(
                f"node '{node.name}' is no standard operator",
                f"{node.op_type} is of the domain '{node.domain}'",
                "write that part of the module in plain operators",
            )
    inputs = [i for i in model.graph.input if i.name not in weights]
    taken, found = [i.name for i in inputs], [o.name for o in model.graph.output]
    if taken != [INPUT] or found != list(outputs):
        raise GraphError(
            "the graph has other inputs or outputs than the module",
            f"{taken} -> {found}, not ['{INPUT}'] -> {list(outputs)}",
        )
    for value in [*inputs, *model.graph.output]:
        batch = value.type.tensor_type.shape.dim[0]
        if batch.dim_param != BATCH:
            raise GraphError(
                f"the graph has a fixed batch: '{value.name}' has {batch.dim_value} on axis 0",
                "some part of the module turned the batch size into a plain number",
                "in forward(), keep x.shape[0] as it is (no int()), or use -1 or flatten",
            )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise GraphError("the graph is no valid ONNX", str(error).strip()) from error


class _Ordered(nn.Module):
    """Outputs as a tuple in a fixed order: names may not depend on how dictionaries are sorted."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self.names = tuple(names)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        outputs = self.module(images)
        return tuple(outputs[name] for name in self.names)


def _exported(
    module: nn.Module, images: Tensor, names: Sequence[str], opset: int
) -> torch.onnx.ONNXProgram:
    axis = torch.export.Dim(BATCH, min=1, max=MAX_BATCH)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                _Ordered(module, names).eval(),
                (images,),
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT],
                output_names=list(names),
                dynamic_shapes=({0: axis},),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise GraphError(
            "the module cannot be traced to ONNX", _last_cause(error), "see the chained error"
        ) from error
    if program is None:
        raise AssertionError("the dynamo exporter returns a program")
    return program


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    simplified = onnxslim.slim(model)
    if not isinstance(simplified, onnx.ModelProto):
        raise AssertionError("onnxslim returns a model when it is given no output path")
    return simplified


def _clean(model: onnx.ModelProto, opset: int) -> None:
    """Leave nothing of the machine in the file (stack traces name paths) and fix its format."""
    if {o.domain for o in model.opset_import} - {"", "ai.onnx"}:
        kept = [o for o in model.opset_import if o.domain in ("", "ai.onnx")]
        del model.opset_import[:]
        model.opset_import.extend(kept)
    model.ir_version = ir_version(opset)
    model.doc_string = ""
    model.graph.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for part in [
        *_nodes(model.graph),
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
    ]:
        part.doc_string = ""
        del part.metadata_props[:]


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those in branches and loop bodies included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from _nodes(inner)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes about itself (missing torchvision, old pytree API) to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _last_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]
