from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from edgepose import train as train_package
from edgepose.cli import app
from edgepose.errors import InputError
from edgepose.train import Outcome
from edgepose.train.validate import Validation

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
    assert call["allow_holdout"] is False
    assert (call["recipe"].minutes, call["recipe"].epochs) == (2.0, None)
    assert (call["recipe"].batch, call["recipe"].seed) == (16, 5)
    assert [s.input_size for s in call["recipe"].stages] == [(32, 24), (64, 48)]
    report = json.loads(result.stdout)
    assert report == {**OUTCOME.to_dict(), "out": str(tmp_path)}


def test_before_and_after_are_told_in_a_line_each(monkeypatch, tmp_path):
    outcome = replace(
        OUTCOME, before=Validation(2, 10.25, 30, 40), validation=Validation(1, 20, 45.5, 50)
    )
    monkeypatch.setattr(train_package, "train", lambda *_, **__: outcome)
    result = run.invoke(app, ["train", "m", "--data", "a", "-o", str(tmp_path), "--epochs", "1"])
    assert "before       loss 2  ap 10.25  ap50 30  oks 40\n" in result.stdout
    assert "validation   loss 1  ap 20  ap50 45.5  oks 50\n" in result.stdout


def test_without_json_the_outcome_is_a_table(calls, tmp_path):
    result = run.invoke(app, ["train", "m", "--data", "a", "-o", str(tmp_path), "--epochs", "1"])
    assert result.exit_code == 0
    assert "step         12\n" in result.stdout
    assert "resume" not in result.stderr


def test_the_holdout_is_allowed_by_name_only(calls, tmp_path):
    arguments = ["train", "m", "--data", "a", "-o", str(tmp_path), "--epochs", "1"]
    assert run.invoke(app, [*arguments, "--allow-holdout"]).exit_code == 0
    assert calls[0]["allow_holdout"] is True


def test_no_budget_is_a_user_error(calls, tmp_path):
    result = run.invoke(app, ["train", "m", "--data", "a", "-o", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert "--epochs N" in str(result.exception)
    assert not calls


def test_data_is_required():
    assert run.invoke(app, ["train", "m", "-o", "x", "--epochs", "1"]).exit_code == 2


STOPPED = Outcome(
    finished=False, step=3, minutes=0.1, epochs=0.1, loss=None, validation=None
)  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_signal_ends_the_run_after_its_step(monkeypatch, tmp_path, number, as_json):
    before = signal.getsignal(number)

    def fake(*_, listener, **__):
        listener.started()
        assert not listener.stopping()
        os.kill(os.getpid(), number)
        assert listener.stopping()
        return STOPPED

    monkeypatch.setattr(train_package, "train", fake)
    arguments = ["train", "m", "--data", "a", "-o", str(tmp_path), "--epochs", "1"]
    result = run.invoke(app, [*arguments, *["--json"] * as_json])
    assert result.exit_code == 130, result.output
    if as_json:
        assert json.loads(result.stdout) == {**STOPPED.to_dict(), "out": str(tmp_path)}
    else:
        assert "step         3\n" in result.stdout
    assert "writing a checkpoint" in result.stderr
    assert "--resume goes on" in result.stderr
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_packing_interrupts_at_once(monkeypatch, tmp_path, number):
    before = signal.getsignal(number)

    def fake(*_, packing, **__):
        packing("coco", 1, 2)
        os.kill(os.getpid(), number)
        pytest.fail("packing went on")

    monkeypatch.setattr(train_package, "train", fake)
    result = run.invoke(app, ["train", "m", "--data", "a", "-o", str(tmp_path), "--epochs", "1"])
    assert result.exit_code == 130, result.output
    assert result.stdout == ""
    assert signal.getsignal(number) is before


def test_only_the_first_process_reports_and_fails(monkeypatch, tmp_path):
    """torchrun would kill the first, which may still be saving, if another failed before it."""
    monkeypatch.setattr(train_package, "train", lambda *_, **__: STOPPED)
    monkeypatch.setenv("RANK", "1")
    result = run.invoke(app, ["train", "m", "--data", "a", "-o", str(tmp_path), "--epochs", "1"])
    assert (result.exit_code, result.output) == (0, "")


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
