from __future__ import annotations

import torch

from edgepose.export.rewrites import rewritten
from edgepose.export.rewrites.sine import SINE, ConstantMapEncoder
from edgepose.models.sine import sine_table
from edgepose.models.transpose import MapEncoder
from tests.export.rewrites.proof import operators, prove
from tests.export.tiny import lively

GRID = (6, 4)


def test_in_an_encoder() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 16, *GRID)
    encoder = lively(MapEncoder(16, GRID, depth=2, heads=1, hidden=24, dropout=0.1), x)
    changed = prove(encoder, x, SINE, places=1)
    with torch.no_grad():
        assert torch.equal(changed(x), encoder(x))
    operators(changed, x)  # the graph computes the same


def test_nothing_is_left_to_do_with_the_table_when_the_net_runs() -> None:
    """Every layer adds the constant itself; the model turns its map into tokens each time."""
    x = torch.randn(2, 16, *GRID)
    encoder = MapEncoder(16, GRID, depth=2, heads=1, hidden=24, dropout=0.0).eval()
    changed, _ = rewritten(torch.nn.Sequential(encoder), [SINE])

    def readers(module: torch.nn.Module) -> set[str]:
        graph = torch.export.export(module, (x,)).graph
        tables = [n for n in graph.nodes if n.op == "placeholder" and "position" in n.name]
        assert len(tables) == 1
        return {user.name.partition("_")[0] for user in tables[0].users}

    assert readers(encoder) == {"flatten"}
    assert readers(changed) == {"add"}


def test_the_constant_is_the_table_in_the_tokens_order() -> None:
    changed = ConstantMapEncoder(MapEncoder(8, GRID, depth=1, heads=1, hidden=8, dropout=0.0))
    table = sine_table(8, *GRID)
    assert list(dict(changed.named_buffers())) == ["position"]
    assert changed.position.is_contiguous()
    for cell in range(24):
        assert torch.equal(changed.position[0, cell], table[0, :, cell // 4, cell % 4])
