from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgepose.errors import InputError
from edgepose.models import load_weights, save_weights
from edgepose.models.catalogue.vttranspose import MODELS
from edgepose.models.encoder import Attention
from edgepose.models.hrnet import HRNet
from edgepose.models.residual import BasicBlock
from edgepose.models.vttranspose import (
    AxisAttention,
    TwinLayer,
    VBlock,
    asymmetric,
    v_width,
    vttranspose,
)
from tests.models.helpers import count_macs, count_params, enliven, largest

ENTRY = MODELS["vttranspose"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def tiny(size: tuple[int, int] = (32, 32), **options: Any) -> nn.Module:
    """Everything that the whole model has, at an eighth of its width."""
    return vttranspose(size, 17, **{"width": 8, "channels": 16, **options})


@pytest.mark.parametrize(
    ("options", "params", "gmacs"),
    [
        ({}, ENTRY.params, ENTRY.gmacs),
        ({"v_branch": None}, 7_866_961, 5.3880),
        ({"channels": 96}, 6_045_169, 5.7237),
        ({"depth": 6}, 5_917_137, 5.3413),
    ],
)
def test_costs(options: dict[str, Any], params: int, gmacs: float) -> None:
    with torch.device("meta"):
        model = vttranspose((256, 192), 17, **options)
    assert count_params(model) == params
    assert count_macs(model, 1, 3, 256, 192) == pytest.approx(gmacs * 1e9, rel=1e-4)


def test_costs_of_the_parts() -> None:
    with torch.device("meta"):
        model = vttranspose((256, 192), 17)
        block, layer = VBlock(128), TwinLayer(64, 1)
    assert v_width(128) == 52
    assert count_params(block) == 26_624 + 416 + 7 * (6 * 52**2 + 104) + 26_624 + 256 == 168_216
    assert count_params(layer) == 42_752
    assert count_params(model.trunk) == 5_650_304
    assert [p.shape for p in (model.encoder.column_table, model.encoder.row_table)] == [
        (1, 64, 64, 1),
        (1, 64, 1, 48),
    ]


def test_the_trunk_takes_other_blocks_by_stage_and_branch() -> None:
    asked: list[tuple[int, int, int]] = []

    def make(channels: int, *, stage: int, branch: int) -> nn.Module:
        asked.append((stage, branch, channels))
        return nn.Identity()

    trunk = HRNet(8, (1, 4), make_block=make)
    assert not [m for m in trunk.modules() if isinstance(m, BasicBlock)]
    branches = [(2, 0, 8), (2, 1, 16), (3, 0, 8), (3, 1, 16), (3, 2, 32)]
    assert set(asked) == set(branches)
    assert [asked.count(b) for b in branches] == [4, 4, 16, 16, 16]


@pytest.mark.parametrize("branch", [0, 2])
def test_v_blocks_stand_on_one_branch_of_the_last_stage(branch: int) -> None:
    trunk = tiny(v_branch=branch).trunk
    blocks = {name: m for name, m in trunk.named_modules() if isinstance(m, VBlock)}
    assert set(blocks) == {
        f"stages.1.{module}.branches.{branch}.{i}" for module in range(4) for i in range(4)
    }
    # Stage 2 has 2 branches; stage 3 has 3, of which one has none.
    basic = [m for m in trunk.modules() if isinstance(m, BasicBlock)]
    assert len(basic) == 4 * (2 + 4 * 2)
    width = 8 * 2**branch * 26 // 64
    assert {m.split[0].out_channels for m in blocks.values()} == {4 * width}


def test_a_branch_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="branch 3 cannot have V blocks"):
        tiny(v_branch=3)


