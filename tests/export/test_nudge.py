from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgepose.errors import ParityError
from edgepose.export import export_module
from edgepose.export.nudge import nudged
from edgepose.models.refinepose import RefinePose
from edgepose.models.vit import ViTConfig
from edgepose.parity import FP32, compare
from edgepose.runtime.torch import TorchRunner
from edgepose.spec import DecoderSpec, PoseSpec
from tests.export.test_pipeline import tampered
from tests.export.tiny import SIZE, TinyHeatmaps, heatmap_spec, lively, people

IMAGES = np.random.default_rng(0).normal(0, 1, (2, 3, *SIZE)).astype(np.float32)


def test_weights_move_by_one_unit_in_the_last_place_and_the_model_stays() -> None:
    module = TinyHeatmaps()
    before = {name: p.clone() for name, p in module.named_parameters()}
    seen = []
    for runner in nudged(module, heatmap_spec(), draws=2):
        for name, weight in runner.module.named_parameters():
            step = (weight - before[name]).abs()
            unit = torch.nextafter(before[name].abs(), torch.tensor(torch.inf)) - before[name].abs()
            assert bool((step <= unit).all())
        seen.append(runner.module.head.weight.clone())
    assert float((seen[0] != before["head.weight"]).float().mean()) == pytest.approx(
        2 / 3, abs=0.05
    )
    assert not torch.equal(seen[0], seen[1])
    assert all(torch.equal(p, before[name]) for name, p in module.named_parameters())


def test_the_draws_are_always_the_same() -> None:
    first, second = (
        [runner.infer(IMAGES)["heatmaps"] for runner in nudged(TinyHeatmaps(), heatmap_spec())]
        for _ in range(2)
    )
    assert len(first) == 4
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_continuous_model_hardly_sways() -> None:
    module, spec = TinyHeatmaps(), heatmap_spec()
    wrong = TinyHeatmaps()
    wrong.head.weight.data.neg_()
    with TorchRunner(module, spec) as model, TorchRunner(wrong, spec) as artefact:
        parity = compare(model, artefact, people(2), FP32, nudged(module, spec))
    assert not parity
    assert parity.nudges == 4
    assert parity.undecided == 0
    assert 0 < parity.tensors[0].sway_p99 < 1e-5


def test_where_nothing_fails_nobody_is_asked() -> None:
    module, spec = TinyHeatmaps(), heatmap_spec()
    with TorchRunner(module, spec) as model:
        parity = compare(model, model, people(2), FP32, nudged(module, spec))
    assert parity
    assert parity.nudges == 0


def small_refinepose() -> tuple[nn.Module, PoseSpec]:
    torch.manual_seed(0)
    net = RefinePose(SIZE, 17, ViTConfig(channels=32, depth=4, heads=4), "tile")
    with torch.no_grad():
        net.head.weight.mul_(100)
    decoder = DecoderSpec(name="dark", blur_kernel=5)
    spec = PoseSpec(model="tiny", input_size=SIZE, output="heatmap", decoder=decoder)
    return lively(net, torch.randn(4, 3, *SIZE)), spec


def test_neighbours_in_a_plain_image_stay_equal() -> None:
    """All windows of a plain image tie, but at its borders: order decides, never rounding."""
    module, spec = small_refinepose()
    plain = np.ones((1, 3, *SIZE), np.float32)
    with TorchRunner(module, spec) as model:
        expected = model.infer(plain)["heatmaps"]
    for runner in nudged(module, spec):
        moved = np.abs(runner.infer(plain)["heatmaps"] - expected)
        assert moved.max() < 1e-4 * np.abs(expected).max()


def test_a_broken_artefact_of_a_model_that_decides_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, spec = small_refinepose()
    tampered(monkeypatch)
    with pytest.raises(ParityError) as caught:
        export_module(module, spec, tmp_path / "t.onnx", people(4))
    assert caught.value.parity.nudges == 4


class Doubting(TinyHeatmaps):
    """Lifts the left half of the maps where two sums of the same numbers differ upwards.

    With FP64 or in another order they do not differ, or downwards: rounding decides.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = super().forward(images)["heatmaps"]
        total = images.mean((1, 2, 3), keepdim=True) * self.scale
        again = (images * self.scale).mean((3, 2, 1), keepdim=True)
        lift = torch.where(total > again, 0.9, 0.0)
        left = torch.arange(maps.shape[3]) < maps.shape[3] // 2
        return {"heatmaps": maps + lift * left}


def test_people_about_whom_the_model_doubts_are_undecided() -> None:
    module, spec = Doubting().eval(), heatmap_spec()
    wrong = Doubting().eval()
    wrong.head.weight.data.neg_()
    with TorchRunner(module, spec) as model, TorchRunner(wrong, spec) as artefact:
        parity = compare(model, artefact, people(6), FP32, nudged(module, spec, draws=8))
    assert not parity
    assert parity.undecided > 17
    assert parity.tensors[0].sway_p99 > 0.1
