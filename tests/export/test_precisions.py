"""Other precisions through the export: judged, recorded, or not written at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import edgepose
from edgepose import zoo
from edgepose.errors import GraphError, InputError, ParityError
from edgepose.export import (
    TARGETS,
    Conversion,
    artefact,
    export_file,
    export_module,
)
from edgepose.export.metadata import read_record
from edgepose.export.precision import convert
from edgepose.export.precision.convert import PRECISIONS, Converted
from edgepose.export.precision.int8 import to_int8
from edgepose.spec import PoseSpec
from tests.export.tiny import TinyHeatmaps, heatmap_spec, people


def trained_spec() -> PoseSpec:
    """Of weights that somebody trained, so that poses are judged."""
    return heatmap_spec().with_provenance(weights_sha256="ab" * 32)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 pictures, each one person, as far as a tiny net can tell."""
    folder = tmp_path_factory.mktemp("crowd")
    photo = people(1)[0].image
    random = np.random.default_rng(0)
    for index in range(40):
        x, y = random.integers(0, 60, 2)
        cut = cv2.resize(photo[y : y + 240, x : x + 180], (48, 64))
        cv2.imwrite(str(folder / f"{index:02}.png"), cut)
    return folder


def conversion(precision: Any, crowd: Path, **more: Any) -> Conversion:
    return Conversion(precision=precision, calibration=crowd, **more)


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_it_agrees_and_says_how_it_was_made(tmp_path: Path, crowd: Path, precision: str) -> None:
    steps: list[str] = []
    result = export_module(
        TinyHeatmaps(),
        heatmap_spec(),
        tmp_path / "t.onnx",
        people(),
        conversion=conversion(precision, crowd),
        timed=lambda ours, theirs: {"ours": ours.is_file(), "theirs": theirs.is_file()},
        progress=steps.append,
    )
    assert result.parity
    assert result.precision == precision
    assert any(step.startswith("comparing") and "before" in step for step in steps)
    record = read_record(onnx.load(result.path))
    assert record["precision"] == precision
    assert record["parity"]["passed"] is True
    assert record["calibration"]["people"] == 40
    assert record["speed"] == {"ours": True, "theirs": True}
    assert bool(record["kept"]) == precision.startswith("int8")  # the head stays
    with edgepose.load(result.path) as pose:
        assert pose.spec == heatmap_spec()
        photo = people(2)[0]
        assert len(pose(photo.image, photo.boxes)) == len(photo.boxes)
    operators = {node.op_type for node in onnx.load(result.path).graph.node}
    assert ("QuantizeLinear" in operators) == precision.startswith("int8")
    assert result.opset == (19 if precision == "int8-fp16" else 18)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_trained_weights_find_the_same_poses(tmp_path: Path, shared: Path, precision: Any) -> None:
    shipped = zoo.find("mitpose-lite").onnx
    assert shipped is not None
    folder = shared / "data" / "train" / "coco_val2017_rest"
    # QuantizeLinear takes FP16 from operator set 19 on; the shipped file is of 18.
    if precision == "int8-fp16":
        with pytest.raises(GraphError, match="19"):
            export_file(shipped, conversion(precision, folder, crops=32), tmp_path)
        return
    result = export_file(shipped, conversion(precision, folder, crops=32), tmp_path)
    assert result.parity
    assert result.parity.limits.poses
    assert result.size_bytes < 0.6 * shipped.stat().st_size


def test_random_weights_are_judged_by_their_tensors(tmp_path: Path) -> None:
    result = export_module(
        TinyHeatmaps(),
        heatmap_spec(),
        tmp_path / "t.onnx",
        people(2),
        conversion=Conversion(precision="fp16"),
    )
    assert not result.parity.limits.poses
    assert "random weights" in result.parity.verdict


