"""The real parser and builder of TensorRT-RTX; they need no GPU."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgepose import zoo
from edgepose.errors import GraphError, MissingDependency
from edgepose.export.lint import TARGETS, ask, lint, rtx
from edgepose.export.lint.rtx import installed, parser_verdict
from edgepose.trt import api
from tests.export.lint.cases import CASES, FLOAT, Case, N, graph

needs_rtx = pytest.mark.skipif(
    not installed(), reason='needs TensorRT-RTX: pip install "edgepose[rtx]"'
)
READY = [entry for entry in zoo.entries() if entry.onnx is not None]
SMALL = graph([N("Relu", ["x"], ["y"], name="one")], [("x", FLOAT, ["batch", 4, 8, 8])], opset=18)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """What the parser says of every case, all asked in one process: starting one takes longer."""
    folder = tmp_path_factory.mktemp("cases")
    for number, case in enumerate(CASES):
        onnx.save(case.model, folder / f"{number}.onnx")
    code = (
        "import importlib, json, runpy, sys\n"
        f"worker = runpy.run_path({str(rtx._WORKER)!r}, run_name='worker')\n"
        f"trt = importlib.import_module({api.require_installed('tensorrt-rtx')!r})\n"
        "log = worker['_log'](trt)\n"
        "builder = trt.Builder(log)\n"
        f"paths = [f'{folder}/{{i}}.onnx' for i in range({len(CASES)})]\n"
        "ask = lambda path: worker['_check'](trt, log, builder, {'model': path})['supported']\n"
        "print('answer', json.dumps([ask(path) for path in paths]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout.partition("answer ")[2])
    return dict(zip((case.name for case in CASES), answers, strict=True))


@pytest.mark.trt
@needs_rtx
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_its_table_is_what_its_parser_says(case: Case, said: dict[str, bool]) -> None:
    expected = bool(lint(case.model, TARGETS["trt-rtx"])) if case.rtx is None else case.rtx
    assert said[case.name] is expected


@pytest.mark.trt
@needs_rtx
@pytest.mark.parametrize("entry", READY, ids=lambda entry: entry.name)
def test_a_shipped_artefact_is_read(entry: zoo.ZooEntry) -> None:
    assert entry.onnx is not None
    assert parser_verdict(entry.onnx).supported


@pytest.mark.trt
@needs_rtx
def test_a_complaint_names_the_node(tmp_path: Path) -> None:
    model = graph(
        [
            N("Relu", ["x"], ["a"], name="fine"),
            N("MaxPool", ["a"], ["y", "i"], name="down(Pool)/MaxPool_1", kernel_shape=[2, 2]),
        ]
    )
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    verdict = ask(TARGETS["trt-rtx"], path)
    assert verdict is not None
    assert verdict.name.startswith("TensorRT-RTX 1.")
    (complaint,) = verdict.complaints
    assert (complaint.node, complaint.op) == ("down(Pool)/MaxPool_1", "MaxPool")
    # Its own complaint of a node joins the table's only where the table has none.
    target = TARGETS["trt-rtx"]
    assert len(lint(model, target).with_verdict(verdict).findings) == 1
    (finding,) = lint(graph([N("Relu", ["x"], ["y"])]), target).with_verdict(verdict).findings
    assert finding.module == "down (Pool)"
    assert "more than 1" in finding.problem or "mode than 1" in finding.problem


@pytest.mark.trt
@needs_rtx
def test_weights_in_another_file(tmp_path: Path) -> None:
    weight = np.ones((8, 4, 3, 3), np.float32)
    model = graph([N("Conv", ["x", "w"], ["y"])], constants={"w": weight}, opset=18)
    path = tmp_path / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="m.bin", size_threshold=16)
    assert (tmp_path / "m.bin").stat().st_size >= weight.nbytes
    assert parser_verdict(path).supported


@pytest.mark.trt
@needs_rtx
def test_its_talk_goes_to_the_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.INT16, [2])
    talkative = helper.make_model(
        helper.make_graph(
            [N("Identity", ["x"], ["y"])],
            "g",
            [value],
            [helper.make_tensor_value_info("y", TensorProto.INT16, [2])],
        )
    )
    with caplog.at_level(logging.DEBUG, logger="edgepose.export.lint.rtx"):
        assert not parser_verdict(talkative.SerializeToString()).supported
    assert "Unsupported ONNX data type: INT16" in caplog.text  # straight from native code
    assert capfd.readouterr() == ("", "")


@pytest.mark.trt
@needs_rtx
def test_no_onnx_at_all() -> None:
    verdict = parser_verdict(b"nothing of the kind")
    assert not verdict.supported


def test_without_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(api._MODULES, "tensorrt-rtx", ("no_such_module",))
    assert not installed()
    assert ask(TARGETS["trt-rtx"], tmp_path / "never read.onnx") is None
    with pytest.raises(MissingDependency, match=r"TensorRT-RTX[\s\S]*edgepose\[rtx\]"):
        parser_verdict(b"")
    assert "edgepose[rtx]" in lint(SMALL, TARGETS["trt-rtx"]).summary()


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A script in the worker's place, and a module that is there in TensorRT's."""
    path = tmp_path / "worker.py"
    monkeypatch.setattr(rtx, "_WORKER", path)
    monkeypatch.setitem(api._MODULES, "tensorrt-rtx", ("json",))
    return path


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; os.kill(os.getpid(), 9)", "want of memory"),
        ("import os; print('ouch'); os.kill(os.getpid(), 6)", r"SIGABRT[\s\S]*ouch|SIGABRT"),
        ("raise ImportError('libsomething.so.1 is missing')", "libsomething.so.1"),
        ("pass", "it said nothing"),
    ],
    ids=["out of memory", "abort", "broken install", "silence"],
)
def test_a_process_that_dies(worker: Path, code: str, why: str) -> None:
    worker.write_text(code)
    with pytest.raises(GraphError, match=rf"ended without an answer[\s\S]*({why})"):
        parser_verdict(b"")


def test_a_process_that_hangs(worker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(rtx, "_TIMEOUT_S", 0.5)
    with pytest.raises(GraphError, match="did not finish"):
        parser_verdict(b"")


def test_the_worker_imports_nothing_of_ours() -> None:
    code = f"import sys, runpy; runpy.run_path({str(rtx._WORKER)!r}, run_name='x'); " + (
        "print([m for m in sys.modules if m.split('.')[0] in ('edgepose', 'numpy', 'torch')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
