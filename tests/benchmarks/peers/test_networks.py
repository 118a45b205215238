from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers import networks, rtmlib_pairs, rtmpose
from edgepose.errors import InputError
from edgepose.models import parse_name


def test_every_network_has_a_promise_and_can_be_made(repo_root: Path) -> None:
    assert set(rtmlib_pairs.PROMISES) == {n.name for n in networks.NETWORKS}
    for network in networks.NETWORKS:
        if network.name != networks.GUEST:
            parse_name(network.name)
        if network.shipped is not None:
            assert (repo_root / network.shipped).is_file()


def test_the_guest_has_the_size_that_rtmpose_t_is_published_with() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(0)
    module = rtmpose.RTMPoseTiny().eval()
    assert round(sum(p.numel() for p in module.parameters()) / 1e6, 2) == 3.34
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        outputs = module(torch.randn(2, 3, 256, 192))
    assert counter.get_total_flops() / 2 / 2 / 1e9 == pytest.approx(0.36, abs=0.01)
    assert {name: tuple(v.shape) for name, v in outputs.items()} == {
        "simcc_x": (2, 17, 384),
        "simcc_y": (2, 17, 512),
    }
    # It looks at its input: else no difference between two crops would ever show.
    assert not torch.equal(outputs["simcc_x"][0].argmax(-1), outputs["simcc_x"][1].argmax(-1))


def test_networks_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repo_root: Path
) -> None:
    made: list[str] = []

    def export(name: str, out: Path, random_weights: bool) -> None:
        assert random_weights
        made.append(name)
        out.write_text(name)

    monkeypatch.setattr("edgepose.export.export_model", export)
    monkeypatch.setattr(networks, "_export_guest", lambda path: export("guest", path, True))
    networks.make_networks(tmp_path / "new")
    assert made == ["mgil-w32-32", "guest", "mitpose-lite"]
    shipped = tmp_path / "new" / "mitpose-lite@128x96.onnx"
    original = repo_root / "models" / "mitpose-lite" / "mitpose-lite-128x96.onnx"
    assert shipped.read_bytes() == original.read_bytes()
    shipped.write_bytes(b"other weights were shipped then")
    networks.make_networks(tmp_path / "new")
    assert len(made) == 3
    assert shipped.read_bytes() == original.read_bytes()
    assert networks.network_file(tmp_path / "new", "mitpose-lite").is_file()


def test_a_network_that_was_not_made_is_told_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"networks\.py"):
        networks.network_file(tmp_path, "rtmpose-t")


@pytest.mark.parametrize("peer", ["rtmlib", "onnxruntime", "ultralytics"])
def test_requirements_are_pinned_and_name_the_peer(peer: str, repo_root: Path) -> None:
    text = (repo_root / "benchmarks" / "peers" / f"{peer}.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    assert any(line.startswith(f"{peer}==") for line in lines)
