"""The models verb: the list, one model's card, and both without torch."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from edgepose.cli import app
from edgepose.errors import InputError
from edgepose.models import REGISTRY

KEYS = {
    "name", "family", "description", "paper", "input", "multiple", "output", "params", "gmacs",
    "weights", "authors_weights", "paper_params_m", "paper_gflops", "paper_gmacs", "paper_ap",
    "paper_ap_setting", "note",
}  # fmt: skip


def listed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["models", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_json_lists_every_model() -> None:
    rows: list[dict[str, Any]] = json.loads(listed("--json"))
    assert [row["name"] for row in rows] == list(REGISTRY)
    for row in rows:
        entry = REGISTRY[row["name"]]
        assert row.keys() == KEYS
        assert (row["params"], row["input"]) == (entry.params, list(entry.input_size))
        assert row["paper_params_m"] == entry.printed.params_m


def test_json_says_which_weights_there_are() -> None:
    rows = {row["name"]: row for row in json.loads(listed("--json"))}
    (setting,) = [w for w in rows["mitpose-lite"]["weights"] if w["default"]]
    assert setting["onnx"]
    assert "persons" in setting["trained_on"]
    assert {"ap", "ar", "protocol"} == setting["measured"][0].keys()
    assert rows["mitpose-lite-ref"]["weights"] == []


def test_the_table_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = listed().splitlines()
    for name in REGISTRY:
        assert any(line.split()[:1] == [name] for line in lines), name
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)


def test_every_note_of_the_table_is_printed() -> None:
    text = " ".join(listed().split())
    for entry in REGISTRY.values():
        assert " ".join(entry.printed.note.split()) in text


def test_markdown() -> None:
    header, line, *rest = listed("--markdown").splitlines()
    rows = [row for row in rest if row.startswith("| ")]
    assert len(rows) == len(REGISTRY)
    assert {row.count("|") for row in [header, line, *rows]} == {header.count("|")}


def test_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = listed("mitpose-lite@128x96")
    assert "5,625,905" in text
    assert "part by part" in text
    assert "128x96" in text
    assert "hold-out" in text  # from its card in the zoo


def test_one_model_as_json() -> None:
    data = json.loads(listed("mgil-w32-32", "--json", "--depth", "1"))
    assert {"name", "cost"} <= data.keys()
    assert [p["name"] for p in data["cost"]["parts"]] == ["trunk", "head"]
    assert data["cost"]["params"] == REGISTRY["mgil-w32-32"].params


def test_an_unknown_model_suggests_a_near_one() -> None:
    with pytest.raises(InputError, match="did you mean mitpose-lite"):
        listed("mitpose-light")


def test_one_model_has_no_markdown() -> None:
    with pytest.raises(InputError, match="whole list"):
        listed("mitpose-lite", "--markdown")


def test_without_torch_the_parts_are_left_out_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "edgepose.cli.models.find_spec", lambda name: None if name == "torch" else found(name)
    )
    result = CliRunner().invoke(app, ["models", "mgil-w32-32", "--json"])
    assert json.loads(result.stdout)["cost"] is None
    assert 'pip install "edgepose[export]"' in result.stderr


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_list_needs_no_torch(arguments: list[str]) -> None:
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'onnx', 'cv2', 'onnxruntime'):
            raise ImportError('the list imported ' + name)
sys.meta_path.insert(0, Refuse())
sys.argv = ['edgepose', 'models', *{arguments!r}]
from edgepose.cli import main
main()
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
