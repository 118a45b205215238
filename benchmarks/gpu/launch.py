"""A step in a process of its own: whatever it does to CUDA, to memory or to itself stays there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.journal import Status
from benchmarks.gpu.plan import Step

__all__ = ["ROOT", "Outcome", "last_words", "launch"]

ROOT = Path(__file__).resolve().parent.parent.parent
_PATIENCE_S = 8.0
_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a step.

    Attributes:
        status: ``done``, ``failed``, ``absent`` or ``unfinished``.
        found: What it found; of a step that broke off, what it had found by then.
        words: Why it is not done.
        log: Warnings and errors of what it used, in their own words.
    """

    status: Status
    found: dict[str, Any] = field(default_factory=dict)
    words: str = ""
    log: list[str] = field(default_factory=list)


def launch(
    step: Step,
    seconds: float,
    say: Callable[[str], None],
    program: Sequence[str] = (sys.executable, "-m", "benchmarks.gpu.child"),
) -> Outcome:
    """Do a step.

    Args:
        step: The step.
        seconds: After which it is stopped.
        say: Told what the step tells of its progress.
        program: What does it; the request is its last argument.
    """
    with tempfile.TemporaryDirectory() as folder:
        told, noise = Path(folder) / "told", Path(folder) / "noise"
        request = {"kind": step.kind, "task": {**step.task, "seconds": seconds}, "told": str(told)}
        with noise.open("wb") as sink:
            child = subprocess.Popen(
                [*program, json.dumps(request)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,
            )
            in_time = _wait(child, seconds, told, say)
        return _outcome(child.returncode, in_time, seconds, _lines(told), noise)


def last_words(noise: str) -> str:
    """The end of what a process said, or that it said nothing."""
    lines = [line.strip() for line in noise.splitlines() if line.strip()]
    return " | ".join(lines[-_LINES:]) or "without a word"


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _wait(
    child: subprocess.Popen[bytes], seconds: float, told: Path, say: Callable[[str], None]
) -> bool:
    """Until it ends or the time is over; whether it ended by itself."""
    end, shown = time.monotonic() + seconds, 0
    try:
        while time.monotonic() < end:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.2)
            lines = _lines(told)
            for line in lines[shown:]:
                if "say" in line:
                    say(line["say"])
            shown = len(lines)
            if child.returncode is not None:
                return True
        return False
    finally:
        if child.poll() is None:
            _stop(child)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Interrupted as by hand, so that it stops its own children; killed where that is no use."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_PATIENCE_S)
            return


def _lines(told: Path) -> list[dict[str, Any]]:
    """Whole lines only: the last may be half written."""
    if not told.is_file():
        return []
    whole, newline, _ = told.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()] if newline else []


def _outcome(
    code: int, in_time: bool, seconds: float, lines: list[dict[str, Any]], noise: Path
) -> Outcome:
    found: dict[str, Any] = next((line["found"] for line in reversed(lines) if "found" in line), {})
    log = [line["log"] for line in lines if "log" in line]
    end = next((line for line in lines if "status" in line), None)
    if end is not None:
        return Outcome(status=end["status"], found=found, words=end["words"], log=log)
    if not in_time:
        words = f"stopped after {seconds:.0f} s, when the time was over"
        return Outcome(status="unfinished", found=found, words=words, log=log)
    how = f"ended with exit code {code}"
    if code < 0:
        how = f"was ended by {signal.Signals(-code).name}"
    words = f"its process {how}: {last_words(noise.read_text(errors='replace'))}"
    return Outcome(status="failed", found=found, words=words, log=log)
