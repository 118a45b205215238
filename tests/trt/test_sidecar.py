from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgepose.errors import ArtefactError, EngineError
from edgepose.recipes import load_recipe
from edgepose.trt import api, sidecar
from edgepose.trt.sidecar import (
    Here,
    Profile,
    Sidecar,
    check,
    read,
    rebuild_command,
)
from tests.trt.engines import GPU, make_sidecar

DATA = b"the engine's own bytes"


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "pose.engine"
    path.write_bytes(DATA)
    sidecar.write(make_sidecar(DATA), path)
    return path


def machine(**changes: Any) -> Here:
    gpu = {k: changes.pop(k) for k in list(changes) if hasattr(GPU, k)}
    values = {"product": "tensorrt", "version": "10.3.0", "platform": sidecar.platform_name()}
    return Here(gpu=replace(GPU, **gpu), **(values | changes))  # type: ignore[arg-type]


def test_what_is_written_is_read(engine: Path) -> None:
    full = make_sidecar(
        DATA,
        profiles=(Profile(1, 1, 1), Profile(2, 8, 16)),
        options={"workspace_mib": 512, "compute_capabilities": ["8.6"]},
        layers={"layers": 3, "by_precision": {"fp16": 3}},
        record={"precision": "fp16"},
    ).with_parity({"passed": True, "p99_px": 0.1})
    assert sidecar.write(full, engine).name == "pose.engine.json"
    found = read(engine)
    assert found == full
    assert (found.max_batch, found.buckets) == (16, (1, 2, 8, 16))
    assert found.parity == {"passed": True, "p99_px": 0.1}


def test_what_fits_gives_the_engines_bytes(engine: Path) -> None:
    assert check(read(engine), engine, machine()) == DATA


def test_no_engine_and_no_sidecar(engine: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"there is no file .*other\.engine"):
        read(tmp_path / "other.engine")
    sidecar.sidecar_path(engine).unlink()
    with pytest.raises(EngineError, match=r"no sidecar[\s\S]*edgepose export .* --to engine") as e:
        read(engine)
    assert isinstance(e.value, ArtefactError)
    assert e.value.exit_code == 1


