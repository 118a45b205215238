from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgepose.errors import GraphError
from edgepose.images import read_image
from edgepose.stream import detector as module
from edgepose.stream.detector import Detector, suppress
from edgepose.stream.detector_formats import FORMATS
from edgepose.stream.sources import open_source
from tests.fakes import heatmap_spec, write_tiny_onnx

SIZE = (64, 96)  # of the detector's input; a 192x320 picture fits in at 0.3
CELLS = 8 * 12 + 4 * 6 + 2 * 3
IMAGE = np.full((192, 320, 3), 60, np.uint8)
PERSON = np.array([100.0, 40.0, 200.0, 160.0])  # in picture pixels


class FakeSession:
    """Answers with fixed outputs and keeps the last input."""

    def __init__(self, outputs: list[np.ndarray], shape: list[Any], kind: str) -> None:
        self.outputs = outputs
        self.shape = shape
        self.kind = kind
        self.seen = np.zeros(0)

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="images", shape=self.shape, type=self.kind)]

    def run(self, names: object, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.seen = feed["images"]
        return self.outputs


@pytest.fixture
def detector_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Detector, FakeSession]]:
    def make(
        outputs: list[np.ndarray],
        shape: tuple[Any, ...] = (1, 3, *SIZE),
        kind: str = "tensor(float)",
        **settings: Any,
    ) -> tuple[Detector, FakeSession]:
        session = FakeSession(outputs, list(shape), kind)
        monkeypatch.setattr(module, "open_session", lambda *_: session)
        return Detector("fake.onnx", **settings), session

    return make


def in_input(box: np.ndarray, *, centred: bool) -> np.ndarray:
    """Picture pixels -> input pixels, worked out by hand: 192x320 scaled by 0.3 is 58x96."""
    scale = np.array([96 / 320, 58 / 192] * 2)
    return box * scale + (np.array([0, 3, 0, 3]) if centred else 0)


def xywh(box: np.ndarray) -> np.ndarray:
    return np.concatenate([(box[:2] + box[2:]) / 2, box[2:] - box[:2]])


def yolox_rows(box: np.ndarray) -> np.ndarray:
    """Raw heads with one certain person and one certain dog; built cell by cell."""
    rows = np.zeros((CELLS, 85), np.float32)
    cx, cy, w, h = xywh(box)
    for cell, stride, corner_x, corner_y, kind in (
        (8 * 12 + 1 * 6 + 2, 16, 2, 1, 0),  # row 1, column 2 of the grid of stride 16
        (8 * 12 + 4 * 6 + 1 * 3 + 1, 32, 1, 1, 16),
    ):
        rows[cell, :4] = (
            cx / stride - corner_x,
            cy / stride - corner_y,
            np.log(w / stride),
            np.log(h / stride),
        )
        rows[cell, 4], rows[cell, 5 + kind] = 0.9, 0.8
    return rows[None]


def test_yolox(detector_of: Callable[..., Any]) -> None:
    detector, session = detector_of([yolox_rows(in_input(PERSON, centred=False))])
    boxes, scores = detector(IMAGE)
    assert detector.format.name == "yolox"
    np.testing.assert_allclose(boxes, [PERSON], atol=1e-3)
    np.testing.assert_allclose(scores, [0.72], atol=1e-6)
    assert session.seen.shape == (1, 3, *SIZE)
    np.testing.assert_array_equal(session.seen[0, :, 0, 0], [60, 60, 60])
    np.testing.assert_array_equal(session.seen[0, :, -1, -1], [114, 114, 114])


def test_yolox_decoded_has_to_be_named(detector_of: Callable[..., Any]) -> None:
    rows = np.zeros((1, CELLS, 6), np.float32)
    rows[0, 5] = [*xywh(in_input(PERSON, centred=False)), 0.9, 0.8]
    detector, _ = detector_of([rows], format_name="yolox-decoded")
    np.testing.assert_allclose(detector(IMAGE)[0], [PERSON], atol=1e-3)


