from __future__ import annotations

import pytest
import torch

from edgepose.models.checkpoints.hrnet import hrnet_trunk, translate
from edgepose.models.hrnet import HRNet, hrnet
from tests.models.checkpoints import published

IMAGES = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(3))


def test_the_translated_model_computes_what_the_authors_compute() -> None:
    tensors = published.filled(published.hrnet_shapes(8) | published.final_layer(5, 8))
    model = hrnet((64, 32), 5, width=8).eval()
    model.load_state_dict(translate(tensors))
    with torch.no_grad():
        ours = model(IMAGES)["heatmaps"]
        theirs = published.final(tensors, published.hrnet_features(tensors, IMAGES))
    assert ours.shape == (2, 5, 16, 8)
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("modules", [(1, 4), (1, 4, 3)])
def test_the_trunk_may_have_three_or_four_stages(modules: tuple[int, ...]) -> None:
    tensors = published.filled(published.hrnet_shapes(4, modules)) | {
        "reduce.weight": torch.ones(1)
    }
    trunk, rest = hrnet_trunk(tensors)
    assert set(rest) == {"reduce.weight"}
    model = HRNet(4, modules).eval()
    model.load_state_dict(trunk)
    with torch.no_grad():
        ours = model(IMAGES)
        theirs = published.hrnet_features(tensors, IMAGES, modules)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_names_of_another_model_are_passed_on() -> None:
    """Those of the classifier that HRNet is pretrained as, for instance."""
    strange = [
        "incre_modules.0.0.conv1.weight",
        "layer2.0.conv1.weight",
        "stage5.0.branches.0.0.conv1.weight",
    ]
    translated = translate({name: torch.zeros(1) for name in strange})
    assert list(translated) == strange
