from __future__ import annotations

import builtins

import pytest

from edgepose.errors import MissingDependency, OutputError
from edgepose.train.log import TrainingLog, read_log
from edgepose.train.plot import plot_curve


def test_a_resumed_log_drops_steps_that_come_again(tmp_path):
    path = tmp_path / "log.jsonl"
    log = TrainingLog(path, None)
    for step in (50, 100, 150):
        log.write({"step": step, "loss": 1.0})
    with path.open("a") as handle:
        handle.write('{"step": 200, "lo')  # killed in the middle of a line
    again = TrainingLog(path, 100)
    again.write({"step": 150, "loss": 2.0})
    assert [(e["step"], e["loss"]) for e in read_log(path)] == [(50, 1.0), (100, 1.0), (150, 2.0)]
    assert read_log(path) == again.entries
    TrainingLog(path, None)
    assert read_log(path) == []


def test_absent_log_is_empty(tmp_path):
    assert read_log(tmp_path / "none") == []


def test_a_log_that_cannot_be_written(tmp_path):
    log = TrainingLog(tmp_path / "log.jsonl", None)
    log.path.unlink()
    log.path.mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        log.write({"step": 1})


def test_plot_is_a_picture(tmp_path):
    from edgepose.images import read_image

    entries = [{"step": i, "minutes": i / 10, "loss": 1 / (i + 1)} for i in range(9)]
    entries.append({"step": 9, "minutes": 0.9, "val_loss": 0.2, "ap": 12.0})
    plot_curve(entries, tmp_path / "curve.png", "tiny")
    assert read_image(tmp_path / "curve.png").std() > 5
    plot_curve([], tmp_path / "empty.png", "tiny")


def test_without_matplotlib_the_command_is_given(tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *args, **kwargs)

    import importlib

    monkeypatch.setattr(
        importlib, "import_module", lambda name, *_: refuse(name) if "." not in name else None
    )
    with pytest.raises(MissingDependency, match=r"edgepose\[train\]"):
        plot_curve([], tmp_path / "x.png", "tiny")
    assert not (tmp_path / "x.png").exists()