def test_yolov8(detector_of: Callable[..., Any]) -> None:
    rows = np.zeros((1, 84, CELLS), np.float32)
    rows[0, :4, 7] = xywh(in_input(PERSON, centred=True))
    rows[0, 4, 7] = 0.8
    rows[0, :4, 9] = xywh(in_input(PERSON + 60, centred=True))
    rows[0, 5, 9] = 0.99  # a bicycle
    detector, session = detector_of([rows])
    colourful = IMAGE.copy()
    colourful[:] = (10, 20, 250)
    boxes, scores = detector(colourful)
    assert detector.format.name == "yolov8"
    np.testing.assert_allclose(boxes, [PERSON], atol=1e-3)
    np.testing.assert_allclose(scores, [0.8])
    np.testing.assert_allclose(session.seen[0, :, 32, 40], np.array([250, 20, 10]) / 255, rtol=1e-5)
    np.testing.assert_allclose(session.seen[0, :, 0, 0], 114 / 255, rtol=1e-5)


def test_end2end(detector_of: Callable[..., Any]) -> None:
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, 0] = [*in_input(PERSON, centred=True), 0.5, 0]
    rows[0, 1] = [*in_input(PERSON, centred=True), 0.9, 0]
    rows[0, 2] = [*in_input(PERSON, centred=True), 0.95, 3]
    detector, _ = detector_of([rows])
    boxes, scores = detector(IMAGE)
    assert detector.format.name == "end2end"
    # Already suppressed in the graph: both persons stay, by descending score.
    np.testing.assert_allclose(boxes, [PERSON, PERSON], atol=1e-3)
    np.testing.assert_allclose(scores, [0.9, 0.5])


@pytest.mark.parametrize("name", [None, "yolox-nms"])
@pytest.mark.parametrize("swapped", [False, True])
def test_boxes_with_labels(
    name: str | None, swapped: bool, detector_of: Callable[..., Any]
) -> None:
    box = in_input(PERSON, centred=False)
    outputs = [
        np.array([[[*box, 0.9], [*box, 0.95], [*box, 0.2]]], np.float32),
        np.array([[0, 7, 0]], np.int64),
    ]
    detector, session = detector_of(outputs[::-1] if swapped else outputs, format_name=name)
    boxes, scores = detector(IMAGE)
    assert detector.format.name == (name or "rtmdet")
    np.testing.assert_allclose(boxes, [PERSON], atol=1e-3)
    np.testing.assert_allclose(scores, [0.9])
    expected = 60 if name else (60 - np.array([103.53, 116.28, 123.675])) / [57.375, 57.12, 58.395]
    np.testing.assert_allclose(session.seen[0, :, 0, 0], expected, rtol=1e-5)


def test_nobody(detector_of: Callable[..., Any]) -> None:
    for outputs in (
        [np.zeros((1, CELLS, 85), np.float32)],
        [np.zeros((1, 0, 6), np.float32)],
        [np.zeros((1, 0, 5), np.float32), np.zeros((1, 0), np.int64)],
    ):
        boxes, scores = detector_of(outputs)[0](IMAGE)
        assert boxes.shape == (0, 4)
        assert scores.shape == (0,)


def test_boxes_are_clipped_and_slivers_dropped(detector_of: Callable[..., Any]) -> None:
    over = np.array([-50.0, -20.0, 500.0, 400.0])
    beside = np.array([319.5, 10.0, 500.0, 100.0])
    rows = np.zeros((1, 10, 6), np.float32)
    rows[0, 0] = [*in_input(over, centred=True), 0.9, 0]
    rows[0, 1] = [*in_input(beside, centred=True), 0.8, 0]
    boxes, _ = detector_of([rows])[0](IMAGE)
    np.testing.assert_allclose(boxes, [[0, 0, 320, 192]])


def test_thresholds_and_the_limit_on_persons(detector_of: Callable[..., Any]) -> None:
    rows = np.zeros((1, 20, 6), np.float32)
    rows[0] = [*in_input(PERSON, centred=True), 0, 0]
    rows[0, :, 4] = np.linspace(0.05, 1, 20)
    detector, _ = detector_of([rows], score_threshold=0.5, max_persons=3)
    np.testing.assert_allclose(detector(IMAGE)[1], [1, 0.95, 0.9])
    detector.max_persons = 100
    assert len(detector(IMAGE)[0]) == 11


def test_suppression_keeps_the_best_of_what_overlaps() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10], [5, 0, 15, 10]], np.float32)
    scores = np.array([0.5, 0.9, 0.3, 0.8], np.float32)
    # IoU with box 1: 0.82 for box 0, 0.43 for box 3.
    assert suppress(boxes, scores, 0.5).tolist() == [1, 3, 2]
    assert suppress(boxes, scores, 0.4).tolist() == [1, 2]
    assert suppress(boxes[:0], scores[:0], 0.5).tolist() == []


