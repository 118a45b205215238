"""The graph's count beside PyTorch's: equal where nothing changed, explained where it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.bench.cost import Cost, Layer, check, onnx_cost, torch_cost
from edgepose.export.precision.balance import balanced
from edgepose.export.precision.plan import make_plan
from edgepose.models import REGISTRY

SHIPPED = "mitpose-lite@128x96"


@pytest.fixture(scope="module")
def shipped(repo_root: Path) -> Cost:
    return onnx_cost(repo_root / "models/mitpose-lite/mitpose-lite-128x96.onnx")


def layer(path: str | None, macs: float = 0, params: int = 0, **more: Any) -> Layer:
    values: dict[str, Any] = {"name": "n", "op": "Conv", "shape": None}
    return Layer(path=path, macs=macs, params=params, **(values | more))


def graph(*layers: Layer, rewrites: tuple[str, ...] | None = None) -> Cost:
    return Cost(
        counted_on="onnx",
        layers=layers,
        activation_peak_bytes=0,
        peak_means="",
        rewrites=rewrites,
    )


def torch(kinds: dict[str, str], *layers: Layer) -> Cost:
    return Cost(
        counted_on="torch",
        layers=layers,
        activation_peak_bytes=0,
        peak_means="",
        model="some@64x48",
        kinds={"": "Net"} | kinds,
    )


def test_the_shipped_graph_is_explained_to_the_last_number(shipped: Cost) -> None:
    found = check(shipped, torch_cost(SHIPPED))
    assert found
    assert found.torch_gmacs == pytest.approx(0.374, abs=5e-4)
    assert found.torch_params == 5_589_041
    # One 7x7 kernel for three, and the skip in it: 6 blocks of 768 channels on an 8x6 map.
    merged = 6 * 768 * 48 * 49 - 6 * 256 * 48 * (9 + 25 + 49)
    assert round(shipped.gmacs * 1e9) == round(found.torch_gmacs * 1e9) + merged
    by_reason = {d.why: 0 for d in found.differences}
    for difference in found.differences:
        by_reason[difference.why] += difference.params
    assert sum(by_reason.values()) == shipped.params - found.torch_params
    assert sorted(str(why).split()[0] for why in by_reason) == ["GRN", "norms", "three"]
    verdict, *reasons = found.sentences()
    assert "0.3740 GMACs and 5,589,041 parameters in mitpose-lite@128x96" in verdict
    assert "0.0047 GMACs more" in verdict
    assert any("in 6 places, such as blocks.0.local (Local)" in reason for reason in reasons)


def test_the_registrys_figures_are_the_counters(shipped: Cost) -> None:
    assert torch_cost(SHIPPED).params == 5_589_041
    entry = REGISTRY["mgil-w32-32"]
    assert torch_cost("mgil-w32-32").gmacs == pytest.approx(entry.gmacs, rel=1e-3)
    assert torch_cost("mgil-w32-32").params == entry.params


def test_equal_counts_need_no_reason() -> None:
    found = check(graph(layer("a", 9, 3)), torch({"a": "Conv2d"}, layer("a", 9, 3)))
    assert found
    assert found.differences == ()
    assert found.sentences()[0].endswith("so does this count of the graph.")


def test_other_names_inside_one_module_are_no_difference() -> None:
    ours = graph(layer("attn.q", 3, 1), layer("attn.k", 3, 1))
    theirs = torch({"attn": "Attention", "attn.qk": "Linear"}, layer("attn.qk", 6, 2))
    assert check(ours, theirs).differences == ()


def test_a_norm_that_became_a_bias() -> None:
    kinds = {"stem": "Sequential", "stem.0": "Conv2d", "stem.1": "BatchNorm2d"}
    theirs = torch(
        kinds,
        layer("stem.0", 90, 27, op="Conv2d", shape=(1, 3, 4, 4)),
        layer("stem.1", 0, 6, op="BatchNorm2d"),
    )
    found = check(graph(layer("stem.0", 90, 30)), theirs)
    assert found
    assert sum(d.params for d in found.differences) == -3
    assert found.sentences()[1].startswith("3 parameters fewer in 2 places, such as stem.0")


def test_a_bias_of_zeros_that_was_left_out() -> None:
    theirs = torch({"head": "Linear"}, layer("head", 90, 35, op="Linear", shape=(1, 7, 5)))
    found = check(graph(layer("head", 90, 30)), theirs)
    assert found
    assert "all zero" in found.sentences()[1]


def test_what_nothing_explains_is_said_to_be_so() -> None:
    found = check(graph(layer("head", 95, 35)), torch({"head": "Linear"}, layer("head", 90, 35)))
    assert not found
    assert "in head (Linear): for a reason that no known rewrite gives" in found.sentences()[1]


def test_nodes_of_no_module_make_the_place_unsure() -> None:
    found = check(graph(layer(None, 90, 35)), torch({"head": "Linear"}, layer("head", 90, 30)))
    assert not found
    assert found.unnamed
    assert any("name no module" in sentence for sentence in found.sentences())


def test_a_rewrite_explains_only_where_it_was_applied() -> None:
    kinds = {"local": "Local", "local.convs": "ModuleList", "local.convs.0": "Conv2d"}
    theirs = torch(kinds, layer("local.convs.0", 9, 9))
    for applied, explained in ((None, True), (("local",), True), (("grn",), False)):
        ours = graph(layer("local.depthwise", 49, 49), rewrites=applied)
        assert bool(check(ours, theirs)) is explained


def test_preprocessing_and_decoding_in_the_graph_are_told_apart() -> None:
    ours = graph(layer("head", 9, 3), layer("decode", 5, 2), layer("normalise", 0, 6))
    found = check(ours, torch({"head": "Conv2d"}, layer("head", 9, 3)))
    assert found
    assert {d.path: d.why for d in found.differences} == {
        "decode": "decoding in the graph",
        "normalise": "preprocessing in the graph",
    }


def test_channels_balanced_for_eight_bits_are_known_by_what_balances_them(tmp_path: Path) -> None:
    from onnx import TensorProto, load, save

    from tests.bench.cost.graphs import node, weight, write

    file = write(
        tmp_path / "a.onnx",
        [
            node("Conv", ["x", "head.weight"], ["a"], name="first"),
            node("Conv", ["a", "neck.weight"], ["b"], name="second"),
            node("Conv", ["b", "tail.weight"], ["y"], name="third"),
        ],
        {f"{name}.weight": weight(4, 4, 1, 1) for name in ("head", "neck", "tail")},
        inputs={"x": ["n", 4, 4, 3]},
        outputs=["y"],
        kind=TensorProto.FLOAT,
    )
    model = load(file)
    peaks = {"a": np.array([1, 1, 1, 100], np.float32)}
    save(balanced(model, make_plan(model).sites, peaks), file)
    names = ("head", "neck", "tail")
    theirs = torch(dict.fromkeys(names, "Conv2d"), *(layer(name, 192, 16) for name in names))
    found = check(onnx_cost(file), theirs)
    assert found
    assert [(d.params, d.why) for d in found.differences] == [
        (4, "channels brought to one size before they are rounded to eight bits")
    ]
