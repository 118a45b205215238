"""The worker, in this process, on the names of every version: what it asks of each."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from edgepose.engine import configure, worker
from edgepose.engine.worker import Events, _write, build
from edgepose.errors import DeviceError, InputError, OutputError
from tests.engine.graphs import write
from tests.trt.fake import TENSORRT, VERSIONS, Fake, make

WEAK = ("8.6.0",)


class Run:
    """A build, and what it said and asked for."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        folder: Path,
        version: str,
        precision: str = "fp32",
        profiles: tuple[tuple[int, int, int], ...] = ((1, 4, 16),),
        batch: str | int = "batch",
        knobs: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.fake: Fake = make(version, **(knobs or {})).install(monkeypatch)
        stream = io.StringIO()
        self.events = Events(stream)
        self.engine = folder / "x.engine"
        self.result = build(
            {
                "product": self.fake.product,
                "onnx": str(write(folder / "pose.onnx", precision, batch=batch)),
                "engine": str(self.engine),
                "profiles": profiles,
                "options": options,
                "gpu": True,
            },
            self.events,
        )
        self.told = [json.loads(line) for line in stream.getvalue().splitlines()]

    def set(self, name: str) -> Any:
        """What a property of the builder's configuration was set to."""
        ((value,),) = self.fake.called(f"IBuilderConfig.{name}=")
        return value

    def flags(self) -> set[str]:
        content = json.loads(self.engine.read_bytes().partition(b"\n")[2])
        return set(content["flags"])


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_builds_every_precision(
    version: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(monkeypatch, tmp_path, version, precision)
    assert run.engine.stat().st_size > 0
    assert run.result["precision"] == precision
    assert run.result["version"] == version.removeprefix("rtx-")
    ((flags,),) = run.fake.called("Builder.create_network")
    kinds = run.fake.module.NetworkDefinitionCreationFlag
    wanted = kinds.EXPLICIT_BATCH if version in WEAK else kinds.STRONGLY_TYPED
    assert flags == 1 << int(wanted)
    weak = {"fp32": set(), "fp16": {"FP16"}, "int8": {"FP16", "INT8"}}[precision]
    weak |= {"OBEY_PRECISION_CONSTRAINTS"} if weak else set()
    assert run.flags() == (weak if version in WEAK else set())  # TF32 is off, too
    steps = [t["phase"] for t in run.told if t["event"] == "step"]
    assert ("Timing" in steps) is (version not in WEAK)
    assert run.result["layers"]["by_precision"].get(precision, 0) >= 1


@pytest.mark.parametrize("version", VERSIONS)
def test_profiles(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, tmp_path, version, profiles=((1, 1, 1), (2, 8, 16)))
    shape = (3, 64, 48)
    assert run.fake.called("IOptimizationProfile.set_shape") == [
        ("images", (1, *shape), (1, *shape), (1, *shape)),
        ("images", (2, *shape), (8, *shape), (16, *shape)),
    ]
    assert len(run.fake.called("IBuilderConfig.add_optimization_profile")) == 2
    fixed = Run(monkeypatch, tmp_path, version, batch=4, profiles=((4, 4, 4),))
    assert fixed.fake.called("IBuilderConfig.add_optimization_profile") == []


@pytest.mark.parametrize("version", VERSIONS)
def test_plain_options(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, tmp_path, version, workspace_mib=256, optimization_level=5, tf32=True)
    ((pool, size),) = run.fake.called("IBuilderConfig.set_memory_pool_limit")
    assert (pool.name, size) == ("WORKSPACE", 2**28)
    assert run.set("builder_optimization_level") == 5
    assert run.flags() == {"TF32"}
    bare = Run(monkeypatch, tmp_path, version)
    assert bare.fake.called("IBuilderConfig.set_memory_pool_limit") == []
    ((flag,),) = bare.fake.called("IBuilderConfig.clear_flag")
    assert flag.name == "TF32"


@pytest.mark.parametrize("version", TENSORRT)
def test_compatible_modes(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(
        monkeypatch,
        tmp_path,
        version,
        version_compatible=True,
        hardware_compatibility="ampere_plus",
    )
    assert run.flags() == {"VERSION_COMPATIBLE"}
    assert run.set("hardware_compatibility_level").name == "AMPERE_PLUS"
    # Its lean runtime holds neither cuBLAS nor cuDNN.
    masks = run.fake.called("IBuilderConfig.set_tactic_sources")
    assert masks == ([] if version.startswith("11") else [(0b11000,)])
    assert run.fake.called("Runtime.engine_host_code_allowed=") == [(True,)]
    has_same = version not in ("8.6.0", "10.3.0")
    same = {"hardware_compatibility": "same_compute_capability"}
    if has_same:
        Run(monkeypatch, tmp_path, version, **same)
    else:
        with pytest.raises(InputError, match=r"has no hardware_compatibility 'same.*ampere_plus"):
            Run(monkeypatch, tmp_path, version, **same)


@pytest.mark.parametrize("version", TENSORRT)
def test_tactics_of_other_libraries(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(monkeypatch, tmp_path, version, external_tactics=False)
    masks = run.fake.called("IBuilderConfig.set_tactic_sources")
    assert masks == ([] if version.startswith("11") else [(0b11000,)])
    if version.startswith("11"):
        with pytest.raises(InputError, match="went with version 11"):
            Run(monkeypatch, tmp_path, version, external_tactics=True)
    else:
        run = Run(monkeypatch, tmp_path, version, external_tactics=True)
        assert run.fake.called("IBuilderConfig.set_tactic_sources") == [(0b11111,)]


@pytest.mark.parametrize("version", TENSORRT)
def test_timing_cache(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache" / "timings"
    for expected in (b"+timed", b"+timed+timed"):
        run = Run(monkeypatch, tmp_path, version, timing_cache=str(cache))
        assert cache.read_bytes() == expected
        assert run.events.notes == []
    cache.write_bytes(b"bad: of another GPU")
    run = Run(monkeypatch, tmp_path, version, timing_cache=str(cache))
    assert "is of another GPU or TensorRT, and is written anew" in run.events.notes[0]
    assert cache.read_bytes() == b"+timed"
    with pytest.raises(InputError, match="cannot read"):
        Run(monkeypatch, tmp_path, version, timing_cache=str(tmp_path))


@pytest.mark.parametrize("version", TENSORRT)
def test_dla(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knobs = {"dla_cores": 2}
    run = Run(monkeypatch, tmp_path, version, "fp16", knobs=knobs, dla_core=1)
    assert run.set("DLA_core") == 1
    assert run.set("default_device_type").name == "DLA"
    # Strong typing came to DLA with 11.
    weak = {"FP16", "OBEY_PRECISION_CONSTRAINTS"} if not version.startswith("11") else set()
    assert run.flags() == {"GPU_FALLBACK"} | weak
    adjusts = version in ("10.16.1.11", "11.4.0.106")
    assert bool(run.fake.called("OnnxParser.set_flag")) is adjusts
    with pytest.raises(DeviceError, match=r"no DLA core 1: TensorRT .* finds 0 here") as error:
        Run(monkeypatch, tmp_path, version, "fp16", dla_core=1)
    assert error.value.exit_code == 4


def test_a_timing_cache_that_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, data: bytes) -> None:
        raise OutputError(f"cannot write {path}", "no space left on device")

    monkeypatch.setattr(configure, "write_bytes", full)
    run = Run(monkeypatch, tmp_path, "10.3.0", timing_cache=str(tmp_path / "x"))
    assert run.events.notes == [
        f"the timing cache was not kept: cannot write {tmp_path / 'x'}, no space left on device"
    ]
    assert run.engine.stat().st_size > 0


def test_compute_capabilities_of_tensorrt_rtx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(monkeypatch, tmp_path, VERSIONS[-1], compute_capabilities=["7.5", "12.0"])
    assert run.set("num_compute_capabilities") == 2
    calls = run.fake.called("IBuilderConfig.set_compute_capability")
    assert [(kind.name, index) for kind, index in calls] == [("SM75", 0), ("SM120", 1)]
    with pytest.raises(InputError, match=r"cannot build for 8\.7: it knows 7\.5, 8\.0"):
        Run(monkeypatch, tmp_path, VERSIONS[-1], compute_capabilities=["8.6", "8.7"])


def test_a_disk_that_fills_up_during_the_write(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    engine = make("10.3.0").module.IHostMemory(bytes(2**20))
    with pytest.raises(OutputError, match="the disk is full; the engine takes 2 MiB"):
        _write(full, engine)


@pytest.mark.parametrize("infers", [True, False])
def test_the_graph_decides_what_8_holds_to_fp32(
    infers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(monkeypatch, tmp_path, "8.6.0", "fp16", knobs={"infers_types": infers})
    full = run.fake.module.DataType.FLOAT
    # Conv and the cast into it are FP16 and free; Softmax is FP32 and held.
    assert run.fake.called("ILayer.precision=") == [(full,)]
    assert run.fake.called("ILayer.set_output_type") == [(0, full)]
    assert run.result["build"]["held_to_fp32"] == 1
    if not infers:
        assert run.events.notes == []  # the cast into FP16 is one
        return
    run = Run(monkeypatch, tmp_path, "8.6.0", "int8")
    # Softmax, and the elementwise layer that feeds it; Conv may be INT8 or FP16.
    assert run.result["build"]["held_to_fp32"] == 2
    run = Run(monkeypatch, tmp_path, "8.6.0", "fp32")
    assert run.fake.called("ILayer.precision=") == []
    assert run.result["build"]["held_to_fp32"] == 0


def test_an_engine_that_is_not_in_the_graphs_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = {"layers": 3, "by_precision": {"fp32": 2, "moved": 1}, "fp32_names": []}
    monkeypatch.setattr(worker, "layer_summary", lambda report: summary)
    run = Run(monkeypatch, tmp_path, "10.3.0", "int8")
    assert run.events.notes == ["the graph is int8, but no layer of the engine runs in int8"]
    assert Run(monkeypatch, tmp_path, "10.3.0", "fp32").events.notes == []
