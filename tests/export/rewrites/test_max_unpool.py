from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edgepose.export import export_module
from edgepose.export.rewrites import rewritten
from edgepose.export.rewrites.max_unpool import MAX_UNPOOL, MaskPool
from edgepose.export.trace import trace
from edgepose.models.refinepose import FusionStep, Matching, PoolWithPlaces, RefinePose, Unpool
from edgepose.models.vit import ViTConfig
from edgepose.spec import DecoderSpec, PoseSpec
from tests.export.rewrites.proof import Named, operators, prove
from tests.export.tiny import lively, people

INF = float("inf")
CHANNELS = 6


class PoolAndBack(nn.Module):
    """Pools, and puts other values where the maxima were: those of a matching, scaled."""

    def __init__(self, matching: Matching) -> None:
        super().__init__()
        self.copies = 2 if matching == "tile" else 1
        self.pool = PoolWithPlaces()
        self.unpool = Unpool(self.copies)

    def forward(self, x: Tensor) -> Tensor:
        maxima, places = self.pool(x)
        values = [maxima, -maxima.flip(1)][: self.copies]
        unpooled: Tensor = self.unpool(torch.cat(values, dim=1), places)
        return unpooled


def random(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape)


def ties(shape: tuple[int, ...]) -> Tensor:
    return torch.randint(-1, 2, shape).float()


def all_equal(shape: tuple[int, ...]) -> Tensor:
    return torch.full(shape, 0.25)


def infinities(shape: tuple[int, ...]) -> Tensor:
    return torch.tensor([-INF, 0.0, 1.0, INF])[torch.randint(0, 4, shape)]


def lowest(shape: tuple[int, ...]) -> Tensor:
    return torch.full(shape, -INF)


def signed_zeros(shape: tuple[int, ...]) -> Tensor:
    return torch.tensor([-0.0, 0.0, -1.0])[torch.randint(0, 3, shape)]


def fp16_rounded(shape: tuple[int, ...]) -> Tensor:
    return (torch.randn(shape) / 64 + 1).half().float()


KINDS = [random, ties, all_equal, infinities, lowest, signed_zeros, fp16_rounded]


def same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))


@pytest.mark.parametrize("matching", ["tile", "halve"])
@pytest.mark.parametrize("kind", KINDS)
def test_bits_are_pytorchs(kind, matching: Matching) -> None:  # type: ignore[no-untyped-def]
    block = PoolAndBack(matching)
    changed, applied = rewritten(nn.Sequential(block), [MAX_UNPOOL])
    assert [a.places for a in applied] == [2]
    assert not any(isinstance(m, (PoolWithPlaces, Unpool)) for m in changed.modules())
    for _ in range(10):
        x = kind((3, CHANNELS, 8, 6))
        assert same_bits(changed(x), block(x))


def test_every_order_of_four_values() -> None:
    """All 256 windows of four values out of {-inf, 0, 1, inf}, side by side."""
    windows = torch.tensor(list(itertools.product([-INF, 0.0, 1.0, INF], repeat=4)))  # (256, 4)
    x = windows.reshape(256, 1, 2, 2)
    _, places = PoolWithPlaces()(x)
    _, masks = MaskPool()(x)
    winner = torch.stack(masks).flatten(1).int().argmax(0)  # flat index in a window of 2 x 2
    assert torch.equal(torch.stack(masks).flatten(1).sum(0), torch.ones(256, dtype=torch.int64))
    assert torch.equal(winner, places.flatten())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types(dtype: torch.dtype) -> None:
    block = PoolAndBack("tile")
    changed, _ = rewritten(nn.Sequential(block), [MAX_UNPOOL])
    x = torch.randn(2, CHANNELS, 8, 6).to(dtype)
    found = changed(x)
    assert found.dtype == dtype
    assert torch.equal(found, block(x))


def test_not_a_number_is_lost_or_wins_by_its_place() -> None:
    """As documented: PyTorch takes NaN, the masks take one cell, not always that one."""
    nan = float("nan")
    for place in range(4):
        window = torch.tensor([1.0, 3.0, 2.0, 0.0])
        window[place] = nan
        x = window.reshape(1, 1, 2, 2)
        _, places = PoolWithPlaces()(x)
        assert int(places) == place
        _, masks = MaskPool()(x)
        assert sum(int(mask) for mask in masks) == 1
        winner = [int(mask) for mask in masks].index(1)
        # With a NaN in either row the rows' comparison is lost and the lower one taken; there a
        # NaN on either side gives the right cell.
        assert winner == {0: 2, 1: 2, 2: 3, 3: 3}[place]


