from __future__ import annotations

import pytest

from edgepose.redact import redact


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("rtsp://admin:hunter2@cam/live", "rtsp://***@cam/live"),
        ("rtsp://admin:p@ss:w@rd@10.0.0.5:554/1", "rtsp://***@10.0.0.5:554/1"),
        ("rtsp://admin:pa/ss@cam/live", "rtsp://***@cam/live"),
        ("open http://u@h/x failed", "open http://***@h/x failed"),
        ("http://h/x?user=bob&pwd=1234&ch=2", "http://h/x?user=***&pwd=***&ch=2"),
        ("http://h/x?TOKEN=abc", "http://h/x?TOKEN=***"),
        ("video.mp4", "video.mp4"),
        ("http://h/a@b", "http://h/a@b"),
    ],
)
def test_redact(text: str, clean: str) -> None:
    assert redact(text) == clean
