from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edgepose.errors import MissingDependency
from edgepose.stream.sinks import WindowSink
from tests.stream.helpers import result


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An OpenCV with windows: keys are pressed from a list, pictures shown are kept."""
    state: dict[str, Any] = {"keys": [], "shown": [], "visible": 1.0, "destroyed": 0}
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "imshow", lambda _, image: state["shown"].append(image))
    monkeypatch.setattr(cv2, "waitKey", lambda _: state["keys"].pop(0) if state["keys"] else -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: state["visible"])
    monkeypatch.setattr(
        cv2, "destroyWindow", lambda _: state.update(destroyed=state["destroyed"] + 1)
    )
    return state


def test_frames_are_shown_annotated(screen: dict[str, Any]) -> None:
    with WindowSink("test") as sink:
        one = result()
        assert sink.write(one)
    np.testing.assert_array_equal(screen["shown"][0], one.drawing)
    assert screen["destroyed"] == 1


@pytest.mark.parametrize("key", [ord("q"), 27])
def test_q_and_escape_end(key: int, screen: dict[str, Any]) -> None:
    sink = WindowSink("test")
    screen["keys"] = [ord("x"), key]
    assert sink.write(result())
    assert not sink.write(result())


def test_closing_the_window_ends(screen: dict[str, Any]) -> None:
    sink = WindowSink("test", hold=True)
    screen["visible"] = 0.0
    assert not sink.write(result())


def test_pictures_wait_for_a_key(screen: dict[str, Any]) -> None:
    sink = WindowSink("test", hold=True)
    screen["keys"] = [-1, -1, ord(" ")]
    assert sink.write(result())
    assert screen["keys"] == []


def test_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MissingDependency, match=r"needs a screen[\s\S]*--save"):
        WindowSink("test")


def test_a_headless_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")

    def not_built(*_: Any) -> None:
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(cv2, "namedWindow", not_built)
    with pytest.raises(MissingDependency, match="opencv-python-headless"):
        WindowSink("test")
