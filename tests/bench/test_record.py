from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgepose.bench.record import (
    ArtefactRecord,
    read_artefact_record,
    read_artefact_records,
    write_records,
)
from edgepose.bench.records import BenchRecord
from edgepose.bench.schema import faults, record_schema
from edgepose.errors import InputError, OutputError
from tests.bench.artefacts import failed, records

VALIDATOR = jsonschema.Draft202012Validator(record_schema())


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """A record with every section, short enough to be damaged in every place."""
    data = records(2)[1].to_dict()
    _shorten(data)
    data["latency"]["cells"][0]["samples_ms"] = [[1.0]]
    data["artefact"]["spec"] = {"model": "x"}
    data["power"] = {
        "meter": "RAPL",
        "rails": ["package"],
        "idle_watts": None,
        "batches": [
            {
                "batch": 1,
                "watts": 9.5,
                "joules_per_frame": 0.1,
                "joules_per_person": 0.1,
                "seconds": 5.0,
                "samples": 50,
            }
        ],
    }
    return data


def _shorten(value: Any) -> None:
    """Leave one item in each list but intervals."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, list) and key != "interval_95":
                del item[1:]
            _shorten(item)
    elif isinstance(value, list):
        for item in value:
            _shorten(item)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def damaged(data: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy with something else in one place; ... takes the place away."""
    made = copy.deepcopy(data)
    holder: Any = made
    for key in path[:-1]:
        holder = holder[key]
    if value is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return made


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(record_schema())


def test_made_records_keep_to_it() -> None:
    for record in [*records(), failed()]:
        VALIDATOR.validate(record.to_dict())
        assert faults(record.to_dict()) == []


@pytest.mark.parametrize("value", [..., None, True, -1, 0.5, "text", [], {}], ids=repr)
def test_our_validator_says_what_jsonschema_says(whole: dict[str, Any], value: Any) -> None:
    refused = 0
    for path in places(whole):
        made = damaged(whole, path, value)
        found = faults(made)
        assert bool(found) == (not VALIDATOR.is_valid(made)), (path, found)
        refused += bool(found)
    assert refused > 50


def test_every_keyword_of_the_schema_is_known() -> None:
    with pytest.raises(KeyError, match="pattern"):
        from edgepose.bench import schema

        list(schema._faults("x", {"pattern": "y"}, ""))


def test_what_is_not_in_the_schema_is_named_with_its_place(whole: dict[str, Any]) -> None:
    def first(path: tuple[Any, ...], value: Any) -> str:
        return faults(damaged(whole, path, value))[0]

    assert first(("latency", "cells", 0, "milliseconds", "p95"), ...) == (
        "latency.cells[0].milliseconds lacks 'p95'"
    )
    assert first(("memory", "peak_bytes"), "a lot") == (
        "memory.peak_bytes is string and should be integer"
    )
    assert "surprise" in first(("surprise",), 1)


def test_all_attributes_are_in_the_schema_and_no_others() -> None:
    attributes = {field.name for field in dataclasses.fields(ArtefactRecord)}
    assert attributes == set(record_schema()["properties"]) == set(record_schema()["required"])


def test_there_and_back(tmp_path: Path) -> None:
    for record in [*records(2), failed()]:
        path = record.write(tmp_path / "new")
        assert read_artefact_record(path).to_dict() == record.to_dict()
        assert next(iter(json.loads(path.read_text()))) == "schema"


def test_a_folder_is_read_run_by_run_in_the_order_of_measuring(tmp_path: Path) -> None:
    earlier = records(2, run="ff", created="2030-01-01T00:00:00+00:00")
    for name, record in zip("abcde", [*reversed(records(2)), failed(), *earlier], strict=True):
        (record.write(tmp_path)).rename(tmp_path / f"{name}_bench_.json")
    found = [(record.run[:2], record.label) for record in read_artefact_records(tmp_path)]
    assert found == [
        ("ff", "example-lite"),
        ("ff", "models/example-lite.onnx"),
        ("01", "example-lite"),
        ("01", "models/example-lite.onnx"),
        ("01", "models/broken.onnx"),
    ]


