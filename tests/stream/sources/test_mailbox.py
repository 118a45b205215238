from __future__ import annotations

import threading
import time

import pytest

from edgepose.stream.sources.mailbox import Closed, Mailbox


def test_the_newest_item_replaces_one_that_nobody_took() -> None:
    box: Mailbox[int] = Mailbox()
    for number in range(5):
        box.put(number)
    assert box.take(0) == 4
    assert box.overwritten == 4


def test_what_was_taken_is_not_counted_as_overwritten() -> None:
    box: Mailbox[int] = Mailbox()
    for number in range(5):
        box.put(number)
        assert box.take(0) == number
    assert box.overwritten == 0


def test_the_last_item_can_be_taken_after_closing() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(7)
    box.close()
    assert box.take(0) == 7
    with pytest.raises(Closed):
        box.take(10)


def test_an_empty_box_times_out() -> None:
    with pytest.raises(TimeoutError):
        Mailbox[int]().take(0.02)


@pytest.mark.parametrize("action", ["put", "close"])
def test_a_waiting_reader_is_woken(action: str) -> None:
    box: Mailbox[int] = Mailbox()
    timer = threading.Timer(0.05, lambda: box.put(1) if action == "put" else box.close())
    timer.start()
    start = time.monotonic()
    if action == "put":
        assert box.take(10) == 1
    else:
        with pytest.raises(Closed):
            box.take(10)
    assert time.monotonic() - start < 5
    timer.join()
