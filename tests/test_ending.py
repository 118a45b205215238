"""Exit codes in words."""

from __future__ import annotations

import signal

import pytest

from edgepose.ending import ending, killed


def test_a_code_is_the_last_line_that_was_said() -> None:
    assert ending(3, "first\n  second \n") == "second"
    assert ending(3, "") == "it said nothing"


def test_signals_by_name_and_those_without_one_by_number() -> None:
    assert ending(-signal.SIGSEGV, "bye") == "it died of signal SIGSEGV; last words: bye"
    assert ending(-99, "bye") == "it died of signal 99; last words: bye"


def test_what_the_system_stopped_even_where_there_is_no_such_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(2):
        assert killed(-9)
        assert "want of memory" in ending(-9, "bye")
        assert not killed(9)
        monkeypatch.delattr(signal, "SIGKILL", raising=False)
