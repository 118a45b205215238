"""What is found and how it is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgepose import zoo
from edgepose.errors import GraphError, LintError
from edgepose.export.lint import TARGETS, Complaint, Finding, Verdict, lint, load, refusal
from tests.export.lint.cases import FLOAT, ONES, N, X, graph

READY = [entry for entry in zoo.entries() if entry.onnx is not None]
TEN = TARGETS["trt-10"]
INDICES = graph(
    [
        N("Relu", ["x"], ["a"], name="stem.1(ReLU)/Relu_0"),
        N(
            "MaxPool",
            ["a"],
            ["y", "i"],
            name="decoder.0.pool(MaxPool2d)/MaxPool_1",
            kernel_shape=[2, 2],
        ),
    ]
)


@pytest.mark.parametrize("entry", READY, ids=lambda entry: entry.name)
@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_shipped_artefacts_pass_everywhere(entry: zoo.ZooEntry, target: object) -> None:
    assert entry.onnx is not None
    model = load(entry.onnx)
    result = lint(model, target)  # type: ignore[arg-type]
    assert result.nodes == len(model.graph.node)
    problems = [finding.problem for finding in result.findings]
    if target is TARGETS["trt-8.6"]:  # for which it is exported with --opset 17
        assert problems == ["the graph is of operator set 18; TensorRT 8.6 reads 9 to 17"]
    else:
        assert problems == []
        assert result


def test_a_finding_names_node_and_module() -> None:
    result = lint(INDICES, TEN)
    assert not result
    (finding,) = result.findings
    assert finding == Finding(
        node="decoder.0.pool(MaxPool2d)/MaxPool_1",
        op="MaxPool",
        module="decoder.0.pool (MaxPool2d)",
        problem="its Indices output is not supported",
        hint=finding.hint,
    )
    assert "return_indices" in finding.hint
    assert str(finding) == (
        "MaxPool_1 of decoder.0.pool (MaxPool2d): its Indices output is not supported"
    )


def test_json() -> None:
    data = lint(INDICES, TARGETS["trt-11"]).to_dict()
    (finding,) = data["findings"]
    assert data == {
        "target": "trt-11",
        "inferred": True,
        "nodes": 2,
        "findings": [finding],
        "parser": None,
    }
    assert finding.keys() == {"node", "op", "module", "problem", "hint"}
    verdict = Verdict("TensorRT-RTX 1.0", supported=True)
    asked = lint(INDICES, TARGETS["trt-rtx"]).with_verdict(verdict)
    assert asked.to_dict()["parser"] == {"name": "TensorRT-RTX 1.0", "supported": True}


def test_the_error_says_what_why_and_what_next() -> None:
    error = refusal(INDICES, lint(INDICES, TEN))
    assert isinstance(error, LintError)
    assert isinstance(error, GraphError)
    assert error.exit_code == 1
    assert error.what == "TensorRT 10 does not read this graph"
    assert error.why is not None
    assert error.why.startswith("MaxPool_1 of decoder.0.pool (MaxPool2d): its Indices output")
    assert error.hint is not None
    assert error.hint.startswith("pool without return_indices")
    assert error.hint.endswith("this graph is read by --target ort")
    assert error.lint.target is TEN


def test_an_inferred_refusal_says_so() -> None:
    eleven = TARGETS["trt-11"]
    assert "inferred from 10.15" in refusal(INDICES, lint(INDICES, eleven)).what
    fine = graph([N("Relu", ["x"], ["y"])])
    assert "inferred" in lint(fine, eleven).summary()
    assert "inferred" not in lint(fine, TEN).summary()


def test_many_alike_are_told_once() -> None:
    nodes = [N("Relu", ["x"], ["v0"])]
    nodes += [N("Det", [f"v{i}"], [f"w{i}"], name=f"d{i}") for i in range(5)]
    nodes += [N("Reshape", [f"w{i}", "s"], [f"v{i + 1}"]) for i in range(5)]
    nodes = [n for pair in zip(nodes[1:6], nodes[6:], strict=True) for n in pair]
    nodes = [N("Relu", ["x"], ["v0"]), *nodes, N("Identity", ["v5"], ["y"])]
    model = graph(nodes, [("x", FLOAT, [1, 2, 2])], constants={"s": np.array([1, 1, 1])})
    error = refusal(model, lint(model, TEN))
    assert error.why is not None
    assert error.why == "Det 'd0': TensorRT 10 has no Det (and 4 more like it)"


def test_only_a_few_are_told() -> None:
    nodes = [
        N("Det", ["x"], ["a"]),
        N("Compress", ["x", "c"], ["b"]),
        N("BitShift", ["u", "u"], ["d"], direction="LEFT"),
        N("Hardmax", ["x"], ["e"]),
        N("Gelu", ["x"], ["y"]),
    ]
    model = graph(
        nodes,
        constants={"c": np.array([True]), "u": ONES(2, np.uint32)},
        opset=20,
        ir_version=9,
    )
    result = lint(model, TARGETS["trt-8.6"])
    assert len(result.findings) == 6  # one for each, one for the operator set
    error = refusal(model, result)
    assert error.why is not None
    assert error.why.endswith("and 3 other findings")


def test_the_runtime_has_the_last_word() -> None:
    fine = graph([N("Relu", ["x"], ["y"], name="act(ReLU)/Relu_0")])
    passed = lint(fine, TARGETS["trt-rtx"])
    assert passed
    complaint = Complaint("act(ReLU)/Relu_0", "Relu", "Not today")
    refused = passed.with_verdict(Verdict("TensorRT-RTX 9", False, (complaint,)))
    assert not refused
    (finding,) = refused.findings
    assert (finding.module, finding.problem) == ("act (ReLU)", "Not today")
    mute = passed.with_verdict(Verdict("TensorRT-RTX 9", supported=False))
    assert not mute
    assert "without naming a node" in str(refusal(fine, mute))
    assert "TensorRT-RTX 9 itself agrees" in (
        passed.with_verdict(Verdict("TensorRT-RTX 9", supported=True)).summary()
    )


def test_branches_and_bodies_are_looked_into() -> None:
    inner = N("Det", ["x"], ["d"], name="hidden")
    body = helper.make_graph([inner], "b", [], [helper.make_tensor_value_info("d", FLOAT, [1])])
    other = helper.make_graph(
        [N("ReduceSum", ["x"], ["e"])], "o", [], [helper.make_tensor_value_info("e", FLOAT, [1])]
    )
    node = N("If", ["c"], ["y"], then_branch=body, else_branch=other)
    model = graph([node], [X, ("c", onnx.TensorProto.BOOL, [])])
    result = lint(model, TEN)
    assert result.nodes == 3
    assert [finding.node for finding in result.findings] == ["hidden"]


def test_a_constant_may_be_a_node() -> None:
    def sliced(axes: onnx.NodeProto) -> onnx.ModelProto:
        nodes = [axes, N("Slice", ["x", "a", "b", "axes"], ["y"])]
        one = np.array([1], np.int64)
        return graph(nodes, constants={"a": one, "b": one + 1})

    value = numpy_helper.from_array(np.array([2], np.int64))
    assert lint(sliced(N("Constant", [], ["axes"], value=value)), TARGETS["trt-8.6"])
    nodes = sliced(N("Shape", ["x"], ["axes"], start=3, end=4))
    assert "axes input is computed" in str(lint(nodes, TARGETS["trt-8.6"]).findings)


def test_large_weights_are_not_copied_and_still_typed() -> None:
    weight = np.ones((64, 64, 3, 3), np.float64)
    model = graph(
        [N("Cast", ["w"], ["c"], to=FLOAT), N("Conv", ["x", "c"], ["y"])],
        [("x", FLOAT, ["batch", 64, 8, 8])],
        constants={"w": weight},
    )
    assert "no FP64" in str(lint(model, TEN).findings)


@pytest.mark.parametrize("content", [None, b"", b"\x00 no graph", b"PK\x03\x04"])
def test_what_is_no_onnx(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GraphError, match=r"m\.onnx"):
        load(path)
