from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save as save_tensors
from torch import nn

from edgepose.errors import OutputError, WeightsError
from edgepose.models import build, load_weights, save_weights, weights_digest
from edgepose.models.checkpoints.hrnet import translate
from edgepose.models.hrnet import hrnet
from tests.models.checkpoints import published
from tests.models.helpers import enliven


@pytest.fixture
def lite() -> nn.Module:
    return enliven(build("mitpose-lite@32x32"))


def save(module: nn.Module, path: Path, **options: object) -> Path:
    settings = {"model": "mitpose-lite", "input_size": (32, 32), **options}
    save_weights(module, path, **settings)  # type: ignore[arg-type]
    return path


def test_round_trip_in_full(lite: nn.Module, tmp_path: Path) -> None:
    path = save(
        lite, tmp_path / "new" / "lite.safetensors", trained_on="three photos", holdout_only=True
    )
    other = build("mitpose-lite@32x32")
    assert weights_digest(other) != weights_digest(lite)
    assert load_weights(other, path) == {
        "model": "mitpose-lite",
        "input_size": "32x32",
        "trained_on": "three photos",
        "holdout_only": "true",
    }
    for name, tensor in lite.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    assert weights_digest(other) == weights_digest(lite)
    assert [p.name for p in path.parent.iterdir()] == ["lite.safetensors"]