@pytest.mark.parametrize("matching", ["tile", "halve"])
def test_the_graph_is_exact_and_plain(matching: Matching) -> None:
    changed, _ = rewritten(Named(PoolAndBack(matching)), [MAX_UNPOOL])
    model = trace(changed, torch.zeros(CHANNELS, 8, 6))
    found = {node.op_type for node in model.graph.node}
    assert not found & {"ScatterND", "ScatterElements", "MaxUnpool", "Range", "Shape", "Transpose"}
    assert {"MaxPool", "Slice", "GreaterOrEqual", "Where"} <= found
    assert all(len(n.output) == 1 for n in model.graph.node if n.op_type == "MaxPool")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for batch, kind in itertools.product((1, 2, 3), (ties, infinities, signed_zeros)):
        x = kind((batch, CHANNELS, 8, 6))
        (out,) = session.run(None, {"images": x.numpy()})
        # By value: onnxruntime's Where makes 0.0 of -0.0.
        assert torch.equal(torch.from_numpy(out), PoolAndBack(matching)(x))


def test_no_tensor_has_more_than_five_axes() -> None:
    changed, _ = rewritten(Named(PoolAndBack("tile")), [MAX_UNPOOL])
    program = torch.export.export(changed, (torch.zeros(2, CHANNELS, 8, 6),))
    values = [node.meta.get("val") for node in program.graph.nodes]
    assert max(value.ndim for value in values if isinstance(value, Tensor)) == 5


class OnMap(nn.Module):
    """A decoder step whose places come from a map of its own size."""

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.pool = PoolWithPlaces()
        self.step = FusionStep(CHANNELS * copies, CHANNELS, copies=copies)

    def forward(self, x: Tensor) -> Tensor:
        maxima, places = self.pool(x)
        refined: Tensor = self.step(maxima.repeat(1, self.step.unpool.copies, 1, 1), places)
        return refined


@pytest.mark.parametrize("copies", [1, 2])
def test_in_a_decoder_step(copies: int) -> None:
    x = torch.randn(2, CHANNELS, 8, 6)
    prove(lively(OnMap(copies), x), x, MAX_UNPOOL, places=2)


@pytest.mark.parametrize("matching", ["tile", "halve"])
def test_in_the_whole_net(matching: Matching) -> None:
    class Maps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = ViTConfig(channels=32, depth=4, heads=4)
            self.net = RefinePose((64, 48), 5, config, matching)

        def forward(self, x: Tensor) -> Tensor:
            maps: Tensor = self.net(x)["heatmaps"]
            return maps

    x = torch.randn(2, 3, 64, 48)
    net = Maps()
    with torch.no_grad():
        net.net.head.weight.mul_(100)
    prove(lively(net, x), x, MAX_UNPOOL, places=5)  # three poolings, two unpoolings


def test_a_small_net_through_the_whole_export(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = RefinePose((64, 48), 17, ViTConfig(channels=32, depth=4, heads=4), "tile")
    with torch.no_grad():
        net.head.weight.mul_(100)
    decoder = DecoderSpec(name="dark", blur_kernel=5)
    spec = PoseSpec(model="tiny", input_size=(64, 48), output="heatmap", decoder=decoder)
    net = lively(net, torch.randn(4, 3, 64, 48))
    result = export_module(net, spec, tmp_path / "t.onnx", people())
    assert result.parity
    assert result.parity.keypoints > 50
    assert {r.name: r.places for r in result.rewrites}["max-unpool"] == 5
    graph = onnx.load(result.path).graph
    assert not {"ScatterND", "MaxUnpool", "Range"} & {node.op_type for node in graph.node}
    assert [len(n.output) for n in graph.node if n.op_type == "MaxPool"] == [1, 1, 1]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_the_masks_of_the_unused_pooling_leave_no_trace_in_the_graph() -> None:
    x = torch.randn(2, CHANNELS, 8, 6)

    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = MaskPool()

        def forward(self, x: Tensor) -> Tensor:
            maxima: Tensor = self.pool(x)[0]
            return maxima

    assert operators(Unused(), x) == {"MaxPool": 1}


def test_what_does_not_pool_is_left_alone() -> None:
    assert MAX_UNPOOL.apply(nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 3, 1))) == 0


def test_values_reach_their_places_whatever_they_are() -> None:
    """Infinite and negative-zero values, not only infinite maxima."""
    changed, _ = rewritten(nn.Sequential(PoolWithPlaces(), nn.Identity()), [MAX_UNPOOL])
    unpool, _ = rewritten(nn.Sequential(Unpool()), [MAX_UNPOOL])
    x = ties((1, 2, 4, 4))
    values = torch.tensor(np.array([INF, -INF, -0.0, 0.0] * 2, np.float32)).reshape(1, 2, 2, 2)
    _, places = PoolWithPlaces()(x)
    _, masks = changed[0](x)  # type: ignore[index]
    assert same_bits(unpool[0](values, masks), Unpool()(values, places))  # type: ignore[index]
