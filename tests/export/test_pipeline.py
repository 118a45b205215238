from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

import edgepose
from edgepose import zoo
from edgepose.errors import GraphError, InputError, OutputError, ParityError, WeightsError
from edgepose.export import export_model, export_module, graph, pipeline
from edgepose.models import build, save_weights, weights_digest
from edgepose.spec import DecoderSpec, PoseSpec, Provenance
from tests.export.tiny import SIZE, TinyHeatmaps, TinySimCC, heatmap_spec, people, simcc_spec


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_result_and_steps(tmp_path: Path) -> None:
    steps: list[str] = []
    out = tmp_path / "new" / "tiny.onnx"
    result = export_module(
        TinyHeatmaps(), heatmap_spec(), out, people(), opset=17, progress=steps.append
    )
    assert left_in(out.parent) == ["tiny.onnx"]
    assert [s.split()[0] for s in steps] == ["tracing", "comparing"]
    data = result.to_dict()
    assert data["artefact"] == str(out)
    assert data["parity"]["passed"] is True
    assert data["opset"] == 17
    assert PoseSpec.from_dict(data["spec"]) == heatmap_spec()


@pytest.mark.parametrize("kind", ["heatmaps", "simcc"])
def test_folded(tmp_path: Path, kind: str) -> None:
    module, spec = (
        (TinyHeatmaps(), heatmap_spec()) if kind == "heatmaps" else (TinySimCC(), simcc_spec())
    )
    result = export_module(module, spec, tmp_path / "f.onnx", people(), fold_io=True)
    assert result.parity.max_px < 0.01
    with edgepose.load(result.path) as pose:
        assert pose.spec.output == "keypoints"
        photo = people(3)[0]
        assert len(pose(photo.image, photo.boxes)) == len(photo.boxes)


def test_the_module_stays_as_it_was(tmp_path: Path) -> None:
    module = TinyHeatmaps()
    before = weights_digest(module)
    export_module(module, heatmap_spec(), tmp_path / "t.onnx", people())
    assert weights_digest(module) == before


class MixesPeople(TinyHeatmaps):
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = super().forward(images)["heatmaps"]
        return {"heatmaps": maps - 0.5 * maps.mean(0, keepdim=True)}


def test_a_graph_that_mixes_people_is_found(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="mixes people"):
        export_module(MixesPeople(), heatmap_spec(), tmp_path / "t.onnx", people())
    assert left_in(tmp_path) == []


def tampered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make tracing return a graph whose largest weight is of the other sign."""
    honest = graph.trace

    def dishonest(*arguments: Any, **options: Any) -> onnx.ModelProto:
        model = honest(*arguments, **options)
        weight = max(model.graph.initializer, key=lambda i: np.prod(i.dims))
        weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
        return model

    monkeypatch.setattr(graph, "trace", dishonest)


def test_other_poses_leave_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tampered(monkeypatch)
    with pytest.raises(ParityError, match="does not find the poses") as caught:
        export_module(TinyHeatmaps(), heatmap_spec(), tmp_path / "t.onnx", people())
    assert caught.value.exit_code == 3
    assert not caught.value.parity
    assert left_in(tmp_path) == []


def test_an_older_file_outlives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "t.onnx"
    out.write_bytes(b"older")
    tampered(monkeypatch)
    with pytest.raises(ParityError):
        export_module(TinyHeatmaps(), heatmap_spec(), out, people())
    assert out.read_bytes() == b"older"
    assert left_in(tmp_path) == ["t.onnx"]


@pytest.mark.parametrize("when", ["tracing", "comparing"])
def test_an_interruption_leaves_nothing(tmp_path: Path, when: str) -> None:
    def interrupt(step: str) -> None:
        if step.startswith(when):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_module(
            TinyHeatmaps(), heatmap_spec(), tmp_path / "t.onnx", people(), progress=interrupt
        )
    assert left_in(tmp_path) == []


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"t\.onnx[\s\S]*No space left"):
        export_module(TinyHeatmaps(), heatmap_spec(), tmp_path / "t.onnx", people())
    assert left_in(tmp_path) == []


def test_an_unwritable_place_fails_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    steps: list[str] = []
    with pytest.raises(OutputError):
        export_module(
            TinyHeatmaps(),
            heatmap_spec(),
            tmp_path / "file" / "t.onnx",
            people(),
            progress=steps.append,
        )
    assert steps == []


# From a name: weights and their provenance, without tracing.


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What export_model hands on to export_module."""
    seen: dict[str, Any] = {}

    def keep(
        module: nn.Module, spec: PoseSpec, out: Path, photos: list[Any], **options: Any
    ) -> None:
        seen.update(module=module, spec=spec, out=out, photos=photos, **options)

    monkeypatch.setattr(pipeline, "export_module", keep)
    return seen


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "lite.safetensors"
    module = build("mitpose-lite@64x48")
    save_weights(
        module, path, model="mitpose-lite", input_size=(64, 48), trained_on="12 ants", half=True
    )
    return path