def test_round_trip_in_half(lite: nn.Module, tmp_path: Path) -> None:
    full = save(lite, tmp_path / "full.safetensors")
    half = save(lite, tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < 0.52 * full.stat().st_size
    other = build("mitpose-lite@32x32")
    load_weights(other, half)
    for name, tensor in lite.state_dict().items():
        loaded = other.state_dict()[name]
        assert loaded.dtype == tensor.dtype
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(loaded, expected), name
    # Saving what was loaded changes nothing any more.
    again = save(other, tmp_path / "again.safetensors", half=True)
    third = build("mitpose-lite@32x32")
    load_weights(third, again)
    assert weights_digest(third) == weights_digest(other) != weights_digest(lite)


def test_a_value_beyond_fp16_stays_fp32(lite: nn.Module, tmp_path: Path) -> None:
    lite.norm.running_var[3] = 1e6
    path = save(lite, tmp_path / "lite.safetensors", half=True)
    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("norm.running_var").dtype == torch.float32
        assert file.get_tensor("norm.running_mean").dtype == torch.float16
    other = build("mitpose-lite@32x32")
    load_weights(other, path)
    assert other.norm.running_var[3] == 1e6


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_not_saved(lite: nn.Module, tmp_path: Path, value: float) -> None:
    with torch.no_grad():
        lite.head.bias[0] = value
    with pytest.raises(WeightsError, match=r"'head\.bias' holds NaN or infinity"):
        save(lite, tmp_path / "lite.safetensors")
    assert not list(tmp_path.iterdir())


def test_only_safetensors_are_written(lite: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"next: .*lite\.safetensors"):
        save(lite, tmp_path / "lite.pth")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(lite: nn.Module, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError):
        save(lite, tmp_path / "lite.safetensors")


def test_a_failed_save_leaves_the_old_file(
    lite: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(lite, tmp_path / "lite.safetensors")
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        save(enliven(lite, seed=1), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pth.tar"])
def test_a_plain_torch_file_is_read(
    lite: nn.Module, tmp_path: Path, nested: bool, suffix: str
) -> None:
    path = tmp_path / f"lite{suffix}"
    state = lite.state_dict()
    torch.save({"state_dict": state, "epoch": 3} if nested else state, path)
    other = build("mitpose-lite@32x32")
    assert load_weights(other, path) == {}
    assert weights_digest(other) == weights_digest(lite)


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


def test_a_pickle_is_refused_and_its_code_does_not_run(lite: nn.Module, tmp_path: Path) -> None:
    target, path = tmp_path / "sprung", tmp_path / "trap.pth"
    torch.save({"state_dict": lite.state_dict(), "extra": Trap(target)}, path)
    before = weights_digest(lite)
    with pytest.raises(WeightsError, match=r"refusing to open.*could run code"):
        load_weights(lite, path)
    assert not target.exists()
    assert weights_digest(lite) == before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.safetensors", None, "No such file"),
        ("missing.pth", None, "No such file"),
        ("cut.safetensors", b"\x40\0\0\0\0\0\0\0{", "cannot read weights"),
        ("empty.safetensors", b"", "cannot read weights"),
        ("text.pth", b"hello, these are no weights", "refusing to open|cannot read weights"),
        ("empty.pth", b"", "cannot read weights"),
        ("weights.npz", b"", "not .safetensors, .pth or .pt"),
    ],
)
def test_unreadable_files(
    lite: nn.Module, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        load_weights(lite, path)


def test_a_torch_file_without_tensors(lite: nn.Module, tmp_path: Path) -> None:
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="neither a state_dict"):
        load_weights(lite, tmp_path / "list.pth")


def test_weights_of_another_model_are_refused_with_names(lite: nn.Module, tmp_path: Path) -> None:
    path = save(lite, tmp_path / "lite.safetensors")
    reference = build("mitpose-lite-ref@32x32")
    before = weights_digest(reference)
    with pytest.raises(WeightsError) as caught:
        load_weights(reference, path)
    message = str(caught.value)
    assert "missing (stages.0.0.grn.gain, stages.0.0.grn.shift" in message
    assert "unexpected (blocks.0.norm_global.num_batches_tracked, " in message
    assert "of another shape (blocks.0.attention.qkv.weight (768, 256, 1, 1) instead of" in message
    assert "the file says it is mitpose-lite at 32x32" in message
    assert len(message) < 4000
    assert weights_digest(reference) == before  # nothing was half loaded


def test_another_number_of_keypoints_is_refused(lite: nn.Module, tmp_path: Path) -> None:
    path = save(lite, tmp_path / "lite.safetensors")
    with pytest.raises(WeightsError, match=r"head\.bias \(17,\) instead of \(5,\)"):
        load_weights(build("mitpose-lite@32x32", num_keypoints=5), path)


def bilinear(table: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear resampling (d, h, w) -> (d, height, width), cell centres at i + 1/2."""
    d, h, w = table.shape
    out = np.empty((d, height, width))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            y0, x0 = min(int(y), h - 2), min(int(x), w - 2)
            top = table[:, y0, x0] * (x0 + 1 - x) + table[:, y0, x0 + 1] * (x - x0)
            bottom = table[:, y0 + 1, x0] * (x0 + 1 - x) + table[:, y0 + 1, x0 + 1] * (x - x0)
            out[:, i, j] = top * (y0 + 1 - y) + bottom * (y - y0)
    return out


@pytest.mark.parametrize("name", ["mitpose-lite", "mitpose-lite-ref"])
def test_position_table_follows_the_input_size(name: str, tmp_path: Path) -> None:
    small = enliven(build(f"{name}@64x48"))
    path = save(small, tmp_path / "small.safetensors", input_size=(64, 48))
    large = build(f"{name}@96x128")
    load_weights(large, path)
    expected = bilinear(small.position[0].detach().numpy(), 6, 8)
    np.testing.assert_allclose(large.position[0].detach().numpy(), expected, atol=1e-6)
    for key, tensor in small.state_dict().items():
        if key != "position":
            assert torch.equal(large.state_dict()[key], tensor), key


def test_position_table_of_transposed_size_is_resampled_too(tmp_path: Path) -> None:
    """Same number of cells, another grid: a reshape would scramble it."""
    tall = enliven(build("mitpose-lite@64x48"))
    wide = build("mitpose-lite@48x64")
    load_weights(wide, save(tall, tmp_path / "tall.safetensors", input_size=(64, 48)))
    expected = bilinear(tall.position[0].detach().numpy(), 3, 4)
    np.testing.assert_allclose(wide.position[0].detach().numpy(), expected, atol=1e-6)


def test_digest_depends_on_names_values_and_shapes() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.load_state_dict(first.state_dict())
    assert weights_digest(first) == weights_digest(second)
    with torch.no_grad():
        second.bias[1] += 1e-3
    assert weights_digest(first) != weights_digest(second)
    assert weights_digest(nn.Sequential(first)) != weights_digest(first)


@pytest.fixture(scope="module")
def theirs() -> published.Tensors:
    """A checkpoint of HRNet, narrow, by its authors' names."""
    return published.filled(published.hrnet_shapes(4) | published.final_layer(17, 4))


def narrow() -> nn.Module:
    return hrnet((32, 32), 17, width=4)


def refused(*_: object) -> dict[str, torch.Tensor]:
    raise AssertionError("translated, though the names are the module's own")


def written(tensors: published.Tensors, path: Path) -> Path:
    if path.suffix == ".safetensors":
        path.write_bytes(save_tensors(tensors))
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_authors_names_are_translated(
    theirs: published.Tensors, tmp_path: Path, suffix: str
) -> None:
    path = written(theirs, tmp_path / f"pose_hrnet{suffix}")
    model = narrow()
    assert load_weights(model, path, translate) == {"origin": "authors"}
    state = model.state_dict()
    assert torch.equal(state["head.bias"], theirs["final_layer.bias"])
    assert torch.equal(
        state["trunk.stages.2.1.fusions.3.paths.1.0.0.weight"],
        theirs["stage4.1.fuse_layers.3.1.0.0.weight"],
    )
    assert state["trunk.stem.0.1.num_batches_tracked"] == 1000


@pytest.mark.parametrize("nested", [False, True])
def test_a_wrapped_checkpoint_without_counters(
    theirs: published.Tensors, tmp_path: Path, nested: bool
) -> None:
    """Saved on several devices by a PyTorch before 0.4.1, with or without the optimiser's state."""
    old = {
        f"module.{name}": tensor
        for name, tensor in theirs.items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save({"state_dict": old, "epoch": 210} if nested else old, tmp_path / "old.pth")
    model, modern = narrow(), narrow()
    load_weights(model, tmp_path / "old.pth", translate)
    load_weights(modern, written(theirs, tmp_path / "modern.pth"), translate)
    state = model.state_dict()
    for name, tensor in modern.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert state[name] == 0
        else:
            assert torch.equal(state[name], tensor), name


def test_without_a_translation_the_authors_names_are_refused(
    theirs: published.Tensors, tmp_path: Path
) -> None:
    path = written(theirs, tmp_path / "pose_hrnet.pth")
    with pytest.raises(WeightsError, match=r"unexpected \(conv1\.weight, bn1\.weight"):
        load_weights(narrow(), path)


def test_what_does_not_fit_after_translation_is_listed(
    theirs: published.Tensors, tmp_path: Path
) -> None:
    broken = dict(theirs)
    del broken["stage3.2.branches.1.3.bn2.weight"]
    broken["fc.weight"] = torch.zeros(3)
    broken["final_layer.weight"] = torch.zeros(17, 4, 3, 3)
    path = written(broken, tmp_path / "broken.pth")
    model = narrow()
    before = weights_digest(model)
    with pytest.raises(WeightsError) as caught:
        load_weights(model, path, translate)
    message = str(caught.value)
    assert "1 missing (trunk.stages.1.2.branches.1.3.conv2.1.weight)" in message
    assert "1 unexpected (fc.weight)" in message
    assert "head.weight (17, 4, 3, 3) instead of (17, 4, 1, 1)" in message
    assert "read as a checkpoint of the architecture's authors" in message
    assert weights_digest(model) == before


def test_own_names_are_never_translated(tmp_path: Path) -> None:
    """Whether edgepose wrote the file or another tool, plainly or on several devices."""
    model = enliven(narrow())
    state = model.state_dict()
    mine = tmp_path / "mine.safetensors"
    save_weights(model, mine, model="hrnet-w4", input_size=(32, 32))
    plain = written(state, tmp_path / "plain.pth")
    wrapped = written({f"module.{n}": t for n, t in state.items()}, tmp_path / "wrapped.pth")
    for path in (mine, plain, wrapped):
        other = narrow()
        assert "origin" not in load_weights(other, path, refused)
        assert weights_digest(other) == weights_digest(model)


def test_a_file_of_ours_for_another_model_is_not_taken_for_the_authors(
    lite: nn.Module, tmp_path: Path
) -> None:
    path = save(lite, tmp_path / "lite.safetensors")
    with pytest.raises(WeightsError, match="the file says it is mitpose-lite at 32x32"):
        load_weights(narrow(), path, refused)
