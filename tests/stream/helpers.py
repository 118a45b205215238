"""Pictures, videos, captures and sources made for tests."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgepose.draw import DrawStyle
from edgepose.estimator import Estimator
from edgepose.poses import Frame, Poses
from edgepose.spec import COCO_KEYPOINTS
from edgepose.stream.sinks import Result
from edgepose.stream.sources import Source
from edgepose.stream.sources.capture import quiet_opencv
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec

SIZE = (120, 160)  # height, width


def picture(number: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Dark, with a bright square that moves right with the number."""
    image = np.full((*size, 3), 30, np.uint8)
    x = 20 + number * 4 % 100
    image[50:62, x : x + 12] = 240
    return image


def write_picture(path: Path, number: int = 0) -> Path:
    assert cv2.imwrite(str(path), picture(number))
    return path


def write_video(path: Path, frames: int = 6, fps: float = 10.0, codec: str = "mp4v") -> Path:
    height, width = SIZE
    with quiet_opencv():
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (width, height))
        assert writer.isOpened()
        for number in range(frames):
            writer.write(picture(number))
        writer.release()
    return path


def write_raw_mjpeg(path: Path, frames: int = 7) -> Path:
    """A bare sequence of JPEGs: a video without any header, so without a frame count."""
    path.write_bytes(b"".join(jpeg(n) for n in range(frames)))
    return path


def read_video(path: Path) -> list[np.ndarray]:
    frames = []
    with quiet_opencv():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        while (read := capture.read())[0]:
            frames.append(read[1])
    return frames


def jpeg(number: int = 0) -> bytes:
    done, data = cv2.imencode(".jpg", picture(number))
    assert done
    return data.tobytes()


class FakeCapture:
    """A capture that gives ``count`` frames, one every ``period_s``; then none."""

    def __init__(
        self,
        count: int,
        period_s: float = 0.0,
        length: int | None = None,
        positions: list[float] | None = None,
    ) -> None:
        self.fps: float | None = 25.0
        self.length = length
        self.given = 0
        self.closed = False
        self._count = count
        self._period_s = period_s
        self._positions = positions

    def read(self) -> np.ndarray | None:
        time.sleep(self._period_s)
        if self.given >= self._count:
            return None
        self.given += 1
        return picture(self.given - 1)

    def position_s(self) -> float:
        return self._positions[self.given - 1] if self._positions else (self.given - 1) / 25

    def close(self) -> None:
        self.closed = True


class ListSource(Source):
    """Frames from memory; then ``error``, if there is one."""

    def __init__(self, count: int, error: BaseException | None = None, **attributes: Any) -> None:
        super().__init__("memory", length=count, fps=10.0, **attributes)
        self._count = count
        self._error = error

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self._count):
            yield frame(number)
        if self._error is not None:
            raise self._error


def frame(number: int = 0, size: tuple[int, int] = SIZE, source: str = "memory") -> Frame:
    return Frame(picture(number, size), number, number / 10, source)


def brightest_spot() -> Estimator:
    """An estimator that puts every joint on the brightest spot of its box."""
    return Estimator(FakeRunner(heatmap_spec((64, 48)), brightness_maps))


def standing_person(centre: tuple[float, float] = (80, 60), height: float = 80) -> np.ndarray:
    """(17, 2) joints of somebody upright, facing us."""
    unit = np.array(
        [
            *[(0, -0.42), (0.03, -0.45), (-0.03, -0.45), (0.06, -0.43), (-0.06, -0.43)],
            *[(0.13, -0.3), (-0.13, -0.3), (0.18, -0.15), (-0.18, -0.15), (0.2, 0), (-0.2, 0)],
            *[(0.09, 0.02), (-0.09, 0.02), (0.1, 0.25), (-0.1, 0.25), (0.1, 0.48), (-0.1, 0.48)],
        ]
    )
    return (unit * height + np.array(centre)).astype(np.float32)


def poses_of(*people: np.ndarray, score: float = 0.9) -> Poses:
    count = len(people)
    keypoints = np.array(people, np.float32).reshape(count, 17, 2)
    boxes = np.concatenate([keypoints.min(1) - 5, keypoints.max(1) + 5], 1)
    return Poses(
        keypoints,
        np.full((count, 17), score, np.float32),
        boxes.astype(np.float32),
        np.ones(count, np.float32),
    )


def result(number: int = 0, size: tuple[int, int] = SIZE, **of_frame: Any) -> Result:
    shown = Frame(
        picture(number, size),
        number,
        of_frame.get("time_s", number / 10),
        of_frame.get("source", "memory"),
    )
    return Result(shown, poses_of(standing_person()), COCO_KEYPOINTS, DrawStyle())


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


class MjpegServer:
    """A camera on the loopback that sends ``frames`` pictures and then hangs up."""

    def __init__(self, frames: int, period_s: float) -> None:
        pictures = [jpeg(n) for n in range(20)]

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    for n in range(frames):
                        data = pictures[n % len(pictures)]
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}"
                        self.wfile.write(head.encode() + b"\r\n\r\n" + data + b"\r\n")
                        time.sleep(period_s)
                except OSError:
                    pass  # the client has gone

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://admin:hunter2@127.0.0.1:{self._server.server_port}/live?token=s3cret"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
