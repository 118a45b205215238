"""What each step does, with a fake TensorRT and a fake GPU and real numbers."""

from __future__ import annotations

import io
import json
import platform
import sys
import tarfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu.absent import Absent
from benchmarks.gpu.bundle import Graph
from benchmarks.gpu.child import Tell
from benchmarks.gpu.child import main as child
from benchmarks.gpu.contenders import Entry
from benchmarks.gpu.steps import accuracy, build, device_path, latency, machine, parity
from edgepose.bench import fingerprint
from edgepose.doctor import Report
from edgepose.doctor.asking import Answer
from edgepose.engine import preflight
from edgepose.errors import EdgeposeError
from edgepose.runtime import tensorrt
from edgepose.trt import api, sidecar
from edgepose.trt.gpu import find_gpu
from tests.benchmarks.gpu.bundles import LABEL, bundle_in, spec_of, write_bundle
from tests.evaluate.folders import oracle, person, write_folder
from tests.fakes import write_tiny_onnx
from tests.runtime.fake_cuda import FakeCuda
from tests.trt.engines import GPU, write_fake_engine
from tests.trt.fake import make, write_package

Run = Callable[[dict[str, Any], Tell], None]


def told(run: Run, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The last that a step found."""
    path = folder / "told"
    path.unlink(missing_ok=True)
    with Tell(path) as tell:
        run(task, tell)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    found: dict[str, Any] = [line["found"] for line in lines if "found" in line][-1]
    return found


def task_of(tmp_path: Path, **values: Any) -> dict[str, Any]:
    return {
        "bundle": [str(tmp_path / "bundle")],
        "work": str(tmp_path / "work"),
        "model": "tiny",
        "precision": "fp32",
        "product": "tensorrt",
        "engine": str(tmp_path / "pose.engine"),
        "profile": [1, 4, 16],
        "settings": {},
        "contenders": {},
        **values,
    }


# --- build ---


@pytest.fixture
def fake_builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repo_root: Path) -> Path:
    """TensorRT 8.6.0 as far as the builder looks; a file with a line per call."""
    trace = tmp_path / "trace"
    folder = write_package(tmp_path / "fake", "8.6.0", trace=str(trace))
    monkeypatch.setitem(api._MODULES, "tensorrt", ("tensorrt",))
    monkeypatch.setattr(sys, "path", [str(folder), str(repo_root), *sys.path])
    monkeypatch.setattr(preflight, "read_gpu", lambda: GPU)
    monkeypatch.setattr(preflight, "find_gpu", lambda: GPU)
    return trace


def test_a_build_is_told_with_its_layers(tmp_path: Path, fake_builder: Path) -> None:
    write_bundle(tmp_path / "bundle")
    engine = tmp_path / "work" / "engines" / "tiny.engine"
    task = task_of(tmp_path, engine=str(engine), settings={"external_tactics": False})
    found = told(build.run, task, tmp_path)
    assert found["passed"] is True
    assert found["layer_shares"] == {"fp32": 1.0}
    assert found["engine_bytes"] == engine.stat().st_size
    assert found["profiles"] == [[1, 4, 16]]
    assert found["options"]["external_tactics"] is False
    assert sidecar.read(engine).engine_sha256 == found["engine_sha256"]
    assert (engine.parent / "timings.cache").is_file()
    assert "IBuilderConfig.set_tactic_sources" in fake_builder.read_text()


def test_what_could_not_be_exported_is_absent(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", int8=Graph(file=None, words="nobody to calibrate on"))
    with pytest.raises(Absent, match="tiny in int8 is not here: nobody to calibrate on"):
        told(build.run, task_of(tmp_path, precision="int8"), tmp_path)


@pytest.mark.parametrize(
    ("precision", "counts", "passed", "share"),
    [
        ("fp32", {"fp32": 9, "moved": 5}, True, {"fp32": 1.0}),
        ("fp32", {"fp32": 8, "fp16": 2}, False, {"fp32": 0.8, "fp16": 0.2}),
        ("fp16", {"fp32": 1, "fp16": 3}, True, {"fp32": 0.25, "fp16": 0.75}),
        ("fp16", {"fp32": 4}, False, {"fp32": 1.0}),
        ("int8", {"fp32": 1, "int8": 1}, True, {"fp32": 0.5, "int8": 0.5}),
        ("int8-fp16", {"int8": 1, "fp32": 1}, False, {"fp32": 0.5, "int8": 0.5}),
        ("int8-fp16", {"int8": 1, "fp16": 1}, True, {"fp16": 0.5, "int8": 0.5}),
        ("fp16", {"moved": 3}, None, {}),
        ("fp16", {"fp16": 3, "unknown": 1}, None, {}),
    ],
)
def test_the_precision_of_layers_is_judged(
    precision: str, counts: dict[str, int], passed: bool | None, share: dict[str, float]
) -> None:
    assert build.precision_verdict(precision, {"by_precision": counts}) == (passed, share)
    assert build.precision_verdict(precision, None) == (None, {})


# --- parity ---


@pytest.fixture
def fake_runtime(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes an engine that a fake TensorRT 8.6.0 runs on a fake GPU."""
    fake = make("8.6.0", enqueue=FakeCuda.enqueue).install(monkeypatch)
    monkeypatch.setattr(tensorrt, "read_gpu", lambda index: GPU)
    monkeypatch.setattr(tensorrt, "open_cuda", lambda index, provider: FakeCuda(gpu=GPU))

    def engine(folder: Path, onnx: Path) -> Path:
        return write_fake_engine(folder, fake, onnx=onnx, spec=spec_of())

    return engine


def test_an_engine_that_agrees(tmp_path: Path, fake_runtime: Callable[..., Path]) -> None:
    bundle = bundle_in(tmp_path)
    fake_runtime(tmp_path, bundle.path("tiny-fp32.onnx"))
    found = told(parity.run, task_of(tmp_path), tmp_path)
    assert found["passed"] is True
    assert [(v["against"], v["batch"]) for v in found["verdicts"]] == [
        (against, batch)
        for batch in (1, 4, 16)
        for against in ("PyTorch FP32", "its ONNX file", "PyTorch FP32, second time")
    ]
    assert {v["parity"]["persons"] for v in found["verdicts"]} == {5}
    assert found["runner"]["graph_batches"] == [1, 2, 4, 8, 16]
    assert found["judged"] == "poses and tensors"


def test_an_engine_of_another_graph_does_not_agree(
    tmp_path: Path, fake_runtime: Callable[..., Path]
) -> None:
    import onnx
    from onnx import numpy_helper

    bundle = bundle_in(tmp_path)
    model = onnx.load(bundle.path("tiny-fp32.onnx"))
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[3] *= -1  # one joint of 17 is looked for where it is dark
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))
    onnx.save(model, tmp_path / "other.onnx")
    fake_runtime(tmp_path, tmp_path / "other.onnx")
    found = told(parity.run, task_of(tmp_path), tmp_path)
    assert found["passed"] is False
    assert not any(v["parity"]["passed"] for v in found["verdicts"])


