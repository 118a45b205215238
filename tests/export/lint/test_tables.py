"""Every limit in the tables, both ways, and the tables' own soundness."""

from __future__ import annotations

import re

import onnx
import pytest
from onnx import defs

from edgepose.export.lint import TARGETS, lint
from edgepose.export.lint.tables._operators import operators
from edgepose.export.lint.targets import Target
from tests.export.lint.cases import ALL, CASES, TRT, Case

EVER = {schema.name for schema in defs.get_all_schemas_with_history() if schema.domain == ""}
KINDS = {"FP32", "FP16", "BF16", "FP8", "FP4", "INT4", "INT8", "INT32", "INT64", "UINT8", "BOOL"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_who_reads_it(case: Case) -> None:
    found = {name: lint(case.model, target) for name, target in TARGETS.items()}
    assert {name for name, result in found.items() if not result} == case.refused
    for name in case.refused:
        said = "; ".join(map(str, found[name].findings))
        assert re.search(case.why, said), said
        assert all(finding.hint for finding in found[name].findings)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_cases_are_valid_graphs(case: Case) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    output = model.graph.output[0].type.tensor_type
    # Of computed axes and of operators that ONNX does not know, no shape can be inferred.
    known = output.HasField("shape")
    output.shape.SetInParent()
    onnx.checker.check_model(model, full_check=known)


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_every_operator_of_a_table_exists(target: Target) -> None:
    # An older onnx does not know them.
    newer = {"CausalConvWithState", "LinearAttention", "Swish"}
    assert set(target.operators) - newer <= EVER
    assert set(target.rules) <= set(target.operators)
    for types in target.operators.values():
        assert types is None or types <= KINDS
        assert target.types is None or types is None or types <= target.types


def test_what_no_tensorrt_has() -> None:
    nowhere = {
        *("AffineGrid", "Bernoulli", "BitShift", "BitwiseAnd", "CenterCropPad", "Col2Im"),
        *("Compress", "ConvInteger", "DFT", "Det", "DynamicQuantizeLinear", "MatMulInteger"),
        *("MaxRoiPool", "MaxUnpool", "MelWeightMatrix", "Multinomial", "Optional", "QLinearConv"),
        *("NegativeLogLikelihoodLoss", "QLinearMatMul", "SequenceAt", "SequenceMap", "Unique"),
        *("SoftmaxCrossEntropyLoss", "StringNormalizer", "TfIdfVectorizer"),
    }
    for name in TRT:
        assert not nowhere & set(TARGETS[name].operators)


def test_what_each_version_added() -> None:
    def since(older: str, newer: str) -> set[str]:
        return set(TARGETS[newer].operators) - set(TARGETS[older].operators)

    assert since("trt-8.6", "trt-10") == {"CastLike", "DeformConv", "Gelu", "Hardmax", "Mish"}
    assert since("trt-10", "trt-11") == {
        *("Attention", "BlackmanWindow", "HammingWindow", "HannWindow"),
        *("RMSNormalization", "RotaryEmbedding", "STFT", "TensorScatter"),
    }
    assert since("trt-10", "trt-8.6") == set()
    assert since("trt-rtx", "trt-11") == {"DeformConv"}


def test_a_limit_is_tried_for_nearly_every_rule() -> None:
    """Each operator that has rules somewhere stands in some refused case."""
    tried = {node.op_type for case in CASES if case.refused for node in case.model.graph.node}
    limited = {name for target in TARGETS.values() for name in target.rules}
    # Of recurrent nets, volumes and language models; and reductions, which share one rule.
    alike = {name for name in limited if name.startswith("Reduce")} - {"ReduceSum", "ReduceMean"}
    unused = {"LSTM", "LpPool", "STFT", "TensorScatter", "Unsqueeze"}
    assert limited - tried == alike | unused


def test_an_operator_stands_in_one_group() -> None:
    with pytest.raises(ValueError, match="Relu stands in the table twice"):
        operators({"FP32": "Relu Add", "FP16": "Relu"})


def test_all_is_all() -> None:
    assert set(TARGETS) == ALL
