"""Small graphs, each at one limit of one operator, and who refuses it.

The same graphs are held to the tables and put to the parser of TensorRT-RTX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

TRT = frozenset({"trt-8.6", "trt-10", "trt-11", "trt-rtx"})
DOCUMENTED = TRT - {"trt-rtx"}
ALL = TRT | {"ort"}
MATRIX = frozenset({"trt-10", "trt-11"})
NONE: frozenset[str] = frozenset()

Value = tuple[str, int, Sequence[Any]]

FLOAT, INT64, INT32, UINT8, BOOL, DOUBLE, BFLOAT16 = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.UINT8,
    TensorProto.BOOL,
    TensorProto.DOUBLE,
    TensorProto.BFLOAT16,
)
N = helper.make_node
X: Value = ("x", FLOAT, ["batch", 4, 8, 8])
ROW: Value = ("x", FLOAT, ["batch", 4, 8])
MATRIX_IN: Value = ("x", FLOAT, [4, 6])


@dataclass(frozen=True)
class Case:
    """A graph, the targets that refuse it, and a word of why."""

    name: str
    model: onnx.ModelProto
    refused: frozenset[str] = NONE
    why: str = ""
    # What its parser says where the table is stricter or looser on purpose; None: as the table.
    rtx: bool | None = None


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value] = (X,),
    output: int = FLOAT,
    constants: dict[str, Any] | None = None,
    opset: int = 17,
    ir_version: int = 8,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A valid model whose output is ``y``."""
    made = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info("y", output, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=ir_version)
    return shape_inference.infer_shapes(model)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


ONES = np.ones
TWICE = {"s": floats(1, 1, 2, 2)}


def resize(name: str, refused: frozenset[str], why: str = "", **attributes: Any) -> Case:
    opset = attributes.pop("opset", 17)
    inputs, constants = ["x", "", "s"], dict(TWICE)
    if opset < 13:  # where the region could not be left out
        inputs, constants = ["x", "roi", "s"], TWICE | {"roi": floats()}
    if attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        inputs, constants = ["x", "roi", "s"], TWICE | {"roi": floats(0, 0, 0, 0, 1, 1, 1, 1)}
    node = N("Resize", inputs, ["y"], **attributes)
    return Case(f"resize {name}", graph([node], constants=constants, opset=opset), refused, why)


def pooled(kind: str, inputs: Value, **attributes: Any) -> onnx.ModelProto:
    opset = attributes.pop("opset", 17)
    return graph([N(kind, ["x"], ["y"], **attributes)], [inputs], opset=opset)


def einsum(name: str, equation: str, shapes: list[list[int]], refused: frozenset[str]) -> Case:
    inputs = [(f"x{i}", FLOAT, shape) for i, shape in enumerate(shapes)]
    node = N("Einsum", [i[0] for i in inputs], ["y"], equation=equation)
    return Case(f"einsum {name}", graph([node], inputs), refused, name)


def scatter(kind: str, reduction: str, opset: int, refused: frozenset[str]) -> Case:
    indices, updates = (ints([1]), ONES((1, 6), np.float32))
    if kind == "ScatterElements":
        updates = ONES((1, 1), np.float32)
    node = N(kind, ["x", "i", "u"], ["y"], reduction=reduction)
    model = graph([node], [MATRIX_IN], constants={"i": indices, "u": updates}, opset=opset)
    return Case(f"{kind} {reduction}", model, refused, f"reduction is '{reduction}'")