def field(block: VBlock, result: int, part: int, size: int = 33) -> tuple[int, int]:
    """(height, width) of what one cell of y_result sees of a_part, by its gradient.

    Every weight is positive and every value too, so that no ReLU and no cancellation hides a path.
    """
    shape = (1, block.there[0][0].in_channels, size, size)
    parts = tuple(torch.ones(shape, requires_grad=True) for _ in range(4))
    block.windows(parts)[result - 1][..., size // 2, size // 2].sum().backward()
    gradient = parts[part - 1].grad
    if gradient is None:
        return 0, 0
    seen = gradient[0].sum(0) > 0
    rows, columns = seen.any(1), seen.any(0)
    assert seen[rows][:, columns].all()  # one rectangle without holes
    return int(rows.sum()), int(columns.sum())


def test_the_windows_are_those_of_table_1() -> None:
    block = VBlock(16, 3).eval()
    for parameter in block.parameters():
        nn.init.constant_(parameter, 0.1)
    found = {(r, p): field(block, r, p) for r in range(1, 5) for p in range(1, 5)}
    assert all(height == width for height, width in found.values())
    widest = [max(found[r, p][0] for p in range(1, 5)) for r in range(1, 5)]
    assert widest == [15, 13, 11, 9]
    narrowest = [min(found[r, p][0] for p in range(1, 5) if found[r, p][0]) for r in range(1, 5)]
    assert narrowest == [9, 7, 5, 3]  # not the table's, see the block's docstring
    # From each part there are 5 - p units to f_4 and 4 - r back; each sees a cell more a side.
    assert all(found[r, p][0] == 1 + 2 * (5 - p + 4 - r) for r, p in found)


def dense(unit: nn.Sequential) -> Tensor:
    """The 3x3 kernel of a 3x1 and a 1x3 convolution in a row."""
    tall, wide = unit[0].weight[..., 0], unit[1].weight[..., 0, :]  # (m, i, 3), (o, m, 3)
    return torch.einsum("omc,mir->oirc", wide, tall)


def test_unit_a_is_one_3x3_convolution_of_low_rank() -> None:
    unit = enliven(asymmetric(5)).eval()
    x = torch.randn(2, 5, 7, 6)
    expected = F.relu(unit[2](F.conv2d(x, dense(unit), padding=1)))
    torch.testing.assert_close(unit(x), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_v_block_is_the_equation() -> None:
    block = enliven(VBlock(16, 3)).eval()
    x = torch.randn(2, 16, 9, 7)

    def unit(module: nn.Sequential, value: Tensor) -> Tensor:
        return F.relu(module[2](F.conv2d(value, dense(module), padding=1)))

    conv, norm = block.split[0], block.split[1]
    a = F.relu(norm(torch.einsum("oi,bihw->bohw", conv.weight[..., 0, 0], x)))
    a1, a2, a3, a4 = a[:, 0:3], a[:, 3:6], a[:, 6:9], a[:, 9:12]
    f1 = unit(block.there[0], a1)
    f2 = unit(block.there[1], a2 + f1)
    f3 = unit(block.there[2], a3 + f2)
    y4 = unit(block.there[3], a4 + f3)
    y3 = unit(block.back[0], f3 + y4)
    y2 = unit(block.back[1], f2 + y3)
    y1 = unit(block.back[2], f1 + y2)
    conv, norm = block.merge[0], block.merge[1]
    y = torch.cat([y1, y2, y3, y4], dim=1)
    merged = norm(torch.einsum("oi,bihw->bohw", conv.weight[..., 0, 0], y))
    torch.testing.assert_close(block(x), F.relu(x + merged), rtol=1e-4, atol=1e-5)
    assert largest(merged) > 0.1  # or the skip alone would pass


def test_a_fresh_v_block_adds_nothing_yet() -> None:
    x = torch.randn(2, 16, 5, 4)
    assert torch.equal(VBlock(16)(x), F.relu(x))


def attend(attention: AxisAttention, line: Tensor) -> Tensor:
    """Attention among the cells (T, d) of one line, head by head and cell by cell."""
    cells, channels = line.shape
    size = channels // attention.heads
    key, value = attention.kv.weight.chunk(2)
    q, k, v = line @ attention.q.weight.T, line @ key.T, line @ value.T
    out = torch.zeros_like(line)
    for head in range(attention.heads):
        mine = slice(head * size, (head + 1) * size)
        for cell in range(cells):
            likeness = torch.stack([q[cell, mine] @ k[o, mine] for o in range(cells)])
            weights = (likeness / size**0.5).exp()
            weights = weights / weights.sum()
            out[cell, mine] = sum(weights[o] * v[o, mine] for o in range(cells))
    return out @ attention.project.weight.T + attention.project.bias


@pytest.mark.parametrize("heads", [1, 2])
@torch.no_grad()
def test_twin_attention_line_by_line(heads: int) -> None:
    x = torch.randn(2, 5, 3, 8)  # (B, H, W, d)
    column = enliven(AxisAttention(8, heads, "column"))
    row = enliven(AxisAttention(8, heads, "row"))
    by_column, by_row = torch.zeros_like(x), torch.zeros_like(x)
    for item in range(2):
        for i in range(3):
            by_column[item, :, i] = attend(column, x[item, :, i])
        for i in range(5):
            by_row[item, i] = attend(row, x[item, i])
    torch.testing.assert_close(column(x), by_column, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(row(x), by_row, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_layer_is_the_equation() -> None:
    layer = enliven(TwinLayer(8, 1)).eval()
    x = torch.randn(2, 5, 3, 8)
    column_table, row_table = torch.randn(1, 8, 5, 1), torch.randn(1, 8, 1, 3)

    def normed(norm: nn.LayerNorm, value: Tensor) -> Tensor:
        centred = value - value.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt()
        return scaled * norm.weight + norm.bias

    def separable(pair: nn.Module, value: Tensor) -> Tensor:
        padded = F.pad(value, (0, 0, 1, 1, 1, 1))  # (B, H + 2, W + 2, d)
        shifted = sum(
            padded[:, i : i + 5, j : j + 3] * pair.depthwise.weight[:, 0, i, j]
            for i in range(3)
            for j in range(3)
        )
        return shifted @ pair.pointwise.weight[..., 0, 0].T + pair.pointwise.bias

    tall = column_table[0, :, :, 0].T[None, :, None]  # (1, H, 1, d): by row of the map
    wide = row_table[0, :, 0].T[None, None]  # (1, 1, W, d): by its column
    x1 = normed(layer.column_norm, x + layer.column(x + tall))
    x2 = normed(layer.row_norm, x1 + layer.row(x1 + wide))
    hidden = separable(layer.convs[0], x2)
    hidden = torch.where(hidden > 0, hidden, 0.01 * hidden)
    x3 = normed(layer.convs_norm, x2 + separable(layer.convs[2], hidden))
    found = layer(x, column_table, row_table)
    torch.testing.assert_close(found, x3, rtol=1e-4, atol=1e-4)


def test_a_cell_sees_the_whole_map_after_one_layer() -> None:
    """Column, then row: what a row's cells gathered from their columns reaches every cell of it."""
    layer = enliven(TwinLayer(8, 1)).double().eval()
    x = torch.randn(1, 6, 5, 8, dtype=torch.double, requires_grad=True)
    tables = torch.zeros(1, 8, 6, 1).double(), torch.zeros(1, 8, 1, 5).double()
    seen = []
    by_axis = (layer.column(x), layer.row(x), layer(x, *tables))
    for out in by_axis:
        (gradient,) = torch.autograd.grad(out[0, 2, 3].square().sum(), x)
        seen.append(gradient[0].abs().sum(-1) > 0)  # (H, W)
    column, row, both = seen
    assert column[:, 3].all()
    assert int(column.sum()) == 6
    assert row[2].all()
    assert int(row.sum()) == 5
    assert both.all()


GRIDS = [(16, 12), (32, 24), (64, 48), (96, 72)]


def products(module: nn.Module, x: Tensor) -> tuple[int, int]:
    """Multiply-adds in products of activations, and in all."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(x)
    counts = counter.get_flop_counts()["Global"]
    return counts[torch.ops.aten.bmm] // 2, counter.get_total_flops() // 2


def test_attention_by_lines_costs_the_sum_of_the_sides_not_their_product() -> None:
    """d (W H^2 + H W^2), twice, against d (H W)^2, twice, counted on four maps."""
    d = 64
    with torch.device("meta"):
        twin = [AxisAttention(d, 1, "column"), AxisAttention(d, 1, "row")]
        full = Attention(d, 1, bias=False)
        for height, width in GRIDS:
            cells = height * width
            costs = [products(axis, torch.empty(1, height, width, d)) for axis in twin]
            assert [c for c, _ in costs] == [2 * d * cells * height, 2 * d * cells * width]
            assert [a - c for c, a in costs] == [4 * d**2 * cells] * 2  # q, k, v and out
            over_all, total = products(full, torch.empty(1, cells, d))
            assert over_all == 2 * d * cells**2
            assert total - over_all == 4 * d**2 * cells
            share = sum(c for c, _ in costs) / over_all
            assert share == pytest.approx((height + width) / cells, rel=1e-12)
    assert share == pytest.approx(0.0243, abs=1e-4)  # 1/41 at 384x288


def test_tables_follow_the_input_size(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    source, target = tiny((32, 32)), tiny((64, 48))
    save_weights(source, path, model="vttranspose", input_size=(32, 32))
    load_weights(target, path)
    for name, size in (("column_table", (16, 1)), ("row_table", (1, 12))):
        table = getattr(source.encoder, name)
        expected = F.interpolate(table, size=size, mode="bilinear", align_corners=False)
        assert torch.equal(getattr(target.encoder, name), expected)
    assert torch.equal(source.head.weight, target.head.weight)


def test_an_item_does_not_depend_on_its_batch() -> None:
    model = enliven(tiny((32, 48))).eval()
    images = torch.randn(3, 3, 32, 48)
    with torch.no_grad():
        together, alone = model(images)["heatmaps"], model(images[1:2])["heatmaps"]
    assert together.shape == (3, 17, 8, 12)
    assert together.std() > 1e-3  # a dead net would agree with itself
    assert largest(together[1:2] - alone) < 1e-4 * largest(together)


@pytest.mark.parametrize("fill", [torch.randn, torch.zeros])
def test_gradients_reach_every_parameter_and_are_finite(fill: Any) -> None:
    model = tiny()
    assert model.training
    (model(fill(4, 3, 32, 32))["heatmaps"] - 1).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_dropout_is_for_training_only() -> None:
    layer = TwinLayer(16, 1, dropout=0.5)
    x, tables = torch.randn(1, 6, 5, 16), (torch.zeros(1, 16, 6, 1), torch.zeros(1, 16, 1, 5))
    assert not torch.equal(layer(x, *tables), layer(x, *tables))
    layer.eval()
    assert torch.equal(layer(x, *tables), layer(x, *tables))
