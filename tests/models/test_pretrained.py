"""Whose weights a model gets, and what the spec says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgepose.errors import InputError, WeightsError
from edgepose.models import REGISTRY, build, save_weights, spec_for
from edgepose.models.pretrained import trained
from edgepose.zoo import ZooEntry
from tests.models.checkpoints import published


def saved(folder: Path, shapes: published.Shapes) -> Path:
    path = folder / "authors.pth"
    torch.save(published.filled(shapes), path)
    return path


def test_the_authors_weights_come_with_the_authors_decoder(tmp_path: Path) -> None:
    shapes = published.hrnet_shapes(32) | published.final_layer(17, 32)
    module, spec = trained("hrnet-w32", saved(tmp_path, shapes))
    authors = REGISTRY["hrnet-w32"].authors
    assert authors is not None
    assert spec.decoder == authors.decoder != spec_for("hrnet-w32").decoder
    assert spec.decoder.alignment == "corner"
    assert spec.colour == "rgb"
    assert spec.provenance.weights_sha256
    assert spec.provenance.trained_on == ""  # the file does not say
    assert not module.training


def test_some_authors_trained_on_another_channel_order(tmp_path: Path) -> None:
    authors = REGISTRY["simplebaseline-r50"].authors
    assert authors is not None
    assert authors.colour == "bgr"


def test_our_own_weights_keep_our_decoder(tmp_path: Path) -> None:
    path = tmp_path / "ours.safetensors"
    save_weights(build("hrnet-w32"), path, model="hrnet-w32", input_size=(256, 192))
    _, spec = trained("hrnet-w32", path)
    assert spec.decoder == spec_for("hrnet-w32").decoder


def test_a_damaged_checkpoint_of_the_authors_names_its_keys(tmp_path: Path) -> None:
    shapes = published.hrnet_shapes(32) | published.final_layer(17, 32)
    del shapes["conv1.weight"]
    shapes["final_layer.weight"] = (16, 32, 1, 1)
    shapes["classifier.weight"] = (1000, 2048)
    with pytest.raises(WeightsError) as caught:
        trained("hrnet-w32", saved(tmp_path, shapes))
    text = str(caught.value)
    for words in ("1 missing", "1 unexpected (classifier.weight)", "of another shape", "(16, 32"):
        assert words in text
    assert "authors" in text


@pytest.mark.parametrize(("figure", "file"), [(False, True), (True, False), (None, True)])
def test_neither_the_zoo_nor_the_file_takes_back_that_only_the_holdout_counts(
    figure: bool | None, file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "mgil-w32-32"
    path = tmp_path / "ours.safetensors"
    size = spec_for(name).input_size
    save_weights(build(name), path, model=name, input_size=size, holdout_only=file)
    figures = {} if figure is None else {"holdout_only": figure}
    entry = ZooEntry(name, size, True, path, None, path, figures)
    monkeypatch.setattr("edgepose.models.pretrained.entries", lambda: [entry])
    assert trained(name)[1].provenance.holdout_only


def test_random_weights_are_always_the_same() -> None:
    (first, _), (second, _) = (trained("mgil-w32-32", random_weights=True) for _ in range(2))
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_file_and_random_weights_exclude_each_other() -> None:
    with pytest.raises(InputError, match="not both"):
        trained("mgil-w32-32", Path("x.safetensors"), random_weights=True)


def test_without_weights_it_says_what_to_type() -> None:
    with pytest.raises(WeightsError, match="--weights FILE"):
        trained("refinepose-s")


@pytest.mark.parametrize("bins", [2, 3])
def test_the_head_of_simcc_tells_how_many_bins_a_pixel_has(tmp_path: Path, bins: int) -> None:
    """The authors have 3 at 64x64 and 2 elsewhere."""
    shapes = published.hrnet_shapes(32) | published.final_layer(17, 32)
    for axis in "xy":
        shapes |= published.linear(f"mlp_head_{axis}", 64 * bins, 16 * 16)
    module, spec = trained("simcc-w32-64", saved(tmp_path, shapes))
    assert spec.decoder.split_ratio == bins
    assert spec.decoder.alignment == "corner"
    assert module(torch.zeros(1, 3, 64, 64))["simcc_x"].shape == (1, 17, 64 * bins)


def test_the_head_of_vitpose_tells_which_decoder_it_is() -> None:
    from edgepose.models.checkpoints.vitpose import options

    simple = {"keypoint_head.final_layer.weight": (17, 384, 3, 3)}
    classic = {**simple, "keypoint_head.deconv_layers.0.weight": (384, 256, 4, 4)}
    assert options(simple, (256, 192)) == {"decoder": "simple"}
    assert options(classic, (256, 192)) == {"decoder": "classic"}
    assert options({"head.weight": (17, 384, 3, 3)}, (256, 192)) == {}