def quantized(name: str, zero: Any, refused: frozenset[str], why: str, **more: Any) -> Case:
    nodes = [
        N("QuantizeLinear", ["x", "s", "z"], ["q"]),
        N("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    constants = {"s": np.float32(0.1), "z": zero}
    return Case(f"quantized {name}", graph(nodes, constants=constants), refused, why, **more)


def attention(
    name: str, inputs: Value, refused: frozenset[str], why: str, **attributes: Any
) -> Case:
    node = N("Attention", ["x", "x", "x"], ["y"], **attributes)
    return Case(f"attention {name}", graph([node], [inputs], opset=23, ir_version=10), refused, why)


def computed(
    kind: str, inputs: Value, opset: int = 17, before: Sequence[str] = ()
) -> onnx.ModelProto:
    """An operator whose axes come out of another node."""
    shape = [1]
    nodes = [N("Cast", ["f"], ["axes"], to=INT64), N(kind, ["x", *before, "axes"], ["y"])]
    constants = {name: ints(i) for i, name in enumerate(before)}
    return graph(nodes, [inputs, ("f", FLOAT, shape)], constants=constants, opset=opset)


NORM = {"g": ONES(8, np.float32), "b": ONES(8, np.float32)}

CASES = [
    Case("relu", graph([N("Relu", ["x"], ["y"])])),
    Case("and", graph([N("Greater", ["x", "x"], ["a"]), N("Not", ["a"], ["y"])], output=BOOL)),
    # Operators that are nowhere, or came later.
    Case("det", graph([N("Det", ["x"], ["y"])]), TRT, "has no Det"),
    Case(
        "gelu",
        graph([N("Gelu", ["x"], ["y"])], opset=20, ir_version=9),
        frozenset({"trt-8.6"}),
        "no Gelu",
    ),
    Case(
        "max unpool",
        graph(
            [N("MaxUnpool", ["x", "i"], ["y"], kernel_shape=[2, 2], strides=[2, 2])],
            constants={"i": np.zeros((1, 4, 8, 8), np.int64)},
        ),
        TRT,
        "has no MaxUnpool",
    ),
    Case(
        "deformable convolution",
        graph(
            [N("DeformConv", ["x", "w", "o"], ["y"], kernel_shape=[3, 3])],
            [X, ("o", FLOAT, ["batch", 18, 6, 6])],
            constants={"w": ONES((4, 4, 3, 3), np.float32)},
            opset=19,
            ir_version=9,
        ),
        frozenset({"trt-8.6", "trt-rtx", "ort"}),
        "has no DeformConv",
    ),
    Case(
        "deformable convolution, uneven pads",
        graph(
            [N("DeformConv", ["x", "w", "o"], ["y"], kernel_shape=[3, 3], pads=[0, 0, 1, 1])],
            [X, ("o", FLOAT, ["batch", 18, 7, 7])],
            constants={"w": ONES((4, 4, 3, 3), np.float32)},
            opset=19,
            ir_version=9,
        ),
        ALL,
        "other at the end|has no DeformConv",
    ),
    # Another domain. TensorRT's parser reads the operator's name alone.
    Case(
        "custom domain",
        graph([N("Gelu", ["x"], ["y"], domain="com.microsoft")], domains=["com.microsoft"]),
        TRT,
        "no standard operator.*com.microsoft",
        rtx=True,
    ),
    Case(
        "unknown domain",
        graph([N("Mine", ["x"], ["y"], domain="my.own")], domains=["my.own"]),
        ALL,
        "my.own",
    ),
    # Pooling.
    Case("maxpool", pooled("MaxPool", X, kernel_shape=[2, 2], strides=[2, 2])),
    Case(
        "maxpool with indices",
        graph([N("MaxPool", ["x"], ["y", "indices"], kernel_shape=[2, 2])]),
        TRT,
        "its Indices output",
    ),
    Case(
        "maxpool dilated",
        pooled("MaxPool", X, kernel_shape=[2, 2], dilations=[2, 2]),
        TRT,
        "dilations",
    ),
    Case("maxpool undilated", pooled("MaxPool", X, kernel_shape=[2, 2], dilations=[1, 1])),
    Case("maxpool of rows", pooled("MaxPool", ROW, kernel_shape=[2]), DOCUMENTED, "3 axes"),
    Case(
        "average pool dilated",
        pooled("AveragePool", X, kernel_shape=[2, 2], dilations=[2, 2], opset=19),
        TRT,
        "dilations",
    ),
    Case(
        "average pool of rows", pooled("AveragePool", ROW, kernel_shape=[2]), DOCUMENTED, "3 axes"
    ),
    # Resize.
    resize(
        "nearest",
        NONE,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    resize("nearest ceil", NONE, mode="nearest", nearest_mode="ceil"),
    resize("nearest round up", NONE, mode="nearest", nearest_mode="round_prefer_ceil"),
    resize("linear", NONE, mode="linear", coordinate_transformation_mode="half_pixel"),
    resize(
        "linear pytorch", NONE, mode="linear", coordinate_transformation_mode="pytorch_half_pixel"
    ),
    resize("corners", NONE, mode="linear", coordinate_transformation_mode="align_corners"),
    resize(
        "half for nearest",
        NONE,
        mode="nearest",
        coordinate_transformation_mode="tf_half_pixel_for_nn",
        opset=11,
    ),
    resize("cubic", DOCUMENTED, "mode is 'cubic'", mode="cubic"),
    resize(
        "crop",
        TRT,
        "coordinate_transformation_mode is 'tf_crop_and_resize'",
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
    ),
    resize(
        "symmetric",
        TRT,
        "half_pixel_symmetric",
        mode="linear",
        coordinate_transformation_mode="half_pixel_symmetric",
        opset=19,
    ),
    resize("antialias", TRT, "antialias is 1", mode="linear", antialias=1, opset=18),
    Case(
        "resize keeping the ratio",
        graph(
            [
                N(
                    "Resize",
                    ["x", "", "", "z"],
                    ["y"],
                    mode="linear",
                    axes=[2, 3],
                    keep_aspect_ratio_policy="not_larger",
                )
            ],
            constants={"z": ints(16, 16)},
            opset=18,
        ),
        TRT,
        "keep_aspect_ratio_policy is 'not_larger'",
    ),
    Case(
        "resize of two axes",
        graph(
            [N("Resize", ["x", "", "", "z"], ["y"], mode="linear", axes=[2, 3])],
            constants={"z": ints(16, 16)},
            opset=18,
        ),
        TRT,
        "not every axis|operator set 18",
    ),
    Case(
        "resize of all axes by name",
        graph(
            [N("Resize", ["x", "", "s"], ["y"], mode="linear", axes=[0, 1, 2, 3])],
            constants=TWICE,
            opset=18,
        ),
        frozenset({"trt-8.6"}),
        "operator set 18",
    ),
    # Norms.
    Case("layer norm", graph([N("LayerNormalization", ["x", "g", "b"], ["y"])], constants=NORM)),
    Case(
        "layer norm with its mean",
        graph([N("LayerNormalization", ["x", "g", "b"], ["y", "mean"])], constants=NORM),
        TRT,
        "its Mean output",
    ),
    Case(
        "batch norm in training",
        graph(
            [N("BatchNormalization", ["x", *"ggg", "g"], ["y", "m", "v"], training_mode=1)],
            constants={"g": ONES(4, np.float32)},
        ),
        TRT,
        "training_mode is 1|running_mean output",
    ),
    Case(
        "instance norm",
        graph(
            [N("InstanceNormalization", ["x", "g", "b"], ["y"])],
            constants={"g": ONES(4, np.float32), "b": ONES(4, np.float32)},
        ),
    ),
    Case(
        "instance norm, computed scale",
        graph(
            [N("Relu", ["g"], ["h"]), N("InstanceNormalization", ["x", "h", "b"], ["y"])],
            [X, ("g", FLOAT, [4])],
            constants={"b": ONES(4, np.float32)},
        ),
        frozenset({"trt-8.6"}),
        "its scale input is computed",
    ),
    Case(
        "dropout in training",
        graph(
            [N("Dropout", ["x", "r", "t"], ["y"])],
            constants={"r": np.float32(0.5), "t": np.array(True)},
        ),
        TRT,
        "training_mode input is not false",
    ),
    Case(
        "dropout at rest",
        graph(
            [N("Dropout", ["x", "r", "t"], ["y"])],
            constants={"r": np.float32(0.5), "t": np.array(False)},
        ),
    ),
    # Scattering.
    scatter("ScatterND", "none", 16, NONE),
    scatter("ScatterND", "add", 16, TRT),
    scatter("ScatterElements", "none", 16, NONE),
    scatter("ScatterElements", "add", 16, frozenset({"trt-8.6", "trt-rtx"})),
    # Einsum: what 8.6 says it lacks.
    einsum("plain", "bij,bjk->bik", [[2, 3, 4], [2, 4, 5]], NONE),
    einsum("ellipsis", "...ij,...jk->...ik", [[2, 3, 4], [2, 4, 5]], frozenset({"trt-8.6"})),
    einsum("diagonal", "ii->i", [[4, 4]], frozenset({"trt-8.6"})),
    einsum("broadcast", "bij,bjk->bik", [[1, 3, 4], [2, 4, 5]], frozenset({"trt-8.6"})),
    # What has to be a constant.
    Case("computed axes of a sum", computed("ReduceSum", X), TRT, "its axes input is computed"),
    Case(
        "computed axes of a mean", computed("ReduceMean", X, 18), TRT, "its axes input is computed"
    ),
    Case(
        "computed axes of a squeeze",
        computed("Squeeze", ("x", FLOAT, [1, 4])),
        TRT,
        "axes input is comp",
    ),
    Case(
        "computed axes of a slice",
        computed("Slice", X, before=("start", "end")),
        frozenset({"trt-8.6"}),
        "axes input is computed",
        # It takes no axes that are a network input; those computed from a shape it does take.
        rtx=False,
    ),
    Case(
        "computed axis of a sum so far",
        graph(
            [N("Cast", ["f"], ["axis"], to=INT64), N("CumSum", ["x", "axis"], ["y"])],
            [X, ("f", FLOAT, [])],
        ),
        TRT,
        "axis input is computed",
    ),
    Case(
        "computed depth",
        graph(
            [N("Cast", ["f"], ["d"], to=INT64), N("OneHot", ["x", "d", "v"], ["y"])],
            [("x", INT64, [4]), ("f", FLOAT, [1])],
            constants={"v": floats(0, 1)},
        ),
        MATRIX | {"trt-rtx", "trt-8.6"},
        "depth input is computed|64 bit integers",
    ),
    Case(
        "padding of two axes",
        graph(
            [N("Pad", ["x", "p", "", "axes"], ["y"])],
            constants={"p": ints(1, 1), "axes": ints(2)},
            opset=18,
        ),
        frozenset({"trt-8.6", "trt-10"}),
        "axes input is not supported|operator set 18",
    ),
    # The largest few.
    Case("topk", graph([N("TopK", ["x", "k"], ["y", "i"])], constants={"k": ints(2)})),
    Case(
        "too many of topk",
        graph(
            [N("TopK", ["x", "k"], ["y", "i"])],
            [("x", FLOAT, [2, 8000])],
            constants={"k": ints(4000)},
        ),
        TRT,
        "K is 4000, above 3840",
        rtx=True,  # parses; the builder then refuses it
    ),
    Case(
        "topk in any order",
        graph([N("TopK", ["x", "k"], ["y", "i"], sorted=0)], constants={"k": ints(2)}),
        MATRIX,
        "sorted is 0",
    ),
    # Sampling.
    Case(
        "grid sample",
        graph([N("GridSample", ["x", "g"], ["y"])], [X, ("g", FLOAT, ["batch", 3, 3, 2])]),
    ),
    Case(
        "grid sample of volumes",
        graph(
            [N("GridSample", ["x", "g"], ["y"], mode="linear")],
            [("x", FLOAT, ["batch", 4, 8, 8, 8]), ("g", FLOAT, ["batch", 3, 3, 3, 3])],
            opset=20,
            ir_version=9,
        ),
        DOCUMENTED,
        "5 axes",
    ),
    # Quantization.
    quantized("symmetric", np.int8(0), NONE, ""),
    quantized("askew", np.int8(1), TRT, "zero_point is not zero"),
    quantized("unsigned", np.uint8(0), TRT, "is bytes", rtx=True),
    # Attention as one operator.
    attention(
        "by heads", X, frozenset({"trt-8.6", "trt-10", "ort"}), "no Attention|operator set 23"
    ),
    attention("soft cap", X, ALL, "softcap is 2|operator set 23", softcap=2.0),
    # Types.
    Case(
        "doubles",
        graph([N("Relu", ["x"], ["y"])], [("x", DOUBLE, [2, 3])], DOUBLE),
        TRT,
        "no FP64, which it would round",
        rtx=True,
    ),
    Case(
        "a double in between",
        graph(
            [
                N("Cast", ["x"], ["c"], to=DOUBLE),
                N("Add", ["c", "k"], ["d"]),
                N("Cast", ["d"], ["y"], to=FLOAT),
            ],
            constants={"k": ONES(8, np.float64)},
        ),
        TRT,
        "no FP64",
        rtx=True,
    ),
    Case(
        "16 bit integers",
        graph([N("Cast", ["x"], ["y"], to=FLOAT)], [("x", TensorProto.INT16, [2, 3])]),
        TRT,
        "no INT16",
    ),
    Case(
        "brain floats",
        graph([N("Add", ["x", "x"], ["y"])], [("x", BFLOAT16, [2, 3])], BFLOAT16),
        frozenset({"trt-8.6"}),
        "no BF16",
    ),
    Case(
        "whole numbers and floats",
        graph(
            [N("Abs", ["x"], ["a"]), N("Floor", ["f"], ["y"])],
            [("x", INT32, [2]), ("f", FLOAT, [2])],
        ),
    ),
    Case(
        "relu of whole numbers",
        graph([N("Relu", ["x"], ["y"])], [("x", INT32, [2])], INT32),
        frozenset({"trt-8.6", "trt-rtx"}),
        "its data is INT32",
    ),
    Case(
        "64 bit integers out",
        graph([N("ArgMax", ["x"], ["y"], axis=1)], output=INT64),
        frozenset({"trt-8.6"}),
        "64 bit integers, which TensorRT 8.6 takes and gives as 32 bit",
    ),
    Case(
        "a number beyond 32 bits",
        graph(
            [
                N("Cast", ["x"], ["c"], to=INT64),
                N("Add", ["c", "k"], ["d"]),
                N("Cast", ["d"], ["y"], to=FLOAT),
            ],
            constants={"k": ints(-(2**40))},
        ),
        frozenset({"trt-8.6"}),
        "reaches -1099511627776",
    ),
    Case(
        "to the end",
        graph(
            [N("Slice", ["x", "a", "b", "axes"], ["y"])],
            constants={"a": ints(1), "b": ints(2**63 - 1), "axes": ints(2)},
        ),
    ),
    # Bytes.
    Case("bytes in", graph([N("Cast", ["x"], ["y"], to=FLOAT)], [("x", UINT8, [2, 3])])),
    Case("bytes out", graph([N("Cast", ["x"], ["y"], to=UINT8)], output=UINT8)),
    Case(
        "bytes turned first",
        graph(
            [N("Transpose", ["x"], ["t"], perm=[1, 0]), N("Cast", ["t"], ["y"], to=FLOAT)],
            [("x", UINT8, [2, 3])],
        ),
        TRT,
        "is bytes",
    ),
    Case(
        "bytes in between",
        graph([N("Cast", ["x"], ["c"], to=UINT8), N("Cast", ["c"], ["y"], to=FLOAT)]),
        TRT,
        "is bytes",
    ),
    # Axes.
    Case("eight axes", graph([N("Relu", ["x"], ["y"])], [("x", FLOAT, [1] * 8)])),
    Case("nine axes", graph([N("Relu", ["x"], ["y"])], [("x", FLOAT, [1] * 9)]), TRT, "9 axes"),
    # Operator sets.
    Case(
        "set 18",
        graph([N("Relu", ["x"], ["y"])], opset=18),
        frozenset({"trt-8.6"}),
        "set 18.*9 to 17",
    ),
    Case(
        "set 21",
        graph([N("Relu", ["x"], ["y"])], opset=21, ir_version=10),
        frozenset({"trt-8.6", "trt-10", "ort"}),
        "set 21",
    ),
    Case("set 8", graph([N("Relu", ["x"], ["y"])], opset=8), TRT, "set 8", rtx=True),
    Case(
        "a new format",
        graph([N("Relu", ["x"], ["y"])], ir_version=10),
        frozenset({"ort"}),
        "format 10; onnxruntime reads up to 9",
    ),
]


def branches(names: tuple[str, str]) -> onnx.ModelProto:
    """An If whose branches call their outputs so."""
    shape = [2, 3]
    bodies = [
        helper.make_graph(
            [N(op, ["x"], [name])], op, [], [helper.make_tensor_value_info(name, FLOAT, shape)]
        )
        for op, name in zip(("Relu", "Neg"), names, strict=True)
    ]
    node = N("If", ["c"], ["y"], then_branch=bodies[0], else_branch=bodies[1])
    return graph([node], [("x", FLOAT, shape), ("c", BOOL, [])])


CASES += [
    Case("two branches", branches(("a", "b"))),
    # The parser does not mind; NVIDIA's matrix does.
    Case("two branches alike", branches(("a", "a")), TRT, "both branches call", rtx=True),
]
