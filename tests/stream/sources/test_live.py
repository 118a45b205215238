from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from edgepose.errors import SourceError
from edgepose.stream.sources import live
from edgepose.stream.sources.live import LiveSource
from tests.stream.helpers import FakeCapture, picture


def drain(source: LiveSource, work_s: float = 0.0) -> tuple[list[int], list[float], SourceError]:
    """Indices and ages of all frames, taken by a consumer that needs ``work_s`` for each."""
    indices, ages = [], []
    with pytest.raises(SourceError) as caught:
        for frame in source:
            age = source.age(frame)
            assert age is not None
            indices.append(frame.index)
            ages.append(age)
            time.sleep(work_s)
    return indices, ages, caught.value


def test_a_slow_consumer_drops_frames_and_stays_fresh() -> None:
    capture = FakeCapture(150, period_s=0.01)
    with LiveSource("fake", lambda: capture) as source:
        indices, ages, _ = drain(source, work_s=0.1)
    # 1.5 s of frames, one taken every 0.1 s. The last ones of a queue would be 13 s old.
    assert len(indices) < 40
    assert source.dropped > 80
    assert source.dropped + len(indices) == 150
    assert indices[-1] == 149
    assert max(ages) < 0.75
    assert np.diff(indices).min() >= 1


def test_a_fast_consumer_gets_every_frame() -> None:
    capture = FakeCapture(20)
    taken = threading.Semaphore(1)
    read = capture.read

    def read_when_taken() -> np.ndarray | None:
        assert taken.acquire(timeout=20)
        return read()

    capture.read = read_when_taken  # type: ignore[method-assign]
    with LiveSource("fake", lambda: capture) as source, pytest.raises(SourceError):
        for number, frame in enumerate(source):
            assert frame.index == number
            taken.release()
    assert capture.given == 20
    assert source.dropped == 0


def test_frames_are_whole_and_timed_by_arrival() -> None:
    with LiveSource("fake", lambda: FakeCapture(5, period_s=0.03)) as source:
        frame = next(iter(source))
        np.testing.assert_array_equal(frame.image, picture(frame.index))
        assert 0.02 < frame.time_s < 1
        assert (source.live, source.length, source.fps) == (True, None, 25.0)


def test_its_end_is_an_error_that_says_how_far_it_came() -> None:
    capture = FakeCapture(3, period_s=0.01)
    with LiveSource("fake", lambda: capture) as source:
        error = drain(source)[2]
    assert "fake broke off" in str(error)
    assert "after 3 frames" in str(error)
    assert capture.closed


def test_a_source_without_a_first_frame() -> None:
    with LiveSource("fake", lambda: FakeCapture(0)) as source:
        assert "gives no frames" in str(drain(source)[2])


def test_an_opener_that_fails() -> None:
    def opener() -> FakeCapture:
        raise SourceError("there is no camera 9")

    with pytest.raises(SourceError, match="no camera 9"):
        LiveSource("fake", opener)


def test_an_opener_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_GRACE_S", 0.1)
    answer = threading.Event()

    def opener() -> FakeCapture:
        answer.wait(20)
        raise SourceError("too late")

    start = time.monotonic()
    with pytest.raises(SourceError, match=r"did not answer within 0\.1 s"):
        LiveSource("fake", opener, open_timeout_s=0.1)
    assert time.monotonic() - start < 5
    answer.set()


def test_a_stall_is_an_error() -> None:
    capture = FakeCapture(1, period_s=0.0)
    blocked = threading.Event()
    read = capture.read

    def block() -> np.ndarray | None:
        if capture.given:
            blocked.wait(20)
        return read()

    capture.read = block  # type: ignore[method-assign]
    with LiveSource("fake", lambda: capture, stall_s=0.1) as source:
        frames = iter(source)
        assert next(frames).index == 0
        with pytest.raises(SourceError, match=r"stalled: no frame came for 0\.1 s"):
            next(frames)
        blocked.set()


def test_closing_stops_the_thread_and_releases_the_device() -> None:
    capture = FakeCapture(10_000, period_s=0.005)
    source = LiveSource("fake", lambda: capture)
    next(iter(source))
    source.close()
    assert capture.closed
    given = capture.given
    time.sleep(0.05)
    assert capture.given == given
