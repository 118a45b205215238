"""The parts of a worker that run in its process, here in this one."""

from __future__ import annotations

import io
import json
import logging
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.bench import accuracy, sample_scene
from edgepose.bench.worker import Request, footprint, opening
from edgepose.bench.worker.child import Desk
from edgepose.bench.worker.contender import Contender
from edgepose.bench.worker.footprint import Footprint
from edgepose.bench.worker.onnx_facts import onnx_facts
from edgepose.errors import DeviceError, EdgeposeError, InputError, LintError, WeightsError
from edgepose.estimator import Estimator
from edgepose.runtime.cuda.base import CudaError
from edgepose.spec import RECORD_KEY
from edgepose.trt.gpu import Gpu
from tests.bench.workers import opened
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec, write_tiny_onnx

ONNX = Request(label="tiny", artefact="tiny.onnx", kind="onnx")


class TimedRunner(FakeRunner):
    def infer_timed(self, images: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
        return self.infer(images), 0.25


def contender(runner: FakeRunner | None = None, **facts: Any) -> Contender:
    runner = runner or FakeRunner(heatmap_spec(), brightness_maps)
    return Contender(Estimator(runner), sample_scene(), Footprint("cpu"), opened(**facts))


# --- what an ONNX file says of itself ---


def test_precision_and_record_of_an_onnx_file(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def graph_of(kind: type, *operators: str) -> Path:
        weight = numpy_helper.from_array(np.ones((3, 300), kind), "weight")
        nodes = [helper.make_node(name, ["x", "weight"], [f"y{name}"]) for name in operators]
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 300])
        model = helper.make_model(helper.make_graph(nodes, "g", [value], [], [weight]))
        helper.set_model_props(model, {RECORD_KEY: '{"opset": 18}', "other": "x" * 300})
        onnx.save(model, tmp_path / "a.onnx")
        return tmp_path / "a.onnx"

    assert onnx_facts(graph_of(np.float32, "Conv")).precision == "fp32"
    assert onnx_facts(graph_of(np.float16, "Conv")).precision == "fp16"
    assert onnx_facts(graph_of(np.float32, "Conv", "QuantizeLinear")).precision == "int8"
    mixed = onnx_facts(graph_of(np.float16, "DequantizeLinear"))
    assert mixed.precision == "int8-fp16"
    assert mixed.record == {"opset": 18}


def test_what_is_no_onnx_file_says_nothing(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "tiny.onnx", heatmap_spec())
    whole = path.read_bytes()
    for content in (b"", b"\xff" * 100, b"version https://git-lfs", whole[:40], whole[:-3]):
        path.write_bytes(content)
        found = onnx_facts(path)
        assert (found.precision, found.record) == (None, None)
    assert onnx_facts(tmp_path / "missing.onnx").precision is None


# --- what is run ---


def test_the_first_inference_is_kept_whatever_asked_for_it() -> None:
    one = contender()
    one.peak(2)
    warmed = one.warm("frame", 5, 2, 0.0)
    assert warmed.first_inference_batch == 2
    assert warmed.first_inference_ms > 0
    assert warmed.calls == 2
    assert one.warm("network", 1, 2, 0.0).first_inference_ms == warmed.first_inference_ms


def test_stages_run_what_they_say() -> None:
    runner = TimedRunner(heatmap_spec(), brightness_maps)
    one = contender(runner, stages=("network", "device", "frame"))
    assert len(one.visit("network", 3, 4, 1)) == 4
    assert runner.batches == [3] * 5
    assert one.visit("device", 2, 2, 1) == [0.25, 0.25]
    assert runner.batches[5:] == [2] * 3
    assert min(one.visit("frame", 2, 2, 0)) > 0


def test_a_stage_or_batch_that_there_is_not_is_refused() -> None:
    one = contender(buckets=(1, 4))
    with pytest.raises(InputError, match="has network, frame"):
        one.visit("device", 1, 1, 0)
    for ask in (lambda: one.visit("frame", 2, 1, 0), lambda: one.peak(2)):
        with pytest.raises(InputError, match="batches of 1, 4"):
            ask()


def test_a_sustained_run_lasts_as_long_as_asked_and_says_when() -> None:
    ran = contender().sustain("network", 1, 0.05)
    assert ran.calls > 0
    assert 0.05 <= ran.seconds == (ran.ended_ns - ran.started_ns) / 1e9


def test_predictions_are_handed_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def predict(estimator: Estimator, job: dict[str, Any], progress: Any) -> dict[str, Any]:
        progress(1, 2)
        return {"model": estimator.spec.model, **job}

    monkeypatch.setattr(accuracy, "predict_job", predict, raising=False)
    steps: list[tuple[int, int]] = []
    found = contender().predict({"coco": "x"}, lambda *step: steps.append(step))
    assert found == {"model": "fake", "coco": "x"}
    assert steps == [(1, 2)]


# --- what it takes of memory ---


def test_memory_is_what_the_artefact_adds() -> None:
    one = Footprint("cpu")
    block = np.ones(2**26, np.uint8)
    one.note_loaded()
    row = one.peak(4, lambda: np.ones(2**25, np.uint8).sum())
    section = one.section(123)
    assert block.any()
    assert 2**26 * 0.95 < section["loaded_bytes"] - section["baseline_bytes"] < 2**26 * 1.3
    assert 1.45 * 2**26 < row["growth_bytes"] < 1.8 * 2**26
    assert section["by_batch"] == [row]
    assert section["peak_bytes"] == row["peak_bytes"] == row["growth_bytes"] + one.baseline
    assert section["gpu"] == {"unavailable": "it runs on the CPU"}
    assert section["shared"] is None
    assert section["file_bytes"] == 123


