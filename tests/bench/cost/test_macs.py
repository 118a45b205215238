"""Every operator against what a reader counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from edgepose.bench.cost.macs import Call, Uncountable, macs_of

Shapes = dict[str, tuple[int, ...]]


def macs(
    op: str, shapes: list[tuple[int, ...]], output: tuple[int, ...], **attributes: object
) -> int:
    """Of a node whose inputs and output have those shapes; () for an input left out."""
    domain = attributes.pop("domain", "")
    opset = attributes.pop("opset", 18)
    names = [f"i{n}" if shape else "" for n, shape in enumerate(shapes)]
    node = helper.make_node(op, names, ["out"], domain=str(domain), **attributes)
    known = {name: shape for name, shape in zip(names, shapes, strict=True) if name}
    return macs_of(Call(node, known | {"out": output}), int(str(opset)))


@pytest.mark.parametrize(
    ("op", "shapes", "output", "attributes", "expected"),
    [
        # 8 x 5 x 4 results, each a sum over 3 channels of a 3x3 kernel
        ("Conv", [(1, 3, 10, 8), (8, 3, 3, 3), (8,)], (1, 8, 5, 4), {}, 8 * 20 * 27),
        ("Conv", [(2, 6, 4, 4), (6, 1, 7, 7)], (2, 6, 4, 4), {"group": 6}, 2 * 6 * 16 * 49),
        ("Conv", [(1, 8, 4, 4), (4, 4, 1, 1)], (1, 4, 4, 4), {"group": 2}, 4 * 16 * 4),
        ("Conv", [(1, 3, 9), (5, 3, 3)], (1, 5, 7), {}, 5 * 7 * 9),
        # each of 4 x 3 x 2 numbers is spread over 5 channels of a 4x4 kernel
        ("ConvTranspose", [(1, 4, 3, 2), (4, 5, 4, 4)], (1, 5, 6, 4), {}, 4 * 6 * 5 * 16),
        ("ConvTranspose", [(1, 4, 3, 2), (4, 1, 4, 4)], (1, 4, 6, 4), {"group": 4}, 4 * 6 * 16),
        ("DeformConv", [(1, 3, 5, 5), (8, 3, 3, 3), (1, 18, 3, 3)], (1, 8, 3, 3), {}, 72 * 27),
        ("Gemm", [(2, 7), (7, 5), (5,)], (2, 5), {}, 70),
        ("Gemm", [(7, 2), (5, 7)], (2, 5), {"transA": 1, "transB": 1}, 70),
        ("MatMul", [(3, 4), (4, 5)], (3, 5), {}, 60),
        ("MatMul", [(2, 1, 3, 4), (6, 4, 5)], (2, 6, 3, 5), {}, 12 * 60),
        ("MatMul", [(4,), (4,)], (), {}, 4),
        ("MatMul", [(4,), (2, 4, 5)], (2, 5), {}, 40),
        ("MatMulInteger", [(3, 4), (4, 5)], (3, 5), {}, 60),
        ("QLinearMatMul", [(3, 4), (1,), (1,), (4, 5)], (3, 5), {}, 60),
        ("QLinearConv", [(1, 3, 4, 4), (1,), (1,), (8, 3, 1, 1)], (1, 8, 4, 4), {}, 384),
        ("ConvInteger", [(1, 3, 4, 4), (8, 3, 1, 1)], (1, 8, 4, 4), {}, 384),
        ("Einsum", [(2, 3, 4), (2, 5, 4)], (2, 3, 5), {"equation": "bid,bjd->bij"}, 120),
        ("LSTM", [(7, 2, 3), (1, 16, 3), (1, 16, 4)], (7, 1, 2, 4), {}, 14 * (48 + 64)),
        ("Relu", [(1, 8, 4, 4)], (1, 8, 4, 4), {}, 0),
        ("Resize", [(1, 8, 4, 4)], (1, 8, 8, 8), {}, 0),
        ("Swish", [(4,)], (4,), {"opset": 24}, 0),
    ],
)  # fmt: skip
def test_count(op: str, shapes, output, attributes, expected: int) -> None:
    assert macs(op, shapes, output, **attributes) == expected


@pytest.mark.parametrize(
    ("op", "shapes", "output", "attributes", "expected"),
    [
        ("FusedConv", [(1, 3, 4, 4), (8, 3, 3, 3)], (1, 8, 4, 4), {}, 128 * 27),
        ("FusedMatMul", [(2, 4, 3), (2, 4, 5)], (2, 3, 5), {"transA": 1}, 120),
        ("FusedMatMul", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), {}, 120),
        ("MatMulNBits", [(3, 64), (8, 2, 16)], (3, 8), {"K": 64, "N": 8}, 3 * 8 * 64),
        ("QGemm", [(2, 7), (1,), (1,), (7, 5)], (2, 5), {}, 70),
        # 3 queries of 8 by 5 keys, then 5 shares by values of 6
        ("MultiHeadAttention", [(1, 3, 8), (1, 5, 8), (1, 5, 6)], (1, 3, 6), {}, 15 * 14),
        ("QuickGelu", [(3,)], (3,), {}, 0),
    ],
)
def test_onnxruntimes_own_operators(op: str, shapes, output, attributes, expected: int) -> None:
    assert macs(op, shapes, output, domain="com.microsoft", **attributes) == expected


def test_attention_with_and_without_an_axis_of_heads() -> None:
    four = macs("Attention", [(2, 4, 3, 8), (2, 4, 5, 8), (2, 4, 5, 6)], (2, 4, 3, 6), opset=23)
    assert four == 2 * 4 * 15 * 14
    three = macs(
        "Attention", [(2, 3, 32), (2, 5, 32), (2, 5, 24)], (2, 3, 24), opset=23,
        q_num_heads=4, kv_num_heads=4,
    )  # fmt: skip
    assert three == four
    # Queries in 4 heads over keys in 2: every query still meets every key once in its head.
    grouped = macs(
        "Attention", [(2, 3, 32), (2, 5, 16), (2, 5, 12)], (2, 3, 24), opset=23,
        q_num_heads=4, kv_num_heads=2,
    )  # fmt: skip
    assert grouped == four


@pytest.mark.parametrize(
    ("op", "attributes", "words"),
    [
        ("Mystery", {"domain": "acme.ops"}, "of the domain 'acme.ops' that is not known"),
        ("Attention", {"domain": "com.microsoft"}, "of the domain 'com.microsoft'"),
        ("LinearAttention", {"opset": 27}, "of a later operator set"),
        ("DFT", {}, "depends on the algorithm"),
        ("Conv", {}, "the shape of 'i0' is unknown"),
    ],
)
def test_what_is_not_known_is_not_guessed(op: str, attributes, words: str) -> None:
    opset = attributes.pop("opset", 18)
    node = helper.make_node(op, ["i0", "i0"], ["out"], **attributes)
    with pytest.raises(Uncountable, match=words):
        macs_of(Call(node, {"out": (1, 2)}), opset)


def test_a_branch_with_products_is_not_guessed_and_one_without_is_free() -> None:
    def branching(op: str) -> Call:
        inner = [helper.make_node(op, ["x", "x"], ["y"])]
        value = helper.make_tensor_value_info("y", 1, [2, 2])
        graph = helper.make_graph(inner, "branch", [], [value])
        made = helper.make_node("If", ["c"], ["out"], then_branch=graph, else_branch=graph)
        return Call(made, {"c": (), "x": (2, 2), "out": (2, 2)})

    with pytest.raises(Uncountable, match="whether, the MatMul inside it run"):
        macs_of(branching("MatMul"), 18)
    assert macs_of(branching("Add"), 18) == 0


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("...ij,jk->...ik", [(2, 3, 4, 5), (5, 6)]),
        ("...i,...i", [(2, 1, 5), (3, 5)]),
        ("ij,j", [(4, 5), (5,)]),
    ],
)
def test_an_einsum_counts_what_its_loops_multiply(equation: str, shapes) -> None:
    operands = [np.ones(shape) for shape in shapes]
    result = np.einsum(equation, *operands)
    # Every result is a sum of ones: as large as the number of its products.
    assert macs("Einsum", shapes, result.shape, equation=equation) == result.sum()


def test_an_einsum_of_one_operand_multiplies_nothing_and_of_three_is_not_guessed() -> None:
    assert macs("Einsum", [(3, 4)], (4, 3), equation="ij->ji") == 0
    with pytest.raises(Uncountable, match="three or more"):
        macs("Einsum", [(3, 4), (4, 5), (5, 6)], (3, 6), equation="ij,jk,kl->il")
    with pytest.raises(Uncountable, match="2 axes"):
        macs("Einsum", [(3, 4), (4, 5)], (3, 6), equation="ijk,jk->i")
