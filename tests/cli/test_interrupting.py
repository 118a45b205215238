from __future__ import annotations

import os
import signal
import threading

import pytest

from edgepose.cli._interrupting import one_interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_obeyed_and_the_second_is_not(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    written = False
    with one_interruption():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
            signal.pause()
        os.kill(os.getpid(), number)
        written = True
    assert written
    assert "a moment, please" in capsys.readouterr().err
    assert signal.getsignal(number) is before


def test_in_another_thread_it_changes_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with one_interruption():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