@pytest.fixture
def empty_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "zoo"
    folder.mkdir()
    monkeypatch.setattr(zoo, "zoo_folder", lambda: folder)
    return folder


def test_weights_bring_their_size_and_their_history(caught: dict[str, Any], weights: Path) -> None:
    export_model("mitpose-lite", weights)
    spec = caught["spec"]
    assert spec.input_size == (64, 48)
    assert spec.provenance == Provenance(
        weights_sha256=weights_digest(caught["module"]), trained_on="12 ants"
    )
    assert caught["out"] == Path("mitpose-lite.onnx")
    assert not caught["module"].training
    assert next(caught["module"].parameters()).dtype == torch.float32


def test_the_size_in_the_name_wins(caught: dict[str, Any], weights: Path) -> None:
    export_model("mitpose-lite@128x96", weights)
    assert caught["spec"].input_size == (128, 96)


def test_the_zoo_gives_weights_size_and_figures(
    caught: dict[str, Any], weights: Path, empty_zoo: Path
) -> None:
    folder = empty_zoo / "mitpose-lite"
    folder.mkdir()
    weights.rename(folder / "w.safetensors")
    (folder / "figures.toml").write_text(
        '[[setting]]\ninput_size = [64, 48]\ndefault = true\nweights = "w.safetensors"\n'
        'holdout_only = true\nmeasured = [{ap = 12.5, ar = 20.0, protocol = "528 persons"}]\n'
    )
    export_model("mitpose-lite")
    provenance = caught["spec"].provenance
    assert caught["spec"].input_size == (64, 48)
    assert provenance.holdout_only
    assert provenance.measured[0].ap == 12.5
    assert provenance.trained_on == "12 ants"


def test_no_weights_are_never_random_by_accident(empty_zoo: Path) -> None:
    with pytest.raises(WeightsError, match=r"no trained weights[\s\S]*--weights FILE[\s\S]*--rand"):
        export_model("simcc-w32-32")


def test_random_weights_on_request_are_always_the_same(caught: dict[str, Any]) -> None:
    digests = []
    for _ in range(2):
        export_model("mitpose-lite@64x48", random_weights=True)
        digests.append(weights_digest(caught["module"]))
    assert digests[0] == digests[1]
    assert caught["spec"].provenance == Provenance()


def test_weights_of_another_model(weights: Path) -> None:
    with pytest.raises(WeightsError, match=r"do not fit[\s\S]*it is mitpose-lite"):
        export_model("mitpose-lite-ref", weights)


def test_weights_that_fit_but_belong_to_another_model(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    module = build("simcc-w32-32")
    save_weights(module, path, model="simcc-w32-64", input_size=(32, 32))
    with pytest.raises(WeightsError, match=r"another model[\s\S]*simcc-w32-64"):
        export_model("simcc-w32-32", path)


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("executed",)


def test_pickled_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.pth"
    torch.save({"state_dict": Payload()}, path)
    with pytest.raises(WeightsError, match="refusing"):
        export_model("mitpose-lite@64x48", path)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"", b"not a tensor file"])
def test_missing_or_corrupt_weights(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        export_model("mitpose-lite@64x48", path)


def test_unknown_model() -> None:
    with pytest.raises(InputError, match="did you mean mitpose-lite"):
        export_model("mitpose-lit")


def test_operator_set_out_of_range() -> None:
    with pytest.raises(InputError, match="17 to 20"):
        export_model("mitpose-lite", opset=12)


def test_an_empty_folder_of_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no picture"):
        export_model("mitpose-lite@64x48", random_weights=True, images=tmp_path)


def test_where_it_is_written(caught: dict[str, Any], tmp_path: Path) -> None:
    export_model("mitpose-lite@64x48", random_weights=True, out=tmp_path)
    assert caught["out"] == tmp_path / "mitpose-lite.onnx"
    with pytest.raises(InputError, match=r"must end in \.onnx"):
        export_model("mitpose-lite@64x48", random_weights=True, out=tmp_path / "x.pb")


def test_a_spec_that_contradicts_the_module(tmp_path: Path) -> None:
    spec = PoseSpec(model="t", input_size=SIZE, output="simcc", decoder=DecoderSpec(name="simcc"))
    with pytest.raises(edgepose.EdgeposeError, match="simcc_x"):
        export_module(TinyHeatmaps(), spec, tmp_path / "t.onnx", people())
    assert left_in(tmp_path) == []
