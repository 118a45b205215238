"""Workers through real processes: what they measure, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgepose.bench import Schedule, measure_latency
from edgepose.bench.worker import Request, Worker, client
from edgepose.errors import (
    ArtefactError,
    DeviceError,
    EngineError,
    GraphError,
    MissingDependency,
    SpecError,
)
from edgepose.spec_toml import spec_to_toml
from edgepose.zoo import sha256_of
from tests.fakes import heatmap_spec, write_tiny_onnx

MIB = 2**20
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
QUICK = Schedule(rounds=4, calls=2, pause_s=0.0, max_warmup_s=0.0)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_onnx(tmp_path / "tiny.onnx", heatmap_spec())


@pytest.fixture
def poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a module of that name and text before all others, in the children too."""
    folder = tmp_path / "poison"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def put(name: str, text: str) -> None:
        (folder / f"{name}.py").write_text(text)

    return put


def request(path: Path, **changes: Any) -> Request:
    values: dict[str, Any] = {"label": "tiny", "artefact": str(path), "kind": "onnx", "threads": 1}
    return Request(**(values | changes))


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and nobody asked about does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until(what: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# --- what they measure ---


def test_a_worker_tells_what_it_opened_and_does_what_it_is_asked(
    tiny: Path, poison: Callable[[str, str], None]
) -> None:
    for name in ("torch", "onnx", "onnxscript", "pycocotools", "matplotlib", "rich", "typer"):
        poison(name, f"raise AssertionError('an ONNX file needs no {name}')")
    with Worker(request(tiny, threads=2)) as worker:
        opened = worker.open()
        assert opened.file == "tiny.onnx"
        assert opened.sha256 == sha256_of(tiny)
        assert opened.bytes == tiny.stat().st_size
        assert opened.precision == "fp32"
        assert opened.spec == heatmap_spec().to_dict()
        assert opened.describe["threads"] == 2
        assert (opened.max_batch, opened.buckets) == (64, None)
        assert opened.stages == ("network", "frame")
        assert opened.scene.startswith("packaged sample")
        assert opened.import_ms > 0
        assert opened.load_ms > 0
        assert worker.open() is opened

        rows = [worker.peak(batch) for batch in (1, 8)]
        memory = worker.memory()
        assert memory["by_batch"] == rows
        assert 20 * MIB < memory["baseline_bytes"] == opened.baseline_bytes
        assert memory["peak_bytes"] >= max(row["peak_bytes"] for row in rows)
        assert rows[1]["growth_bytes"] == rows[1]["peak_bytes"] - memory["baseline_bytes"]
        assert memory["file_bytes"] == tiny.stat().st_size
        with pytest.raises(AssertionError, match="batch 1 after one of 8"):
            worker.peak(1)

        warmed = worker.warm("frame", 2)
        assert warmed.calls >= 3
        assert warmed.first_inference_batch == 1
        times = worker.visit("network", 2, calls=5, untimed=1)
        assert len(times) == 5
        assert min(times) > 0
        ran = worker.sustain("network", 1, 0.05)
        assert ran.calls > 1
        assert abs(ran.ended_ns - time.perf_counter_ns()) < 60e9  # one clock for all processes
        assert worker.describe()["runtime"] == "onnxruntime"
        if sys.platform == "linux":
            time.sleep(0.1)
            before = cpu_seconds(worker.pid)
            time.sleep(0.5)
            assert cpu_seconds(worker.pid) - before < 0.1  # it does not spin
    assert not alive(worker.pid)
    worker.close()


def test_a_model_runs_in_pytorch_with_the_zoos_weights(
    poison: Callable[[str, str], None],
) -> None:
    poison("onnx", "raise AssertionError('PyTorch needs no onnx')")
    poison("onnxruntime", "raise AssertionError('PyTorch needs no onnxruntime')")
    from edgepose.zoo import find

    asked = request(Path("mitpose-lite@128x96"), kind="torch")
    with Worker(asked) as worker:
        opened = worker.open()
        assert opened.describe["runtime"] == "torch"
        assert opened.describe["threads"] == 1
        assert opened.sha256 == find("mitpose-lite@128x96").figures["weights_sha256"]
        assert opened.precision == "fp32"
        assert opened.spec["provenance"]["holdout_only"]
        assert worker.peak(1)["growth_bytes"] > 10 * MIB  # its weights alone are 20


# --- what is wrong with the artefact ---


def test_errors_of_the_artefact_come_back_as_they_are(tmp_path: Path, tiny: Path) -> None:
    corrupt = tmp_path / "corrupt.onnx"
    corrupt.write_bytes(tiny.read_bytes()[:60])
    with Worker(request(corrupt)) as worker:
        with pytest.raises(GraphError, match=r"corrupt\.onnx") as caught:
            worker.open()
        assert type(caught.value) is GraphError
        with pytest.raises(GraphError):  # it lives, and is asked again
            worker.open()
    bare = write_tiny_onnx(tmp_path / "bare.onnx", None)
    with Worker(request(bare)) as worker, pytest.raises(SpecError) as found:
        worker.open()
    assert "--spec" in (found.value.hint or "")
    spec = tmp_path / "spec.toml"
    spec.write_text(spec_to_toml(heatmap_spec()))
    with Worker(request(bare, spec_file=str(spec))) as worker:
        assert worker.open().spec == heatmap_spec().to_dict()


def test_an_engine_without_its_sidecar_is_refused_before_tensorrt_sees_it(tmp_path: Path) -> None:
    engine = tmp_path / "a.engine"
    engine.write_bytes(b"x")
    with Worker(request(engine, kind="engine")) as worker, pytest.raises(EngineError):
        worker.open()


def test_without_torch_a_model_says_what_to_install(poison: Callable[[str, str], None]) -> None:
    poison("torch", "raise ImportError('no torch here', name='torch')")
    with (
        Worker(request(Path("mitpose-lite"), kind="torch")) as worker,
        pytest.raises(MissingDependency) as caught,
    ):
        worker.open()
    assert "edgepose[export]" in (caught.value.hint or "")


def test_a_runtime_that_takes_the_process_with_it_is_an_error_with_its_last_words(
    tiny: Path, poison: Callable[[str, str], None]
) -> None:
    poison(
        "onnxruntime",
        "import os, sys\n"
        "print('printed', flush=True)\n"  # on the standard output, which is not the answers'
        "sys.stderr.write('no such camera: rtsp://admin:hunter2@cam/live\\n')\n"
        "sys.stderr.flush()\n"
        "os._exit(3)\n",
    )
    with Worker(request(tiny)) as worker:
        with pytest.raises(ArtefactError, match="ended when asked to open") as caught:
            worker.open()
        assert caught.value.why == "no such camera: rtsp://***@cam/live"
        with pytest.raises(ArtefactError):
            worker.memory()


# --- how they end ---


@POSIX
def test_one_that_is_killed_in_a_visit_leaves_the_others_alone(tiny: Path) -> None:
    with (
        Worker(request(tiny, label="good")) as good,
        Worker(request(tiny, label="bad")) as bad,
    ):
        for worker in (good, bad):
            worker.open()
        threading.Timer(0.3, os.kill, (bad.pid, signal.SIGKILL)).start()
        with pytest.raises(DeviceError, match="the process of bad ended when asked to visit"):
            bad.visit("network", 1, calls=10**8, untimed=0)
        run = measure_latency({"good": good, "bad": bad}, (1,), QUICK)
    assert len(run.sections["good"]["cells"]) == 2
    assert list(run.failures) == ["bad"]
    assert "want of memory" in run.sections["bad"]["unavailable"]


@POSIX
def test_one_that_hangs_is_stopped(tiny: Path) -> None:
    with Worker(request(tiny), patience_s=1.0) as worker:
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(DeviceError, match="no sign of life for 1 s when asked to open"):
            worker.open()
        assert not alive(worker.pid)
        with pytest.raises(DeviceError, match="was stopped"):
            worker.open()


@POSIX
def test_after_ctrl_c_it_can_be_asked_again_or_closed_at_once(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting:
        def get(self, timeout: float) -> str:
            raise KeyboardInterrupt

    def interrupt(worker: Worker, seconds: float) -> None:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(worker, "_answers", Interrupting())
            worker.sustain("network", 1, seconds)

    with Worker(request(tiny)) as worker:
        worker.open()
        interrupt(worker, 0.1)
        assert worker.describe()["runtime"] == "onnxruntime"  # and not the answer before
        interrupt(worker, 600)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert not alive(worker.pid)


@POSIX
def test_closing_one_that_has_died_takes_no_time(tiny: Path) -> None:
    for known in (True, False):
        worker = Worker(request(tiny))
        worker.open()
        os.kill(worker.pid, signal.SIGKILL)
        if known:
            with pytest.raises(DeviceError):
                worker.describe()
        began = time.monotonic()
        worker.close()
        assert time.monotonic() - began < client._GOODBYE_S


@POSIX
def test_a_second_ctrl_c_leaves_no_orphan(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ended the measurement; the second comes while the child is told goodbye."""
    worker = Worker(request(tiny))
    worker.open()
    os.kill(worker.pid, signal.SIGSTOP)  # it would not go by itself
    wait, waits = worker._process.wait, []

    def interrupted(timeout: float | None = None) -> int:
        waits.append(timeout)
        if len(waits) == 1:
            raise KeyboardInterrupt
        return wait(timeout)

    monkeypatch.setattr(worker._process, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        worker.close()
    assert not alive(worker.pid)
    assert waits == [client._GOODBYE_S, None]
    worker.close()


@POSIX
def test_one_that_closes_its_answers_and_stays_is_stopped(
    tiny: Path, poison: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_GOODBYE_S", 0.2)
    poison(
        "onnxruntime",
        "import os, time\nos.closerange(3, 64)\ntime.sleep(600)\n",
    )
    with Worker(request(tiny)) as worker:
        with pytest.raises(DeviceError, match="was stopped") as caught:
            worker.open()
        assert caught.value.why == "it closed its answers when asked to open, and did not end"
        assert not alive(worker.pid)


PARENT = """
import json, sys
from edgepose.bench import Schedule, measure_latency
from edgepose.bench.worker import Request, Worker
with Worker(Request(label="tiny", artefact=sys.argv[1], kind="onnx", threads=1)) as worker:
    worker.open()
    print(worker.pid, flush=True)
    schedule = Schedule(rounds=10**6, calls=2, pause_s=0.005)
    run = measure_latency({"tiny": worker}, (1,), schedule, lambda *step: print(flush=True))
    after = worker.memory()["baseline_bytes"]
print(json.dumps([run.interrupted, run.sections["tiny"]["protocol"]["rounds"], after]))
"""


@pytest.fixture
def parent(tiny: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that measures until it is told to stop."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tiny)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def started(parent: subprocess.Popen[str]) -> int:
    """The child's number, once rounds are being taken."""
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    for _ in range(12):
        parent.stdout.readline()
    return pid


@POSIX
def test_ctrl_c_ends_the_measurement_and_not_the_worker(parent: subprocess.Popen[str]) -> None:
    pid = started(parent)
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=60)
    interrupted, rounds, after = json.loads(out.splitlines()[-1])
    assert interrupted
    assert rounds >= 2
    assert after > MIB  # it could be asked for more
    assert err == ""
    assert wait_until(lambda: not alive(pid))


@POSIX
def test_a_worker_ends_with_its_parent(parent: subprocess.Popen[str]) -> None:
    pid = started(parent)
    parent.kill()
    assert wait_until(lambda: not alive(pid))


def test_a_worker_goes_on_in_a_new_process(tiny: Path) -> None:
    with Worker(request(tiny)) as worker:
        first = worker.open()
        worker.warm("frame", 2)
        old = worker.pid
        worker.restart()
        assert worker.pid != old
        assert wait_until(lambda: not alive(old))
        assert worker.open().sha256 == first.sha256
        worker.peak(1)  # nothing larger has run in this one
        assert len(worker.visit("network", 1, calls=2, untimed=0)) == 2
