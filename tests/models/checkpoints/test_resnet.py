from __future__ import annotations

import torch

from edgepose.models.checkpoints.resnet import translate
from edgepose.models.simplebaseline import simplebaseline
from tests.models.checkpoints import published


def test_the_translated_model_computes_what_the_authors_compute() -> None:
    tensors = published.filled(published.resnet50_shapes() | published.final_layer(5, 256))
    model = simplebaseline((64, 32), 5).eval()
    model.load_state_dict(translate(tensors))
    images = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        ours = model(images)["heatmaps"]
        theirs = published.final(tensors, published.resnet50_features(tensors, images))
    assert ours.shape == (2, 5, 16, 8)
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_names_of_another_model_are_passed_on() -> None:
    """A fourth transposed convolution, or the classifier that ResNet is pretrained as."""
    strange = ["deconv_layers.9.weight", "fc.weight", "layer5.0.conv1.weight"]
    assert list(translate({name: torch.zeros(1) for name in strange})) == strange
