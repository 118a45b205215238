"""INT8 by NVIDIA ModelOpt, in an environment of its own.

ModelOpt wants other versions of onnx and onnxruntime than edgepose. So it runs under another
interpreter, and nothing but files passes between the two. Its graphs are for TensorRT.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edgepose.ending import ending
from edgepose.errors import GraphError, InputError, MissingDependency
from edgepose.export.precision.int8 import Int8, named
from edgepose.export.precision.kept import Kept
from edgepose.export.precision.plan import make_plan
from edgepose.export.precision.session import input_name

__all__ = ["modelopt_int8"]

_WORKER = Path(__file__).with_name("_modelopt_worker.py")
_INSTALL = 'PYTHON -m pip install torch "nvidia-modelopt[onnx]"'


def modelopt_int8(
    model: onnx.ModelProto,
    images: Iterable[npt.NDArray[Any]],
    python: Path,
    *,
    exclude: Collection[str] = (),
    method: Literal["entropy", "max"] = "entropy",
) -> Int8:
    """Quantise a graph with ModelOpt's placement and ranges.

    What edgepose leaves in float (the last operation in front of each output) is left here too.

    Args:
        model: FP32 graph; it stays as it is.
        images: Batches of what it takes, of real people; all of them are held in memory.
        python: Interpreter of the environment that has ModelOpt.
        exclude: Names of operations that stay float.
        method: ModelOpt's.

    Raises:
        MissingDependency: There is no such interpreter, or no ModelOpt in its environment.
        GraphError: ModelOpt fails, or quantises nothing; or the graph as for
            :func:`edgepose.export.precision.int8.to_int8`.
        InputError: There is no batch.
    """
    model = named(model)
    plan = make_plan(model)
    batches = list(images)
    if not batches:
        raise InputError("there is nothing to calibrate on", "no batch was given")
    float_nodes = {*exclude, *(kept.node for kept in plan.left)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / "float.onnx")
        np.savez(folder / "crops.npz", images=np.concatenate(batches))
        request = {
            "onnx": str(folder / "float.onnx"),
            "crops": str(folder / "crops.npz"),
            "out": str(folder / "int8.onnx"),
            "answer": str(folder / "answer.json"),
            "input": input_name(model),
            "method": method,
            # It takes them for regular expressions.
            "exclude": [re.escape(node) for node in sorted(float_nodes)],
        }
        _run(python, request)
        made = onnx.load(folder / "int8.onnx")
    helper.set_model_props(made, {entry.key: entry.value for entry in model.metadata_props})
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    quantised = _quantised(made, [site.name for site in plan.sites])
    if not quantised:
        raise GraphError("ModelOpt quantised nothing", "no operation of the graph reads INT8")
    left = [
        Kept.of(site.node, "asked for" if site.name in exclude else "ModelOpt leaves it in float")
        for site in plan.sites
        if site.name not in quantised
    ]
    return Int8(model=made, quantised=quantised, left=(*plan.left, *left))


def _run(python: Path, request: dict[str, Any]) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the user names, our own script
            # Isolated, or this very file would pass for the package of its name.
            [str(python), "-I", str(_WORKER), json.dumps(request)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise MissingDependency(
            f"cannot start {python}",
            error.strerror or str(error),
            "name the interpreter of the environment that has ModelOpt: "
            "--set int8.modelopt_python=/path/to/bin/python",
        ) from error
    answer = Path(request["answer"])
    if done.returncode or not answer.is_file():
        raise GraphError("ModelOpt failed", ending(done.returncode, done.stdout))
    told = json.loads(answer.read_text())
    if "missing" in told:
        raise MissingDependency(
            f"the environment of {python} has no '{told['missing']}'",
            told["why"],
            _INSTALL.replace("PYTHON", str(python)),
        )
    if not Path(request["out"]).is_file():
        raise GraphError("ModelOpt wrote no graph", f"version {told['version']}")


def _quantised(model: onnx.ModelProto, sites: Collection[str]) -> tuple[str, ...]:
    """Those of the operations whose data comes out of a DQ."""
    read = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    return tuple(n.name for n in model.graph.node if n.name in sites and n.input[0] in read)
