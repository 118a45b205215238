"""Why a process of native code ended early, in words."""

from __future__ import annotations

import signal

__all__ = ["ending", "killed"]


def killed(code: int) -> bool:
    """Whether the system stopped it, as it does for want of memory."""
    return code == -getattr(signal, "SIGKILL", 9)


def ending(code: int, said: str) -> str:
    """The reason, from a process's exit code and what it wrote."""
    last = said.strip().splitlines()[-1].strip() if said.strip() else "it said nothing"
    if killed(code):
        return "the system stopped it, most likely for want of memory"
    if code < 0:
        known = {number.value: number.name for number in signal.Signals}
        return f"it died of signal {known.get(-code, -code)}; last words: {last}"
    return last