def test_of_random_weights_tensors_alone_are_judged(
    tmp_path: Path, fake_runtime: Callable[..., Path]
) -> None:
    bundle = bundle_in(tmp_path, trained=False)
    fake_runtime(tmp_path, bundle.path("tiny-fp32.onnx"))
    found = told(parity.run, task_of(tmp_path), tmp_path)
    assert found["judged"] == "tensors alone"
    assert "poses were not judged" in found["verdicts"][0]["parity"]["verdict"]


# --- accuracy ---


def archive(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.add(path, path.relative_to(folder))
    return buffer.getvalue()


PEOPLE = [person(10, 1, (100, 20, 50, 120)), person(20, 1, (20, 40, 70, 60))]


@pytest.fixture
def coco(tmp_path: Path) -> bytes:
    return archive(write_folder(tmp_path / "coco", PEOPLE, {1: "a.png"}, split="tiny"))


@pytest.mark.parametrize(("known", "passed"), [(50.0, True), (99.0, True), (101.5, False)])
def test_accuracy_beside_what_is_on_record(
    tmp_path: Path, coco: bytes, monkeypatch: pytest.MonkeyPatch, known: float, passed: bool
) -> None:
    write_bundle(tmp_path / "bundle", coco=coco)
    monkeypatch.setattr(accuracy, "TensorRTRunner", lambda path: oracle(PEOPLE))
    manifest = tmp_path / "bundle" / "part-01" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"ap": 50.0', f'"ap": {known}'))
    found = told(accuracy.run, task_of(tmp_path), tmp_path)
    plain, flipped = found["figures"]
    assert plain["label"] == LABEL
    assert plain["metrics"]["ap"] == pytest.approx(100, abs=1)
    assert plain["drop"] == pytest.approx(known - plain["metrics"]["ap"], abs=1e-3)
    assert plain["passed"] is passed
    assert flipped["protocol"]["flip"] is True
    assert flipped["passed"] is None  # nothing on record by that protocol
    assert found["passed"] is passed


def test_accuracy_has_its_reasons_not_to_be_measured(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", trained=False)
    with pytest.raises(Absent, match="random weights find no poses"):
        told(accuracy.run, task_of(tmp_path), tmp_path)
    other = tmp_path / "other"
    write_bundle(other / "bundle")
    with pytest.raises(Absent, match="prepared without --coco"):
        told(accuracy.run, task_of(other), tmp_path)


# --- latency ---


class FakeWorker:
    """Takes 1 ms per person; graphs halve it; torch is not here, and FP16 in onnxruntime breaks."""

    def __init__(self, entry: Entry, images: Path) -> None:
        self.entry = entry
        assert np.load(images).shape == (5, 3, 64, 48)

    def __enter__(self) -> FakeWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        pass

    def ask(self, timeout: float, do: str, **values: Any) -> dict[str, Any]:
        if self.entry.kind == "torch":
            raise Absent(self.entry.name, "No module named 'torch'")
        if self.entry.name == "onnxruntime-cuda fp16" and do == "time" and values["batch"] == 4:
            raise EdgeposeError("onnxruntime-cuda fp16 failed in 'time'", "CUDA error 700")
        if do in ("open", "describe"):
            return {"runtime": self.entry.kind}
        ms = values["batch"] / (2 if self.entry.graphs else 1)
        if do == "warm":
            return {"first_s": 1.0, "ms": ms}
        return {"host": [ms] * values["calls"], "device": None}


def test_latency_of_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "bundle")
    monkeypatch.setattr(latency, "Worker", FakeWorker)
    used = iter(range(0, 100_000, 100))
    monkeypatch.setattr(latency, "used_mib", lambda: float(next(used)))
    engines = {"tensorrt fp32": "a.engine", "tensorrt fp16": "b.engine"}
    task = task_of(tmp_path, engines=engines, batches=[1, 4, 16], seconds=60)
    found = told(latency.run, task, tmp_path)
    rows = {row["contender"]: row for row in found["contenders"]}
    assert rows["torch eager-fp32"]["absent"] == "not here, because No module named 'torch'"
    assert rows["tensorrt fp16 graphs"]["memory_mib"] == 100
    assert rows["tensorrt fp16 graphs"]["first_call_s"] == {"1": 1.0, "4": 1.0, "16": 1.0}
    assert rows["torch eager-fp32"]["model"] == "fake@64x48"
    p50 = {
        (row["contender"], row["batch"]): row["host_to_host_ms"]["p50"]
        for row in found["figures"]
        if "host_to_host_ms" in row
    }
    assert p50["tensorrt fp16", 4] == 4
    assert p50["tensorrt fp16 graphs", 4] == 2
    assert p50["onnxruntime-cuda fp16", 1] == 1
    assert ("onnxruntime-cuda fp16", 4) not in p50
    broken = next(row for row in found["figures"] if row["words"])
    assert "CUDA error 700" in broken["words"]
    assert not any(
        row["batch"] == 16 and row["contender"] == "onnxruntime-cuda fp16"
        for row in found["figures"]
    )
    assert found["timed_together"] == [
        "onnxruntime-cuda fp32", "tensorrt fp32", "tensorrt fp16", "tensorrt fp16 graphs",
    ]  # fmt: skip


# --- the device path ---


def test_a_report_of_pytest_is_read() -> None:
    text = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="tests.gpu.test_leaks" name="test_a[pycuda]" time="12.5"><properties>
<property name="device_growth_mib" value="0.0"/></properties></testcase>
<testcase classname="tests.gpu.test_torch" name="test_b" time="0"><skipped message="torch is
 not here">x</skipped></testcase>
<testcase classname="c" name="test_c" time="1"><failure message="assert 1 == 2">long</failure>
</testcase></testsuite></testsuites>"""
    first, second, third = device_path.read_report(text)
    assert first == {
        "test": "tests.gpu.test_leaks.test_a[pycuda]",
        "outcome": "passed",
        "seconds": 12.5,
        "words": "",
        "figures": {"device_growth_mib": "0.0"},
    }
    assert (second["outcome"], second["words"]) == ("skipped", "torch is not here")
    assert (third["outcome"], third["words"]) == ("failed", "assert 1 == 2")


@pytest.mark.skipif(find_gpu() is not None, reason="is about a machine without a GPU")
def test_the_tests_on_a_gpu_are_skipped_without_one_and_say_why(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    with pytest.raises(Absent, match="what the tests on a GPU need is not here: no usable GPU"):
        told(device_path.run, task_of(tmp_path), tmp_path)
    (line,) = (tmp_path / "told").read_text().splitlines()
    found = json.loads(line)["found"]
    assert found["passed"] is None
    assert len(found["tests"]) > 40
    assert {test["outcome"] for test in found["tests"]} == {"skipped"}
    assert all(t["words"].startswith(("no usable GPU", "torch")) for t in found["tests"])


# --- the machine, and the process around a step ---


def test_what_is_not_here_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(question: str) -> Answer:
        facts = {"version": "13.0"} if question == "cuda_bindings" else {}
        return Answer(facts=facts, error="" if facts else f"no module for {question}")

    monkeypatch.setattr(machine, "read_gpu", lambda: GPU)
    monkeypatch.setattr(machine, "ask_child", ask)
    report = Report(findings=(), asked="tensorrt")
    monkeypatch.setattr(machine.doctor, "examine", lambda asked: report)
    pythons = {"torch": sys.executable, "onnxruntime": "/no/such/python"}
    found = told(machine.run, {"contenders": {"pythons": pythons}}, tmp_path)
    assert found["gpu"] == json.loads(json.dumps(asdict(GPU)))
    assert found["cuda_bindings"] == {"version": "13.0"}
    for name in ("tensorrt", "tensorrt_rtx", "pycuda", "onnxruntime"):
        assert found[name] == f"not here, because no module for {name}"
    here = fingerprint()["stack"]["packages"]["numpy"]
    assert found["packages"]["numpy"] == here
    assert found["python for torch"]["python"] == platform.python_version()
    assert found["python for onnxruntime"].startswith("not here, because")
    assert found["doctor"]["asked"] == "tensorrt"


def test_every_way_a_step_can_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(run: Run) -> dict[str, Any]:
        monkeypatch.setattr(parity, "run", run)
        path = tmp_path / "ended"
        path.unlink(missing_ok=True)
        child({"kind": "parity", "task": {}, "told": str(path)})
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return lines[-1] | {"log": [line["log"] for line in lines if "log" in line]}

    def warns(task: dict[str, Any], tell: Tell) -> None:
        import logging

        logging.getLogger("edgepose.trt").warning("a weight is clipped")
        logging.getLogger("edgepose.trt").info("not told")

    def breaks(error: BaseException) -> Run:
        def run(task: dict[str, Any], tell: Tell) -> None:
            raise error

        return run

    assert ended(warns) == {
        "status": "done", "words": "", "log": ["warning: a weight is clipped"],
    }  # fmt: skip
    absent = ended(breaks(Absent("torch", "it is not installed")))
    assert (absent["status"], absent["words"]) == (
        "absent", "torch is not here: it is not installed",
    )  # fmt: skip
    failed = ended(breaks(EdgeposeError("the engine is stale", "another GPU", "build it")))
    assert (failed["status"], failed["words"]) == ("failed", "the engine is stale: another GPU")
    bug = ended(breaks(RuntimeError("odd")))
    assert bug["status"] == "failed"
    assert bug["words"].startswith("RuntimeError in test_steps.py:")
    assert bug["words"].endswith(": odd")


def test_the_bundle_of_these_tests_is_what_its_file_computes(tmp_path: Path) -> None:
    from edgepose.crops import to_input
    from edgepose.runtime.onnxruntime import OnnxRunner
    from tests.benchmarks.gpu.bundles import crops, tiny_maps

    images = to_input(crops(), spec_of())
    with OnnxRunner(write_tiny_onnx(tmp_path / "x.onnx", spec_of()), threads=1) as runner:
        found = runner.infer(images)["heatmaps"]
    np.testing.assert_allclose(found, tiny_maps(images)["heatmaps"], atol=1e-5)