def test_a_half_precision_detector(detector_of: Callable[..., Any]) -> None:
    outputs = [yolox_rows(in_input(PERSON, centred=False)).astype(np.float16)]
    detector, session = detector_of(outputs, kind="tensor(float16)")
    np.testing.assert_allclose(detector(IMAGE)[0], [PERSON], atol=0.5)
    assert session.seen.dtype == np.float16


def test_an_open_input_size_is_640(detector_of: Callable[..., Any]) -> None:
    rows = np.zeros((1, 84, 8400), np.float32)
    detector, _ = detector_of([rows], shape=("batch", 3, "height", "width"))
    assert detector.size == (640, 640)
    assert detector.format.name == "yolov8"


@pytest.mark.parametrize(
    "shapes", [[(1, 17, 16, 12)], [(1, CELLS + 1, 85)], [(1, 3), (1, 4)], [(2, CELLS, 85)]]
)
def test_unknown_outputs_list_the_table(
    shapes: list[tuple[int, ...]], detector_of: Callable[..., Any]
) -> None:
    with pytest.raises(GraphError, match="no known format") as caught:
        detector_of([np.zeros(s, np.float32) for s in shapes])
    for row in FORMATS:
        assert row.name in str(caught.value)
    assert str(list(shapes[0])) in str(caught.value)


def test_a_wrong_format_name(detector_of: Callable[..., Any]) -> None:
    outputs = [np.zeros((1, CELLS, 85), np.float32)]
    with pytest.raises(GraphError, match="no detector format 'yolo'"):
        detector_of(outputs, format_name="yolo")
    with pytest.raises(GraphError, match="not of the format 'rtmdet'"):
        detector_of(outputs, format_name="rtmdet")
    with pytest.raises(GraphError, match="not of the format 'yolox'"):
        detector_of([np.zeros((1, 300, 6), np.float32)], format_name="yolox")


@pytest.mark.parametrize(
    ("shape", "kind"), [((1, 64, 96, 3), "tensor(float)"), ((1, 3, 64, 96), "tensor(uint8)")]
)
def test_an_input_no_detector_has(
    shape: tuple[int, ...], kind: str, detector_of: Callable[..., Any]
) -> None:
    with pytest.raises(GraphError, match="does not look like a detector"):
        detector_of([], shape=shape, kind=kind)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="there is no file"):
        Detector(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(GraphError, match="cannot load"):
        Detector(tmp_path / "bad.onnx")
    pose = write_tiny_onnx(tmp_path / "pose.onnx", heatmap_spec())
    with pytest.raises(GraphError, match="no known format"):
        Detector(pose)


@pytest.fixture(scope="module")
def yolox_nano(shared: Path) -> Detector:
    return Detector(shared / "peers/yolox_nano.onnx", threads=1)


def test_a_real_detector_finds_the_large_people_of_real_photos(
    yolox_nano: Detector, shared: Path
) -> None:
    folder = shared / "data/coco"
    labels = json.loads((folder / "annotations/person_keypoints_val2017.json").read_text())
    names = {image["id"]: image["file_name"] for image in labels["images"]}
    people = [a for a in labels["annotations"] if not a["iscrowd"] and a["area"] > 96**2][:30]
    found = 0
    for person in people:
        x, y, w, h = person["bbox"]
        boxes, _ = yolox_nano(read_image(folder / "val2017" / names[person["image_id"]]))
        low = np.maximum(boxes[:, :2], [x, y])
        high = np.minimum(boxes[:, 2:], [x + w, y + h])
        overlap = (high - low).clip(0).prod(1)
        union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + w * h - overlap
        found += bool((overlap / union >= 0.5).any())
    assert found >= 26


def test_a_real_detector_on_a_real_street(yolox_nano: Detector, shared: Path) -> None:
    assert yolox_nano.format.name == "yolox"
    assert yolox_nano.size == (416, 416)
    with open_source(str(shared / "data/video/cctv_1080p.mp4")) as source:
        boxes, scores = yolox_nano(next(iter(source)).image)
    assert len(boxes) >= 12
    assert (np.diff(scores) <= 0).all()
    heights = boxes[:, 3] - boxes[:, 1]
    assert 100 < np.median(heights) < 250