def test_truncated_and_foreign_json(engine: Path) -> None:
    path = sidecar.sidecar_path(engine)
    text = path.read_text()
    for damaged in (text[: len(text) // 2], "", "[]", "null", "\x00"):
        path.write_text(damaged)
        with pytest.raises(EngineError, match="is damaged"):
            read(engine)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EngineError, match="is damaged"):
        read(engine)


def edited(path: Path, *, honest: bool, **changes: Any) -> None:
    """Change fields; an honest edit gives the digest that belongs to them."""
    data = json.loads(path.read_text())
    for name, value in changes.items():
        if value is None and name not in ("gpu", "cuda"):
            del data[name]
        else:
            data[name] = value
    if honest:
        data["digest"] = sidecar.digest_of(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize("name", sorted(make_sidecar().to_dict()))
def test_every_field_is_needed(name: str, engine: Path) -> None:
    path = sidecar.sidecar_path(engine)
    data = json.loads(path.read_text())
    del data[name]
    if name != "digest":
        data["digest"] = sidecar.digest_of(data)
    path.write_text(json.dumps(data))
    with pytest.raises(EngineError, match=f"'{name}' is missing"):
        read(engine)


@pytest.mark.parametrize("name", sorted(make_sidecar().to_dict()))
def test_no_field_takes_another_kind(name: str, engine: Path) -> None:
    # No field is a list of lists, and only `profiles` and `compute_capabilities` are lists.
    edited(sidecar.sidecar_path(engine), honest=name != "digest", **{name: [[[]]]})
    with pytest.raises(EngineError, match="is damaged"):
        read(engine)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema": 2}, "later format"),
        ({"schema": 0}, "'schema' is 0"),
        ({"product": "openvino"}, "'product' is 'openvino'"),
        ({"version": "new"}, "'new' is no version"),
        ({"cuda": "new"}, "'new' is no version"),
        ({"precision": "fp8"}, "'precision' is 'fp8'"),
        ({"hardware_compatibility": "all"}, "'hardware_compatibility' is 'all'"),
        ({"engine_sha256": "0" * 63}, "no SHA-256"),
        ({"onnx_sha256": "Z" * 64}, "no SHA-256"),
        ({"gpu": None}, "TensorRT builds on one"),
        ({"gpu": {"name": "x"}}, "is damaged"),
        ({"profiles": []}, "'profiles' is empty"),
        ({"profiles": [{"min": 4, "opt": 2, "max": 8}]}, r"\(4, 2, 8\)"),
        ({"profiles": [{"min": 0, "opt": 2, "max": 8}]}, r"\(0, 2, 8\)"),
        ({"profiles": [{"min": 1, "opt": 2}]}, "is damaged"),
        ({"spec": {"model": "x"}}, "'spec' cannot be used"),
        ({"engine_bytes": True}, "'engine_bytes' is True"),
        ({"extra": 1}, "unknown fields: extra"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_values_that_no_builder_writes(changes: dict[str, Any], told: str, engine: Path) -> None:
    edited(sidecar.sidecar_path(engine), honest=True, **changes)
    with pytest.raises(EngineError, match=told):
        read(engine)


@pytest.mark.parametrize("changes", [{"version": "10.4.0"}, {"precision": "int8"}, {"cuda": None}])
def test_an_edit_is_seen(changes: dict[str, Any], engine: Path) -> None:
    edited(sidecar.sidecar_path(engine), honest=False, **changes)
    with pytest.raises(EngineError, match="was changed after the engine was built"):
        read(engine)


def test_another_engine_under_its_name(engine: Path) -> None:
    for data, told in (
        (DATA[:-4], r"engine_bytes[\s\S]*22 bytes were built, 18 are here"),
        (b"", "0 are here"),
        (bytes(reversed(DATA)), r"engine_sha256[\s\S]*was built"),
    ):
        engine.write_bytes(data)
        with pytest.raises(EngineError, match=told) as error:
            check(read(engine), engine, machine())
        assert "edgepose export pose.onnx --to engine" in str(error.value)


@pytest.mark.parametrize(
    ("here", "field", "values"),
    [
        ({"product": "tensorrt-rtx", "version": "1.7.1"}, "product", ("tensorrt", "tensorrt-rtx")),
        ({"version": "10.3.1"}, "version", ("10.3.0", "10.3.1")),
        ({"version": "8.6.1"}, "version", ("10.3.0", "8.6.1")),
        ({"platform": "win32-amd64"}, "platform", (sidecar.platform_name(), "win32-amd64")),
        ({"compute_capability": (8, 7)}, "compute_capability", ("8.9", "8.7")),
        ({"name": "Orin"}, "gpu", ("Fake GPU", "Orin")),
        ({"cuda": (11, 4), "driver": "470.1"}, "cuda", ("CUDA 12.6", "driver 470.1 for CUDA 11.4")),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_another_machine(
    here: dict[str, Any], field: str, values: tuple[str, str], engine: Path
) -> None:
    with pytest.raises(EngineError) as error:
        check(read(engine), engine, machine(**here))
    assert f"its {field} does not fit" in error.value.what
    assert error.value.why == f"it was built for {values[0]}, this is {values[1]}"
    command = f"edgepose export pose.onnx --to engine --batch 1,4,16 -o {engine}"
    assert error.value.hint == f"build it again: {command}"


def test_an_older_driver_of_the_same_cuda_will_do(engine: Path) -> None:
    assert check(read(engine), engine, machine(cuda=(12, 2)))
    unknown = make_sidecar(DATA, cuda=None)
    assert check(unknown, engine, machine(cuda=(11, 0)))


def fits(changes: dict[str, Any], engine: Path, **here: Any) -> bool:
    try:
        check(make_sidecar(DATA, **changes), engine, machine(**here))
    except EngineError:
        return False
    return True


@pytest.mark.parametrize(
    ("built", "here", "compatible", "plain"),
    [
        ("10.3.0", "10.3.0.26", True, True),
        ("10.3.0", "10.3.1", True, False),
        ("10.3.0", "10.16.1", True, False),
        ("10.16.1", "10.3.0", False, False),
        ("8.6.1", "10.3.0", True, False),
        ("10.3.0", "11.4.0", True, False),
        ("8.6.1", "11.4.0", False, False),
        ("11.4.0", "10.16.1", False, False),
    ],
)
def test_versions(built: str, here: str, compatible: bool, plain: bool, engine: Path) -> None:
    assert fits({"version": built}, engine, version=here) is plain
    changes = {"version": built, "version_compatible": True}
    assert fits(changes, engine, version=here) is compatible


def test_hardware_compatibility(engine: Path) -> None:
    ampere = {"hardware_compatibility": "ampere_plus"}
    assert fits(ampere, engine, name="other", compute_capability=(12, 0))
    assert not fits(ampere, engine, name="other", compute_capability=(7, 5))
    same = {"hardware_compatibility": "same_compute_capability"}
    assert fits(same, engine, name="other")
    assert not fits(same, engine, name="other", compute_capability=(9, 0))


def test_tensorrt_rtx_is_portable_within_a_release(engine: Path) -> None:
    rtx = {"product": "tensorrt-rtx", "version": "1.7.1.116", "gpu": None, "cuda": "13"}
    here = {"product": "tensorrt-rtx", "version": "1.7.1.116", "name": "other"}
    assert fits(rtx, engine, **here, platform="win32-amd64", compute_capability=(9, 0))
    assert not fits(rtx, engine, **here, compute_capability=(7, 5))
    assert not fits(rtx, engine, **(here | {"version": "1.7.2"}))
    chosen = rtx | {"compute_capabilities": ("7.5", "12.0")}
    assert fits(chosen, engine, **here, compute_capability=(7, 5))
    assert not fits(chosen, engine, **here, compute_capability=(8, 9))


def test_the_command_builds_the_same_engine(engine: Path) -> None:
    made = make_sidecar(
        DATA,
        product="tensorrt-rtx",
        onnx="my models/pose.onnx",
        profiles=(Profile(2, 2, 2), Profile(4, 8, 16)),
        options={"tf32": True, "workspace_mib": 512, "compute_capabilities": ["8.6", "8.9"]},
    )
    words = shlex.split(rebuild_command(made, "out.engine"))
    assert words[:5] == ["edgepose", "export", "my models/pose.onnx", "--to", "rtx-engine"]
    assert words[words.index("--batch") + 1] == "2,2,16"
    settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    plan = load_recipe("desktop-rtx-fp16").with_settings(settings)
    assert plan.engine.chosen() == {
        "tf32": True,
        "workspace_mib": 512,
        "compute_capabilities": ("8.6", "8.9"),
    }
    assert words[-2:] == ["-o", "out.engine"]


def test_nothing_is_half_written(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sidecar.sidecar_path(engine).read_text()
    broken = make_sidecar(DATA, build={"seconds": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        sidecar.write(broken, engine)
    assert sidecar.sidecar_path(engine).read_text() == before
    assert sorted(p.name for p in engine.parent.iterdir()) == ["pose.engine", "pose.engine.json"]


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    trt = api.TensorRT(None, "tensorrt", "10.3.0", None, None)
    assert sidecar.here(trt, GPU) == machine()
    assert isinstance(make_sidecar(), Sidecar)
