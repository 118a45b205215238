from __future__ import annotations

import json
import os
import signal

import pytest
from typer.testing import CliRunner

from edgepose import train as train_package
from edgepose.cli import app
from edgepose.errors import InputError
from edgepose.train import Outcome

run = CliRunner()
OUTCOME = Outcome(
    finished=True, step=12, minutes=0.5, epochs=3.0, loss=0.25, validation=None
)  # fmt: skip


@pytest.fixture
def calls(monkeypatch):
    """What the command asks the package for."""
    seen: list[dict] = []

    def fake(model, data, out, recipe, **options):
        seen.append({"model": model, "data": data, "out": out, "recipe": recipe, **options})
        return OUTCOME

    monkeypatch.setattr(train_package, "train", fake)
    return seen


def test_options_reach_the_run(calls, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("epochs = 3\nbatch = 16\n")
    result = run.invoke(
        app,
        ["train", "mitpose-lite@64x48", "--data", "a", "--data", "b.json", "-o", str(tmp_path),
         "--recipe", str(recipe), "--minutes", "2", "--resize", "0:32x24,0.5:64x48",
         "--holdout", "ids.json", "--seed", "5", "--device", "cpu", "--json"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (call,) = calls
    assert call["model"] == "mitpose-lite@64x48"
    assert [str(d) for d in call["data"]] == ["a", "b.json"]
    assert str(call["holdout"]) == "ids.json"
    assert (call["recipe"].minutes, call["recipe"].epochs) == (2.0, None)
    assert (call["recipe"].batch, call["recipe"].seed) == (16, 5)
    assert [s.input_size for s in call["recipe"].stages] == [(32, 24), (64, 48)]
    report = json.loads(result.stdout)
    assert report == {**OUTCOME.to_dict(), "out": str(tmp_path)}


def test_without_json_the_outcome_is_a_table(calls, tmp_path):
    result = run.invoke(app, ["train", "m", "--data", "a", "-o", str(tmp_path), "--epochs", "1"])
    assert result.exit_code == 0
    assert "step         12\n" in result.stdout
    assert "resume" not in result.stderr


def test_no_budget_is_a_user_error(calls, tmp_path):
    result = run.invoke(app, ["train", "m", "--data", "a", "-o", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert "--epochs N" in str(result.exception)
    assert not calls


def test_data_is_required():
    assert run.invoke(app, ["train", "m", "-o", "x", "--epochs", "1"]).exit_code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_its_step(monkeypatch, tmp_path, number):
    before = signal.getsignal(number)

    def fake(*_, listener, **__):
        assert not listener.stopping()
        os.kill(os.getpid(), number)
        assert listener.stopping()
        return Outcome(finished=False, step=3, minutes=0.1, epochs=0.1, loss=None, validation=None)

    monkeypatch.setattr(train_package, "train", fake)
    result = run.invoke(app, ["train", "m", "--data", "a", "-o", str(tmp_path), "--epochs", "1"])
    assert result.exit_code == 0, result.output
    assert "writing a checkpoint" in result.stderr
    assert "--resume goes on" in result.stderr
    assert signal.getsignal(number) is before


def test_the_view_tells_of_packing_and_progress(capsys):
    from edgepose.cli._train_view import TrainView

    with TrainView() as view:
        view.packing("coco", 1, 2)
        view.packing("coco", 2, 2)
        view.stepped(0.5, 32, 0.5)
        view.logged({"step": 50, "loss": 0.5})
        view.logged({"step": 50, "val_loss": 0.5, "ap": 12.5})
    out, err = capsys.readouterr()
    assert out == ""
    assert "packed coco: 2 persons" in err
    assert "step 50  loss 0.5" in err
    assert "ap 12.5" in err
    with TrainView(quiet=True) as view:
        view.logged({"step": 50, "loss": 0.5})
    assert capsys.readouterr() == ("", "")
