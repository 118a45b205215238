"""The committed comparison of VTTransPose: that it counts, measures and records what it says."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from edgepose.bench import Cell, Schedule, read_record
from edgepose.errors import EdgeposeError


@pytest.fixture
def script(repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    monkeypatch.delitem(sys.modules, "vttranspose_figures", raising=False)
    import vttranspose_figures

    return vttranspose_figures


def test_saved_bytes_are_each_storage_once_and_no_weights(script: ModuleType) -> None:
    """Kept are the ReLU's result, which it shares with the layer after it, and the last product.

    Not kept: the images and the weights, which are there anyway.
    """
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), nn.Sigmoid())
    assert script.saved_bytes(net, torch.zeros(32, 8)) == 4 * 32 * (16 + 4)


def test_saved_bytes_of_attention_are_what_the_formula_says(script: ModuleType) -> None:
    """Full attention keeps its (T, T) shares; the twin keeps W (H, H) and H (W, W) of them."""
    height, width, d, batch = 8, 6, script.CHANNELS, 2
    cells = height * width
    images = torch.randn(batch, height, width, d)
    full = script.saved_bytes(script.FullAttention(), images)
    twin = script.saved_bytes(script.TwinAttention(), images)
    # q (scaled), k, v and the mixture: 4 maps of d; in the twin for both axes, and the first's out.
    assert full == 4 * batch * (cells**2 + 4 * cells * d)
    shares = width * height**2 + height * width**2
    assert twin == 4 * batch * (shares + (2 * 4 + 1) * cells * d)


def test_costs_count_products_of_activations_apart(script: ModuleType) -> None:
    height, width, d = 16, 12, script.CHANNELS
    cells = height * width
    full = script.costs(script.Subject(script.FULL, 64, 48))
    twin = script.costs(script.Subject(script.LINES, 64, 48))
    assert full["params"] == 4 * d * d + d
    assert twin["params"] == 2 * full["params"]
    assert full["gmacs_of_attention_products"] == pytest.approx(2 * d * cells**2 / 1e9)
    lines = 2 * d * cells * (height + width)
    assert twin["gmacs_of_attention_products"] == pytest.approx(lines / 1e9)
    projections = (4 * d * d * cells) / 1e9
    assert full["gmacs"] - full["gmacs_of_attention_products"] == pytest.approx(projections)


def test_every_subject_is_what_its_name_says(script: ModuleType) -> None:
    counts = {n: script.costs(script.Subject(n, 256, 192)) for n in script.NETS}
    assert {n: c["params"] for n, c in counts.items()} == {
        script.BASELINE: 8_019_281,
        script.TWIN: 7_866_961,
        script.VTT: 5_831_633,
    }
    assert counts[script.BASELINE]["gmacs"] == pytest.approx(9.9289, rel=1e-4)
    assert counts[script.VTT]["gmacs"] == pytest.approx(4.9945, rel=1e-4)


@pytest.mark.parametrize("name", ["full attention", "twin attention"])
def test_the_attention_that_is_timed_computes_what_is_trained(
    script: ModuleType, name: str, tmp_path: Path
) -> None:
    subject = script.Subject(name, 32, 24)
    session = onnxruntime.InferenceSession(
        str(script.export(subject, tmp_path)), providers=["CPUExecutionProvider"]
    )
    images = torch.randn(subject.shape(3))
    (found,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        expected = subject.build().eval()(images)["out"]
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-6)


def test_a_child_measures_the_same_net_in_its_own_process(script: ModuleType) -> None:
    subject = script.Subject(script.LINES, 64, 48)
    asked = {"what": "training", "batch": 2, "threads": 1}
    found = script.in_child(asked | {"subject": vars(subject)})
    torch.manual_seed(0)
    here = script.saved_bytes(subject.build(), torch.randn(subject.shape(2))) / script.MIB
    assert found["saved_mib"] == here
    assert found["peak_mib"] > here


def test_a_child_that_dies_is_an_error(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script.sys, "executable", "/bin/false")
    with pytest.raises(EdgeposeError, match=r"ended with 1: no message\n.*memory"):
        script.in_child({"what": "training"})


def test_nets_are_trained_at_the_first_size_and_attentions_at_all(script: ModuleType) -> None:
    sizes = [(256, 192), (384, 288)]
    names = [*script.NETS, *script.ATTENTIONS]
    asked = script.trained([script.Subject(n, *size) for size in sizes for n in names])
    nets = [(s.name, s.height, s.dropout) for s in asked if s.is_net]
    assert nets == [
        (script.BASELINE, 256, 0.1),
        (script.TWIN, 256, 0.1),
        (script.VTT, 256, 0.1),
        (script.BASELINE, 256, 0.0),
        (script.VTT, 256, 0.0),
    ]
    assert sum(not s.is_net for s in asked) == 4


def test_the_record_holds_every_figure(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Session:
        def run(self, names: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            return list(feeds.values())

    def measured(
        cells: Sequence[Cell], schedule: Schedule, progress: Callable[[int, int], None]
    ) -> dict[str, np.ndarray]:
        for cell in cells:
            cell.call()
        slow = {script.BASELINE, script.FULL}
        return {c.name: np.full((3, 2), 2 if c.name.split(" 64x")[0] in slow else 1) for c in cells}

    answers = iter(range(10**6))

    def in_child(task: dict[str, Any]) -> dict[str, Any]:
        json.dumps(task)
        peak = next(answers) + {"training": 1000, "inference": 0}[task["what"]]
        return {"peak_mib": peak} | ({"saved_mib": 7.0} if task["what"] == "training" else {})

    monkeypatch.setattr(script, "measure", measured)
    monkeypatch.setattr(script, "in_child", in_child)
    monkeypatch.setattr(script, "export", lambda subject, folder: folder / "graph.onnx")
    monkeypatch.setattr(script, "open_session", lambda path, device, threads: Session())
    words = ["vttranspose_figures.py", "--size", "64x48", "--batch", "2", "--rounds", "3"]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path), "--json"])
    threads = torch.get_num_threads()
    assert script.main() == 0
    torch.set_num_threads(threads)
    record = json.loads(capsys.readouterr().out)
    (path,) = tmp_path.glob("*/vttranspose-figures_*.json")
    assert read_record(path).to_dict() == record
    assert "--size 64x48 --batch 2 --rounds 3" in record["command"]
    figures = [row["figure"] for row in record["results"]]
    assert {f: figures.count(f) for f in figures} == {
        "costs": 5,
        "training memory": 5 + 2,
        "inference memory": 5 * 2,
        "latency": 4,
    }
    first = next(r for r in record["results"] if r["figure"] == "training memory")
    assert (first["peaks_mib"], first["peak_mib"]) == ([1020, 1021], 1020.5)
    latency = [r for r in record["results"] if r["figure"] == "latency"]
    assert [row["ratio"] for row in latency] == [0.5, 0.5, 1, 0.5]
    script.Console(width=120).print(script.summary(record["results"]))
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("vttranspose", "5.8", "1020", "7"))
