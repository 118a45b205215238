"""Steps in processes of their own: what they tell, how they die, and when they are stopped."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu.launch import Outcome, launch
from benchmarks.gpu.plan import Step
from tests.benchmarks.gpu.test_conduct import step

TELLS = """
import json, os, signal, sys, time
request = json.loads(sys.argv[1])
def tell(**line):
    with open(request["told"], "a") as file:
        file.write(json.dumps(line) + "\\n")
"""


@pytest.fixture
def said() -> list[str]:
    return []


def act(
    tmp_path: Path, said: list[str], body: str, seconds: float = 30, one: Step | None = None
) -> Outcome:
    """The outcome of a step whose process runs ``body``."""
    script = tmp_path / "act.py"
    script.write_text(TELLS + body)
    program = (sys.executable, str(script))
    return launch(one or step("parity/a"), seconds, said.append, program)


def test_what_is_told_comes_back(tmp_path: Path, said: list[str]) -> None:
    body = """
assert request["kind"] == "parity" and request["task"] == {"x": 1, "seconds": 30}
tell(say="beginning"); tell(found={"a": 1}); tell(log="warning: hm"); tell(found={"a": 2})
tell(status="done", words="")
"""
    outcome = act(tmp_path, said, body, one=step("parity/a", task={"x": 1}))
    assert outcome == Outcome(status="done", found={"a": 2}, log=["warning: hm"])
    assert said == ["beginning"]


def test_a_death_is_told_with_the_last_words_and_what_was_found(
    tmp_path: Path, said: list[str]
) -> None:
    body = 'tell(found={"a": 1}); print("cuda: illegal address", flush=True); os.abort()'
    outcome = act(tmp_path, said, body)
    assert outcome.status == "failed"
    assert outcome.words == "its process was ended by SIGABRT: cuda: illegal address"
    assert outcome.found == {"a": 1}
    outcome = act(tmp_path, said, "sys.exit(7)")
    assert outcome.words == "its process ended with exit code 7: without a word"


def test_a_half_written_line_is_left_out(tmp_path: Path, said: list[str]) -> None:
    body = """
tell(found={"a": 1})
with open(request["told"], "a") as file: file.write('{"found": {"a"')
"""
    assert act(tmp_path, said, body).found == {"a": 1}


def test_time_over_stops_it_and_its_children(tmp_path: Path, said: list[str]) -> None:
    body = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
tell(found={"child": child.pid})
child.wait()
"""
    began = time.monotonic()
    outcome = act(tmp_path, said, body, seconds=2)
    assert time.monotonic() - began < 15
    assert outcome.status == "unfinished"
    assert outcome.words == "stopped after 2 s, when the time was over"
    with pytest.raises(ProcessLookupError):
        os.kill(outcome.found["child"], 0)


def test_the_real_program_finds_the_step_of_a_kind(tmp_path: Path, said: list[str]) -> None:
    task = {"bundle": [str(tmp_path)], "work": str(tmp_path), "model": "x"}
    outcome = launch(step("parity/a", task=task), 60, said.append)
    assert outcome.status == "failed"
    assert outcome.words.startswith(f"there is no bundle in {tmp_path}")
