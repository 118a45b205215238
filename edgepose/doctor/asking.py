"""Asking a question in a child process: what is loaded there may crash, hang and take memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ANSWER", "Answer", "ask_child"]

# Libraries write to stdout as they load; the answer is the line that begins so.
ANSWER = "edgepose-answer:"
_PROBE = Path(__file__).with_name("probe.py")
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        facts: What was found; empty if there is an error.
        error: Why there are no facts, in the words of who failed.
        hint: What to do about it, if that one says.
        absent: Whether the error is that it is not installed.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    hint: str = ""
    absent: bool = False


def ask_child(question: str, *, probe: Path = _PROBE, timeout: float = _TIMEOUT_S) -> Answer:
    """Ask one question of the probe. Never raises.

    Args:
        question: Name of a function there.
        probe: The script that answers.
        timeout: Seconds after which it is stopped.
    """
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, our own script
            [sys.executable, str(probe), question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(error=f"no answer within {timeout:g} s")
    except OSError as error:
        return Answer(error=f"no child process can be started: {error}")
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(ANSWER):
            return Answer(**json.loads(line.removeprefix(ANSWER)))
    return Answer(error=_death(done.returncode, done.stderr))


def _death(code: int, said: str) -> str:
    words = said.strip().splitlines()
    last = f"; last words: {words[-1].strip()}" if words else ""
    if code < 0:
        return f"loading it kills the process ({signal.Signals(-code).name}){last}"
    return f"loading it ends the process (exit code {code}){last}"
