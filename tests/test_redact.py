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
        ("rtsp:/admin:pw@h/x", "rtsp:/***@h/x"),
        (
            "rtsp://h/user=admin_password=S3_cret_channel=1_stream=0.sdp",
            "rtsp://h/user=***_password=***_channel=1_stream=0.sdp",
        ),
        ("rtsp://h/user=admin&password=x&channel=1", "rtsp://h/user=***&password=***&channel=1"),
        ("http://h/x?access_token=a&api_key=b", "http://h/x?access_token=***&api_key=***"),
        ("http://h/x?loginuse=a&loginpas=b", "http://h/x?loginuse=***&loginpas=***"),
        ("http://h/x?X-Amz-Signature=ab&n=1", "http://h/x?X-Amz-Signature=***&n=1"),
        ("graph/num_keypoints=17", "graph/num_keypoints=17"),
        ("video.mp4", "video.mp4"),
        ("http://h/a@b", "http://h/a@b"),
    ],
)
def test_redact(text: str, clean: str) -> None:
    assert redact(text) == clean
