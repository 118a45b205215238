from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgepose.errors import GraphError, InputError, MissingDependency
from edgepose.export.precision.modelopt import modelopt_int8
from tests.export.precision.graphs import conv, graph, images, random_weight, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")

PAD = {"pads": [1, 1, 1, 1]}
STEM = "stem(Conv2d)/Conv_0"
PEOPLE = [images(3, seed=0), images(2, seed=1)]

# Puts a pair in front of every convolution that it is not told to leave alone.
STAND_IN = """
import re
import numpy as np
import onnx
from onnx import helper, numpy_helper

def quantize(onnx_path, output_path, quantize_mode, calibration_data, calibration_method,
             calibration_eps, nodes_to_exclude, high_precision_dtype, log_level):
    print("talk of a library")
    assert (quantize_mode, calibration_eps, high_precision_dtype) == ("int8", ["cpu"], "fp32")
    model = onnx.load(onnx_path)
    (crops,) = calibration_data.values()
    assert list(calibration_data) == [model.graph.input[0].name]
    nodes = []
    for node in model.graph.node:
        if not any(re.fullmatch(pattern, node.name) for pattern in nodes_to_exclude):
            data = node.input[0]
            scale, zero = data + "_scale", data + "_zero"
            top = np.float32(np.abs(crops).max() / 127)
            model.graph.initializer.append(numpy_helper.from_array(top, scale))
            model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), zero))
            nodes.append(helper.make_node("QuantizeLinear", [data, scale, zero], [data + "_q"]))
            nodes.append(
                helper.make_node("DequantizeLinear", [data + "_q", scale, zero], [data + "_dq"])
            )
            node.input[0] = data + "_dq"
        nodes.append(node)
    made = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(made)
    model.ClearField("metadata_props")
    onnx.save(model, output_path)
"""


def net() -> onnx.ModelProto:
    model = graph(
        [
            conv("images", "a", "w", STEM, **PAD),
            conv("a", "b", "w", "body(Conv2d)/Conv_1", **PAD),
            conv("b", "y", "w", "head(Conv2d)/Conv_2", **PAD),
        ],
        {"w": random_weight(3, 3, 3, 3)},
    )
    onnx.helper.set_model_props(model, {"edgepose.spec": "{}"})
    return model


def environment(folder: Path, quantization: str | None) -> Path:
    """An interpreter whose environment has a ModelOpt of ours, or none."""
    packages = folder / "packages"
    if quantization is not None:
        package = packages / "modelopt" / "onnx"
        package.mkdir(parents=True)
        (packages / "modelopt" / "__init__.py").write_text("__version__ = '0.0'\n")
        (package / "__init__.py").write_text("")
        (package / "quantization.py").write_text(quantization)
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(packages)!r}); sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -I ] || exit 9\nshift\n{sys.executable} -c "{code}" "$@"\n'
    )
    python.chmod(0o755)
    return python


def test_the_graph_comes_back_with_its_metadata(tmp_path: Path) -> None:
    made = modelopt_int8(net(), PEOPLE, environment(tmp_path, STAND_IN))
    assert made.quantised == (STEM, "body(Conv2d)/Conv_1")
    assert {k.node: k.why for k in made.left} == {
        "head(Conv2d)/Conv_2": "the last weighted operation in front of an output"
    }
    assert [p.key for p in made.model.metadata_props] == ["edgepose.spec"]
    scales = {w.name: w for w in made.model.graph.initializer}
    top = max(float(np.abs(batch).max()) for batch in PEOPLE)  # it saw all of them
    assert np.frombuffer(scales["images_scale"].raw_data, "<f4")[0] == pytest.approx(top / 127)
    x = images(2, seed=5)
    assert run(made.model, x) == pytest.approx(run(net(), x), abs=0.1)


def test_names_that_look_like_patterns_are_taken_as_names(tmp_path: Path) -> None:
    made = modelopt_int8(net(), PEOPLE, environment(tmp_path, STAND_IN), exclude=[STEM])
    assert made.quantised == ("body(Conv2d)/Conv_1",)
    assert {k.node: k.why for k in made.left}[STEM] == "asked for"


def test_nothing_quantised_is_an_error(tmp_path: Path) -> None:
    python = environment(tmp_path, STAND_IN)
    with pytest.raises(GraphError, match="quantised nothing"):
        modelopt_int8(net(), PEOPLE, python, exclude=[STEM, "body(Conv2d)/Conv_1"])


def test_an_environment_without_it(tmp_path: Path) -> None:
    python = environment(tmp_path, None)
    with pytest.raises(MissingDependency, match="has no 'modelopt'") as refusal:
        modelopt_int8(net(), PEOPLE, python)
    assert str(refusal.value.hint) == f'{python} -m pip install torch "nvidia-modelopt[onnx]"'


def test_an_interpreter_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="cannot start") as refusal:
        modelopt_int8(net(), PEOPLE, tmp_path / "absent")
    assert "modelopt_python" in str(refusal.value.hint)
    (tmp_path / "text").write_text("no program")
    with pytest.raises(MissingDependency, match="cannot start"):
        modelopt_int8(net(), PEOPLE, tmp_path / "text")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("    raise RuntimeError('no such operator')", "RuntimeError: no such operator"),
        ("    import os; os._exit(3)", "it said nothing"),
        ("    import os; os.kill(os.getpid(), 9)", None),
    ],
)
def test_its_failures_are_told(tmp_path: Path, body: str, why: str | None) -> None:
    python = environment(tmp_path, f"def quantize(**settings):\n{body}\n")
    with pytest.raises(GraphError, match="ModelOpt failed") as refusal:
        modelopt_int8(net(), PEOPLE, python)
    if why is not None:
        assert refusal.value.why == why


def test_a_graph_that_is_never_written(tmp_path: Path) -> None:
    python = environment(tmp_path, "def quantize(**settings):\n    pass\n")
    with pytest.raises(GraphError, match="wrote no graph"):
        modelopt_int8(net(), PEOPLE, python)


def test_nobody_to_calibrate_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to calibrate on"):
        modelopt_int8(net(), [], tmp_path / "python")