def tampered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the conversion turn the sign of the largest weight."""
    honest = artefact.convert

    def dishonest(*arguments: Any) -> Converted:
        made = honest(*arguments)
        weight = max(made.model.graph.initializer, key=lambda i: np.prod(i.dims))
        weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
        return made

    monkeypatch.setattr(artefact, "convert", dishonest)


@pytest.mark.parametrize("bisect", [False, True])
def test_a_wrong_conversion_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bisect: bool
) -> None:
    tampered(monkeypatch)
    with pytest.raises(ParityError, match="nothing was written") as caught:
        export_module(
            TinyHeatmaps(),
            trained_spec(),
            tmp_path / "t.onnx",
            people(),
            conversion=Conversion(precision="fp16"),
            bisect=bisect,
        )
    assert ("it leaves the graph at" in str(caught.value)) is bisect
    assert ("add --bisect" in str(caught.value)) is not bisect
    assert not caught.value.parity
    assert left_in(tmp_path) == []


def test_a_graph_that_is_wrong_already_is_not_blamed_on_the_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.export import test_pipeline

    test_pipeline.tampered(monkeypatch)
    with pytest.raises(ParityError, match="a fault of the export"):
        export_module(
            TinyHeatmaps(),
            trained_spec(),
            tmp_path / "t.onnx",
            people(),
            conversion=Conversion(precision="fp16"),
        )


def test_the_target_reads_the_converted_graph(tmp_path: Path, crowd: Path) -> None:
    def exported(target: str, precision: str) -> Any:
        return export_module(
            TinyHeatmaps(),
            heatmap_spec(),
            tmp_path / "t.onnx",
            people(2),
            target=TARGETS[target],
            conversion=conversion(precision, crowd),
        )

    assert exported("trt-10", "int8-fp16").lint
    assert exported("trt-8.6", "int8").opset == 17
    with pytest.raises(InputError, match=r"operator set 19[\s\S]*--precision int8,"):
        exported("trt-8.6", "int8-fp16")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    folder = tmp_path / "plain"
    return export_module(TinyHeatmaps(), heatmap_spec(), folder / "tiny.onnx", people(2)).path


def test_a_file_becomes_another_beside_it(plain: Path, crowd: Path) -> None:
    result = export_file(plain, conversion("int8", crowd))
    assert left_in(plain.parent) == ["tiny-int8-trt.onnx", "tiny.onnx"]
    other = export_file(plain, conversion("int8", crowd, form="onnxruntime"))
    assert other.path.name == "tiny-int8.onnx"
    assert result.parity
    with pytest.raises(InputError, match="int8 already"):
        export_file(result.path, Conversion(precision="fp16"))


def test_a_file_is_never_replaced_by_its_conversion(plain: Path) -> None:
    before = plain.read_bytes()
    with pytest.raises(InputError, match="own conversion"):
        export_file(plain, Conversion(precision="fp16"), plain)
    assert plain.read_bytes() == before


def test_modelopt_quantises_where_it_is_named(
    plain: Path, crowd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def quantise(model: onnx.ModelProto, images: Any, python: Path) -> Any:
        asked.append(python)
        return to_int8(model, images)

    monkeypatch.setattr(convert, "modelopt_int8", quantise)
    assert export_file(plain, conversion("int8", crowd, modelopt_python="/there/python")).parity
    assert asked == [Path("/there/python")]


def test_people_that_mix_are_found_in_eight_bits_too() -> None:
    class Mixing:
        spec = replace(heatmap_spec())

        def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
            maps = images[:, :1, ::4, ::4].repeat(17, 1)  # (B, 17, 16, 12)
            return {"heatmaps": maps - maps.mean(0, keepdims=True)}

    with pytest.raises(GraphError, match="mixes people"):
        artefact._check_batches(Mixing(), people(3), exact=False)  # type: ignore[arg-type]


def test_settings_that_make_no_sense(crowd: Path) -> None:
    with pytest.raises(InputError, match="no precision 'fp8'"):
        Conversion(precision="fp8")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="for INT8 alone"):
        Conversion(precision="fp16", sensitivity=True)
    with pytest.raises(InputError, match="for TensorRT alone"):
        conversion("int8", crowd, form="onnxruntime", modelopt_python="python")
    with pytest.raises(InputError, match="own quantising"):
        conversion("int8", crowd, sensitivity=True, modelopt_python="python")
    with pytest.raises(InputError, match="never free"):
        conversion("int8", crowd, max_ap_drop=0.0)
