"""Making a bundle: what PyTorch finds is in it, what cannot be made has its reason in it."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu import prepare as prepares
from benchmarks.gpu.bundle import Bundle
from benchmarks.gpu.people import StoredRunner, read_people, strips
from benchmarks.gpu.prepare import Wanted, prepare
from benchmarks.gpu.steps.accuracy import _folder
from edgepose.errors import GraphError, InputError
from edgepose.evaluate import CocoKeypoints
from edgepose.parity import FP32, compare
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.runtime.torch import TorchRunner
from tests.evaluate.folders import person, write_folder
from tests.export.tiny import TinyHeatmaps, heatmap_spec


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever model is asked for, a tiny one is made; FP16 of it is refused."""
    monkeypatch.setattr(
        prepares, "_weighted", lambda name, wanted: (TinyHeatmaps(), heatmap_spec(), "random")
    )

    def refuse(*_: object, **__: object) -> None:
        raise GraphError("it cannot be halved", "for a test")

    monkeypatch.setattr(prepares, "export_file", refuse)


def test_a_bundle_holds_what_pytorch_finds(tiny: None, tmp_path: Path) -> None:
    people = [person(10, 785, (100, 20, 50, 120)), person(20, 785, (20, 40, 70, 60))]
    coco = write_folder(tmp_path / "coco", people, {785: "000000000785.png"})
    wanted = Wanted(
        models=("mitpose-lite",), precisions=("fp32", "fp16"), people=3, coco=coco, part_mib=60
    )
    said: list[str] = []
    written = prepare(tmp_path / "bundle", wanted, "the command", said.append)
    bundle = Bundle([tmp_path / "bundle"], tmp_path / "work")
    assert bundle.manifest == written
    assert written.command == "the command"
    assert written.made_with["torch"] == importlib.metadata.version("torch")
    model = bundle.model("mitpose-lite")
    assert model.trained is False
    assert model.graphs["fp16"].words == "it cannot be halved: for a test"
    assert any("fp16 is not made" in text for text in said)
    assert model.graphs["fp32"].opset == 17
    assert model.graphs["fp32"].parity is not None
    stored = read_people(bundle.path(model.people))
    assert stored.crops.shape == (3, 64, 48, 3)
    assert len(stored.nudged) == 4
    assert model.graphs["fp32"].file is not None
    photos = strips(stored.crops, 2, model.spec)
    reference = StoredRunner(model.spec, stored.crops, stored.found)
    with OnnxRunner(bundle.path(model.graphs["fp32"].file), threads=1) as file:
        assert compare(reference, file, photos, FP32).failures == ()
    found = TorchRunner(TinyHeatmaps(), heatmap_spec())
    again = StoredRunner(model.spec, stored.crops, stored.found)
    assert compare(again, found, photos, FP32).max_px < 1e-3
    dataset = CocoKeypoints.load(_folder(bundle))
    assert (dataset.name, dataset.persons) == ("val2017", 2)
    assert dataset.sha256 == CocoKeypoints.load(coco).sha256


def test_wishes_that_cannot_be_kept_cost_no_time(tmp_path: Path) -> None:
    for wanted, told in (
        (Wanted(models=("mitpose-lite",)), "int8 needs people to calibrate on"),
        (Wanted(models=("x",), precisions=("fp32",)), "there is no model 'x'"),
        (Wanted(models=(), precisions=("fp8",)), "there is no precision 'fp8'"),
        (
            Wanted(models=(), precisions=("int8-fp16",), calibration=tmp_path),
            "TensorRT 8.6 does not read operator set 19",
        ),
        (Wanted(models=(), precisions=("fp32",), target="trt-9"), "unknown target"),
        (Wanted(models=(), precisions=("fp32",), part_mib=1), "too small"),
    ):
        with pytest.raises(InputError, match=told):
            prepare(tmp_path / "bundle", wanted, "", print)
    assert not (tmp_path / "bundle").exists()


def test_random_weights_are_exact_in_fp16_and_said_to_be_random() -> None:
    module, spec, words = prepares._weighted("mitpose-lite@64x48", Wanted(models=()))
    assert spec.input_size == (64, 48)
    assert words.startswith("random")
    assert not spec.provenance.weights_sha256
    for value in (*module.parameters(), *module.buffers()):
        if value.is_floating_point():
            assert torch.equal(value, value.half().float())
            assert np.isfinite(value.detach().numpy()).all()


def test_shipped_weights_are_taken_where_there_are_any() -> None:
    _, spec, words = prepares._weighted("mitpose-lite", Wanted(models=()))
    assert words.startswith("shipped")
    assert spec.provenance.weights_sha256
