from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.stream.helpers import MjpegServer


@pytest.fixture
def mjpeg_camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Start a network camera; gives its URL, credentials included."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers: list[MjpegServer] = []

    def start(frames: int, period_s: float = 0.02) -> str:
        servers.append(MjpegServer(frames, period_s))
        return servers[-1].url

    yield start
    for server in servers:
        server.close()