def test_file_names_say_artefact_hardware_and_runtime() -> None:
    torch, onnx = records(2)
    board = "example-e1-made-up-2cores"
    assert torch.file_name == f"example-lite-00000000_bench_{board}_torch-2.13.0+cpu.json"
    assert onnx.file_name == f"example-lite-00000000_bench_{board}_onnxruntime-1.31.1.json"
    assert failed().file_name == f"broken-ffffffff_bench_{board}_onnx.json"
    random = dataclasses.replace(torch, artefact=torch.artefact | {"sha256": None})
    assert random.file_name == f"example-lite_bench_{board}_torch-2.13.0+cpu.json"
    nasty = dataclasses.replace(torch, label="../a b/c:d")
    assert nasty.file_name.startswith("a-b-c-d-00000000_bench_")


def test_no_secret_and_no_nan_is_written(tmp_path: Path) -> None:
    record = dataclasses.replace(
        records(1)[0],
        command="edgepose bench a --images rtsp://me:secret@cam/x",
        failures=[
            {
                "section": "power",
                "what": "w",
                "why": "http://u:secret@h/",
                "hint": None,
            }
        ],
        conditions=None,
        power={"unavailable": "x", "watts": float("nan")},
    )
    text = record.write(tmp_path).read_text()
    assert "secret" not in text
    assert "rtsp://***@cam/x" in text
    assert json.loads(text)["power"]["watts"] is None


def test_samples_are_one_line_a_round(tmp_path: Path) -> None:
    record = records(1)[0]
    assert record.latency is not None
    row = json.dumps(record.latency["cells"][0]["samples_ms"][0])
    assert row in record.write(tmp_path).read_text()


def test_records_of_another_schema_or_kind_are_refused_in_words(tmp_path: Path) -> None:
    old = BenchRecord(
        kind="latency",
        command="c",
        artefact={"name": "a.onnx", "sha256": "0123456789abcdef"},
        runner=None,
        protocol={},
        results=[],
    ).write(tmp_path)
    with pytest.raises(InputError, match=r"older schema 1 \(kind 'latency'\).*\n.*measure again"):
        read_artefact_record(old)
    path = records(1)[0].write(tmp_path)
    good = json.loads(path.read_text())
    for text, match in [
        (json.dumps(good | {"schema": 3}), "newer than this edgepose"),
        (json.dumps(good | {"kind": "pairs"}), "kind 'pairs'"),
        (json.dumps(good | {"latency": {"cells": []}}), "latency lacks 'protocol'"),
        (json.dumps({"hello": 1}), "no record of edgepose"),
        ("[]", "no record of edgepose"),
        (path.read_text()[:-200], "damaged"),
    ]:
        path.write_text(text)
        with pytest.raises(InputError, match=match):
            read_artefact_record(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_artefact_record(tmp_path / "none.json")
    with pytest.raises(InputError, match="holds none"):
        read_artefact_records(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        records(1)[0].write(tmp_path / "file" / "below")


def test_labels_that_differ_after_a_dot_have_files_of_their_own(tmp_path: Path) -> None:
    record = records(2)[1]
    cpu, cuda = (dataclasses.replace(record, label=f"m.{word}") for word in ("cpu", "cuda"))
    assert cpu.file_name.startswith("m.cpu-")
    assert cuda.file_name.startswith("m.cuda-")
    engine = dataclasses.replace(record, label="a/m.fp16.engine")
    assert engine.file_name.startswith("m.fp16-")


def test_no_two_records_share_a_file(tmp_path: Path) -> None:
    one = records(2)[1]
    alike = [
        dataclasses.replace(one, label=label) for label in ("a/m.onnx", "b/m.onnx", "m_x", "m x")
    ]
    assert len({record.file_name for record in alike}) == 2
    written = write_records(alike, tmp_path)
    assert [read_artefact_record(path).label for path in written] == [r.label for r in alike]
    assert written[1].name == written[0].name.replace(".json", "-2.json")
    assert len(read_artefact_records(tmp_path)) == 4
    # One by one, and again: the same run replaces itself and nothing else.
    assert [record.write(tmp_path) for record in alike] == written
    # Another run replaces what is called alike, but not what was written with it.
    later = [dataclasses.replace(one, run="later"), dataclasses.replace(one, run="latest")]
    names = write_records(later, tmp_path / "two")
    assert len(set(names)) == 2
    assert records(2)[1].write(tmp_path / "two") == names[0]


def test_an_interval_may_be_missing(whole: dict[str, Any]) -> None:
    path = ("latency", "against", "ratios", 0, "interval_95")
    assert faults(damaged(whole, path, None)) == []
    assert VALIDATOR.is_valid(damaged(whole, path, None))
