from __future__ import annotations

from pathlib import Path

import pytest

from edgepose import zoo
from edgepose.errors import ArtefactError


@pytest.fixture
def small_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "net-a"
    folder.mkdir()
    (folder / "figures.toml").write_text(
        '[[setting]]\ninput_size = [128, 96]\ndefault = true\nweights = "a.safetensors"\n'
        'onnx = "a.onnx"\n\n[[setting]]\ninput_size = [256, 192]\nweights = "b.safetensors"\n'
    )
    monkeypatch.setattr(zoo, "zoo_folder", lambda: tmp_path)
    return tmp_path


def test_names_and_defaults(small_zoo: Path) -> None:
    assert zoo.find("net-a").input_size == (128, 96)
    assert zoo.find("net-a@256x192").weights.name == "b.safetensors"
    assert zoo.find("net-a@256x192").onnx is None
    with pytest.raises(ArtefactError, match=r"has no trained[\s\S]*did you mean net-a"):
        zoo.find("net-b")


def test_a_damaged_folder_says_which(small_zoo: Path) -> None:
    (small_zoo / "net-a" / "figures.toml").write_text("[[setting]]\nweights = 3")
    with pytest.raises(ArtefactError, match=r"net-a/figures\.toml"):
        zoo.entries()


def test_every_shipped_file_is_there_and_has_its_digest() -> None:
    shipped = zoo.entries()
    assert "mitpose-lite" in {e.model for e in shipped}
    for entry in shipped:
        assert entry.card.is_file()
        assert zoo.sha256_of(entry.weights) == entry.figures["weights_sha256"]
        if entry.onnx is not None:
            assert zoo.sha256_of(entry.onnx) == entry.figures["onnx_sha256"]


def test_one_default_a_model() -> None:
    shipped = zoo.entries()
    for model in {e.model for e in shipped}:
        assert sum(e.default for e in shipped if e.model == model) == 1


def test_the_default_model_needs_no_export() -> None:
    assert zoo.find("mitpose-lite").onnx is not None