def test_the_peak_of_all_includes_loading() -> None:
    one = Footprint("cpu")
    np.ones(2**26, np.uint8).sum()
    one.note_loaded()
    row = one.peak(1, lambda: None)
    assert one.section(None)["peak_bytes"] > row["peak_bytes"] + 2**25


def test_a_system_that_tells_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gauge() -> Any:
        raise DeviceError("memory cannot be measured here", "Windows does not tell")

    monkeypatch.setattr(footprint, "find_gauge", no_gauge)
    one = Footprint("cpu")
    one.note_loaded()
    assert one.section(1) == {"unavailable": "Windows does not tell"}
    with pytest.raises(DeviceError, match="does not tell"):
        one.peak(1, lambda: None)


def test_memory_shared_with_the_gpu_is_the_drop_of_what_is_available(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orin = Gpu(
        name="Orin",
        compute_capability=(8, 7),
        multiprocessors=8,
        memory_bytes=2**33,
        integrated=True,
        driver=None,
        cuda=(12, 6),
    )
    left = iter([5_000, 3_800])
    monkeypatch.setattr(footprint, "find_gpu", lambda index: orin)
    monkeypatch.setattr(footprint, "available_bytes", lambda: next(left))
    section = Footprint("cuda").section(None)
    assert section["shared"]["bytes"] == 1_200
    assert "MemAvailable" in section["shared"]["how"]
    assert "see shared" in section["gpu"]["unavailable"]


def test_a_gpu_with_memory_of_its_own_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gauge:
        how = "as NVML says"

        def __init__(self, index: int) -> None:
            assert index == 1
            self.readings = iter([100, 700, 600])

        def used(self) -> int:
            return next(self.readings)

    monkeypatch.setattr(footprint, "find_gpu", lambda index: None)
    monkeypatch.setattr(footprint, "GpuGauge", Gauge)
    one = Footprint("cuda:1")
    one.note_loaded()
    one.peak(1, lambda: None)
    gpu = one.section(None)["gpu"]
    assert (gpu["loaded_bytes"], gpu["peak_bytes"]) == (100, 700)
    assert gpu["how"].startswith("as NVML says")
    assert "only NVIDIA" in Footprint("dml").section(None)["gpu"]["unavailable"]


# --- answering ---


def answers_to(
    monkeypatch: pytest.MonkeyPatch, one: Contender, *asked: dict[str, Any]
) -> list[dict[str, Any]]:
    monkeypatch.setattr(opening, "open_contender", lambda request, booted: (one, opened()))
    requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    for number, question in enumerate([{"do": "open", "with": {}}, *asked]):
        requests.put({"id": number, **question})
    requests.put(None)
    told = io.StringIO()
    captured = logging.getLogger("py.warnings").handlers[:]
    Desk(ONNX, told, 0).serve(requests)
    logging.captureWarnings(False)
    logging.getLogger("py.warnings").handlers[:] = captured
    logger = logging.getLogger("edgepose")
    logger.handlers = [handler for handler in logger.handlers if handler.level != logging.WARNING]
    return [json.loads(line) for line in told.getvalue().splitlines()][1:]


def failing(error: Exception) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    def respond(images: np.ndarray) -> dict[str, np.ndarray]:
        raise error

    return respond


VISIT = {"do": "visit", "with": {"stage": "network", "batch": 1, "calls": 1, "untimed": 0}}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WeightsError("bad", "why", "hint"), "WeightsError"),
        (LintError("bad", "why", "hint", lint=None), "GraphError"),
        (CudaError("cuMemAlloc", "CUDA_ERROR_OUT_OF_MEMORY"), "DeviceError"),
    ],
)
def test_errors_travel_as_the_nearest_class(
    monkeypatch: pytest.MonkeyPatch, error: EdgeposeError, kind: str
) -> None:
    one = contender(FakeRunner(heatmap_spec(), failing(error)))
    (told,) = answers_to(monkeypatch, one, VISIT)
    assert told["error"] == {
        "kind": kind, "what": error.what, "why": error.why, "hint": error.hint,
    }  # fmt: skip


def test_any_other_exception_is_told_without_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = contender(
        FakeRunner(heatmap_spec(), failing(RuntimeError("lost rtsp://admin:hunter2@cam/live")))
    )
    first, second = answers_to(monkeypatch, one, VISIT, VISIT)
    assert first["error"]["kind"] == "EdgeposeError"
    assert first["error"]["what"] == "tiny failed in 'visit'"
    assert first["error"]["why"] == "RuntimeError: lost rtsp://***@cam/live"
    assert second["error"] == first["error"]  # it goes on answering
    assert "Traceback" in capsys.readouterr().err


def test_what_is_logged_comes_with_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def respond(images: np.ndarray) -> dict[str, np.ndarray]:
        logging.getLogger("edgepose.runtime").warning("no graphs")
        return brightness_maps(images)

    one = contender(FakeRunner(heatmap_spec(), respond))
    first, second = answers_to(monkeypatch, one, VISIT, {"do": "memory", "with": {}})
    assert first["said"] == [[logging.WARNING, "no graphs"]]
    assert second["said"] == []


def test_progress_is_told_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def predict(estimator: Estimator, job: dict[str, Any], progress: Any) -> dict[str, Any]:
        for done in range(1000):
            progress(done + 1, 1000)
        return {"store": "x"}

    monkeypatch.setattr(accuracy, "predict_job", predict, raising=False)
    told = answers_to(monkeypatch, contender(), {"do": "predict", "with": {"job": {}}})
    assert told[-1]["ok"] == {"store": "x"}
    assert told[-2]["progress"] == [1000, 1000]
    assert 2 <= len(told) < 100
