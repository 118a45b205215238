"""``edgepose run`` as a user types it: exit codes, stdout, stderr, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from edgepose.cli import main
from edgepose.estimator import Estimator
from edgepose.images import read_image
from edgepose.spec_toml import spec_to_toml
from tests.fakes import heatmap_spec, write_tiny_onnx
from tests.stream.helpers import (
    jpeg,
    picture,
    read_video,
    wait_until,
    write_picture,
    write_raw_mjpeg,
    write_video,
)


class Done(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    def command(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["edgepose", "run", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capfd.readouterr())

    return command


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_onnx(tmp_path / "model.onnx", heatmap_spec())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def left_behind(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if ".partial" in p.name]


def test_a_photo(run: Command, model: Path, tmp_path: Path) -> None:
    photo = write_picture(tmp_path / "photo.png")
    save, jsonl = tmp_path / "out.png", tmp_path / "out.jsonl"
    done = run(model, "--source", photo, "--save", save, "--jsonl", jsonl, "--score-threshold", 0)
    assert done.code == 0
    assert done.out == ""
    assert "1 frame, 1 pose" in done.err
    assert f"wrote {save}, {jsonl}" in done.err
    (line,) = lines(jsonl)
    assert line["source"] == str(photo)
    assert len(line["persons"]) == 1
    assert (read_image(save) != picture()).any()


def test_boxes_by_file_name_for_a_folder(run: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in (1, 2, 10):
        write_picture(tmp_path / "in" / f"{number}.png", number)
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"2.png": [[10, 30, 60, 80], [0, 0, 90, 90]], "10.png": []}))
    jsonl = tmp_path / "out.jsonl"
    done = run(
        model, "-s", tmp_path / "in", "--boxes", boxes, "--jsonl", jsonl, "--save", tmp_path / "out"
    )
    assert done.code == 0
    assert [(Path(x["source"]).name, len(x["persons"])) for x in lines(jsonl)] == [
        ("1.png", 0),
        ("2.png", 2),
        ("10.png", 0),
    ]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1.png", "10.png", "2.png"]


def test_a_video(run: Command, model: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", frames=6, fps=10)
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([[10, 30, 110, 80]]))
    save, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    done = run(model, "-s", video, "--boxes", boxes, "--save", save, "--jsonl", jsonl, "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert report["frames"] == report["persons"] == 6
    assert report["end"] == "finished"
    assert report["model"] == "fake"
    assert report["outputs"] == [str(save), str(jsonl)]
    assert [x["frame"] for x in lines(jsonl)] == list(range(6))
    assert lines(jsonl)[5]["time_s"] == pytest.approx(0.5)
    assert len(read_video(save)) == 6


def test_max_frames(run: Command, model: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", frames=6)
    done = run(model, "-s", video, "--max-frames", 2, "--json")
    assert (done.code, json.loads(done.out)["frames"]) == (0, 2)


def test_a_video_without_a_frame_count(run: Command, model: Path, tmp_path: Path) -> None:
    video = write_raw_mjpeg(tmp_path / "bare.mjpeg", frames=7)
    done = run(model, "-s", video, "--save", tmp_path / "out.mp4", "--json")
    assert (done.code, json.loads(done.out)["frames"]) == (0, 7)
    assert len(read_video(tmp_path / "out.mp4")) == 7


def test_a_real_detector_on_a_real_street(
    run: Command, model: Path, shared: Path, tmp_path: Path
) -> None:
    save, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    done = run(
        model,
        "-s",
        shared / "data/video/cctv_1080p.mp4",
        "--detector",
        shared / "peers/yolox_nano.onnx",
        "--max-frames",
        3,
        "--threads",
        1,
        "--save",
        save,
        "--jsonl",
        jsonl,
        "--json",
    )
    assert done.code == 0
    assert "detector yolox_nano.onnx: yolox at 416x416" in done.err
    assert json.loads(done.out)["detector_format"] == "yolox"
    for line in lines(jsonl):
        assert len(line["persons"]) >= 10
        for person in line["persons"]:
            assert 0.3 < person["box_score"] <= 1
    assert len(read_video(save)) == 3


def test_a_folder_with_unreadable_pictures_goes_on_and_ends_with_1(
    run: Command, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    write_picture(tmp_path / "in/1.png")
    (tmp_path / "in/2.png").write_bytes(b"")
    (tmp_path / "in/3.jpg").write_bytes(jpeg()[:-200])
    write_picture(tmp_path / "in/4.png")
    jsonl = tmp_path / "out.jsonl"
    done = run(model, "-s", tmp_path / "in", "--jsonl", jsonl, "--save", tmp_path / "out", "--json")
    assert done.code == 1
    assert [x["frame"] for x in lines(jsonl)] == [0, 3]
    assert len(json.loads(done.out)["skipped"]) == 2
    assert done.err.count("2.png: the file is empty") == 2  # at once, and in the list at the end
    assert "2 of the pictures could not be read" in done.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1.png", "4.png"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("bad.jpg", b"", "the file is empty"),
        ("bad.jpg", jpeg()[:-200], "truncated"),
        ("bad.mp4", b"text" * 500, "as a video"),
        ("bad.mp4", b"", "the file is empty"),
    ],
)
def test_a_bad_source_leaves_nothing(
    name: str, data: bytes, words: str, run: Command, model: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    out = tmp_path / "out"
    suffix = ".png" if name.endswith("jpg") else ".mp4"
    done = run(
        model, "-s", tmp_path / name, "--save", out / f"o{suffix}", "--jsonl", out / "o.jsonl"
    )
    assert done.code == 1
    assert words in done.err
    assert done.out == ""
    assert not out.exists()


def test_bad_boxes_leave_nothing(run: Command, model: Path, tmp_path: Path) -> None:
    photo = write_picture(tmp_path / "photo.png")
    boxes = tmp_path / "boxes.json"
    for data, words in (
        ({"other.png": [[0, 0, 9, 9]]}, "for none of the pictures"),
        ({"photo.png": [[500, 0, 600, 50]]}, "outside the 160x120 image"),
        ({"photo.png": [[5, 0, 5, 50]]}, "no area"),
    ):
        boxes.write_text(json.dumps(data))
        done = run(model, "-s", photo, "--boxes", boxes, "--jsonl", tmp_path / "o.jsonl")
        assert done.code == 1
        assert words in done.err
        assert not (tmp_path / "o.jsonl").exists()


@pytest.mark.parametrize("text", ["77", "/dev/video77"])
def test_a_missing_camera(text: str, run: Command, model: Path) -> None:
    done = run(model, "-s", text)
    assert done.code == 1
    assert "there is no camera 77" in done.err
    assert "/dev/video" in done.err
    assert "Traceback" not in done.err


def test_an_empty_folder(run: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = run(model, "-s", tmp_path / "in")
    assert done.code == 1
    assert "holds no pictures" in done.err


def test_a_place_that_cannot_be_written_is_told_before_any_work(
    run: Command, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write_video(tmp_path / "v.mp4")
    (tmp_path / "file").write_text("")

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("worked before the outputs were open")

    monkeypatch.setattr(Estimator, "__call__", never)
    for options in (
        ("--save", tmp_path / "file/out.mp4"),
        ("--save", "/proc/out.mp4"),
        ("--save", "/proc/folder"),
        ("--jsonl", tmp_path / "file/out.jsonl"),
        ("--jsonl", "/proc/out.jsonl"),
        ("--save", tmp_path / "out.gif"),
    ):
        done = run(model, "-s", video, *options)
        assert done.code == 1
        assert "cannot" in done.err
        assert "Traceback" not in done.err


@pytest.mark.parametrize("option", ["--jsonl", "--save"])
@pytest.mark.parametrize("name", ["v.mp4", "boxes.json", "model.onnx"])
def test_nothing_that_is_read_is_written_over(
    option: str, name: str, run: Command, model: Path, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "v.mp4")
    boxes = tmp_path / "boxes.json"
    boxes.write_text("[[10, 30, 110, 80]]")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    done = run(model, "-s", video, "--boxes", boxes, option, tmp_path / name)
    assert done.code == 1
    assert f"cannot write {tmp_path / name}: that is the " in done.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_picture_of_a_folder_and_no_other_output_is_written_over(
    run: Command, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    photo = write_picture(tmp_path / "in/1.png")
    before = photo.read_bytes()
    done = run(model, "-s", tmp_path / "in", "--jsonl", photo)
    assert done.code == 1
    assert "one of the source's pictures" in done.err
    done = run(model, "-s", photo, "--save", tmp_path / "o.png", "--jsonl", tmp_path / "o.png")
    assert done.code == 1
    assert "where --save writes already" in done.err
    assert photo.read_bytes() == before
    assert not (tmp_path / "o.png").exists()


def test_a_recursive_glob_does_not_overwrite_its_subfolder(
    run: Command, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "shots/sub").mkdir(parents=True)
    write_picture(tmp_path / "shots/a.png", 1)
    inner = write_picture(tmp_path / "shots/sub/a.png", 2)
    before = inner.read_bytes()
    done = run(model, "-s", tmp_path / "shots/**/*.png", "--save", tmp_path / "shots/sub")
    assert done.code == 1
    assert "the originals lie there" in done.err
    assert inner.read_bytes() == before


def test_the_number_of_a_video_is_no_frame_index(run: Command, model: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "1.mp4", frames=4)
    boxes, jsonl = tmp_path / "boxes.json", tmp_path / "out.jsonl"
    boxes.write_text(json.dumps({"1": [[10, 30, 110, 80]]}))
    assert run(model, "-s", video, "--boxes", boxes, "--jsonl", jsonl).code == 0
    assert [len(x["persons"]) for x in lines(jsonl)] == [0, 1, 0, 0]


def test_a_folder_with_pictures_that_have_no_detections(
    run: Command, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for number in (1, 5, 7):
        write_picture(tmp_path / "in" / f"{number:012d}.png")
    boxes, jsonl = tmp_path / "boxes.json", tmp_path / "out.jsonl"
    boxes.write_text(json.dumps([{"image_id": 1, "bbox": [10, 30, 100, 50]}]))
    assert run(model, "-s", tmp_path / "in", "--boxes", boxes, "--jsonl", jsonl).code == 0
    assert [len(x["persons"]) for x in lines(jsonl)] == [1, 0, 0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(run: Command, model: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4")
    done = run(model, "-s", video, "--jsonl", "/dev/full", "--save", tmp_path / "out.mp4")
    assert done.code == 1
    assert "cannot write /dev/full: No space left on device" in done.err
    # The video had its first frame; that much is whole.
    assert len(read_video(tmp_path / "out.mp4")) == 1
    assert left_behind(tmp_path) == []


def test_a_stream_that_dies_keeps_what_was_read(
    run: Command,
    model: Path,
    tmp_path: Path,
    mjpeg_camera: Callable[..., str],
) -> None:
    save, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    url = mjpeg_camera(frames=20)
    done = run(model, "-s", url, "--save", save, "--jsonl", jsonl, "--json")
    assert done.code == 1
    assert "broke off" in done.err
    report = json.loads(done.out)
    assert report["end"] == "broke off"
    assert report["live"] is True
    assert len(lines(jsonl)) == report["frames"] > 2
    assert report["frames"] + report["dropped"] >= 19
    assert len(read_video(save)) > 2
    for text in (done.out, done.err, jsonl.read_text()):
        assert "hunter2" not in text
        assert "s3cret" not in text
        assert "***@127.0.0.1" in text


def test_a_slow_model_drops_frames_and_stays_fresh(
    run: Command,
    model: Path,
    mjpeg_camera: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import time

    original = Estimator.__call__

    def slow(self: Estimator, *arguments: Any, **options: Any) -> Any:
        time.sleep(0.1)
        return original(self, *arguments, **options)

    monkeypatch.setattr(Estimator, "__call__", slow)
    url = mjpeg_camera(frames=1000, period_s=0.01)
    done = run(model, "-s", url, "--max-frames", 8, "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert report["dropped"] > 20
    # Each frame may take three looks of 0.1 s; a queue would add 0.3 s with every frame.
    assert report["stages_ms"]["age"]["p95"] < 1000


def test_ctrl_c_closes_everything(
    run: Command, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = Estimator.__call__, [0]

    def interrupted(self: Estimator, *arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        return original(self, *arguments, **options)

    monkeypatch.setattr(Estimator, "__call__", interrupted)
    boxes = tmp_path / "boxes.json"
    boxes.write_text("[[10, 30, 110, 80]]")
    save, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    video = write_video(tmp_path / "v.mp4", frames=10)
    done = run(model, "-s", video, "--boxes", boxes, "--save", save, "--jsonl", jsonl, "--json")
    assert done.code == 130
    assert json.loads(done.out)["end"] == "interrupted"
    assert len(lines(jsonl)) == len(read_video(save)) == 3
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_real_signal_in_a_real_process(
    number: signal.Signals,
    model: Path,
    tmp_path: Path,
    mjpeg_camera: Callable[..., str],
) -> None:
    save, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    url = mjpeg_camera(frames=100_000)
    command = [sys.executable, "-m", "edgepose", "run", model, "-s", url]
    with subprocess.Popen(
        [*command, "--save", save, "--jsonl", jsonl, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "no_proxy": "127.0.0.1"},
    ) as process:
        try:
            wait_until(lambda: jsonl.exists() and jsonl.read_bytes().count(b"\n") >= 3, 60)
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "hunter2" not in out + err
    report = json.loads(out)
    assert report["end"] == "interrupted"
    assert len(lines(jsonl)) == report["frames"] >= 3
    assert len(read_video(save)) >= 1
    assert left_behind(tmp_path) == []


def test_no_password_where_ffmpeg_is_fresh(model: Path, tmp_path: Path) -> None:
    """FFmpeg reads its log level once in a process: so in one that never used it before."""
    for url in (
        "rtsp://admin:hunter2@127.0.0.1:1/live",
        "http://admin:hunter2@127.0.0.1:1/live?token=s3cret",
    ):
        done = subprocess.run(
            [sys.executable, "-m", "edgepose", "run", str(model), "-s", url, "--json"],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "no_proxy": "127.0.0.1", "OPENCV_FFMPEG_LOGLEVEL": "48"},
        )
        assert done.returncode == 1
        assert done.stdout == ""
        assert "***@127.0.0.1:1/live" in done.stderr
        assert "hunter2" not in done.stderr
        assert "s3cret" not in done.stderr
        assert len(done.stderr.splitlines()) == 2, done.stderr


def test_a_foreign_file_needs_a_spec(run: Command, tmp_path: Path) -> None:
    foreign = write_tiny_onnx(tmp_path / "foreign.onnx", None, output="output")
    photo = write_picture(tmp_path / "photo.png")
    done = run(foreign, "-s", photo)
    assert done.code == 1
    assert "--spec" in done.err

    toml = tmp_path / "spec.toml"
    toml.write_text(spec_to_toml(heatmap_spec()))
    done = run(foreign, "-s", photo, "--spec", toml, "--json")
    assert done.code == 0
    assert json.loads(done.out)["model"] == "fake"

    toml.write_text(spec_to_toml(heatmap_spec((32, 32))))
    done = run(foreign, "-s", photo, "--spec", toml)
    assert done.code == 1
    assert "contradicts the graph" in done.err


def test_a_guessed_spec_is_shown_and_can_be_used_as_a_file(run: Command, tmp_path: Path) -> None:
    foreign = write_tiny_onnx(tmp_path / "foreign.onnx", None, output="output")
    photo = write_picture(tmp_path / "photo.png")
    done = run(foreign, "-s", photo, "--spec", "guess", "--jsonl", tmp_path / "1.jsonl")
    assert done.code == 0
    assert "guessed from the shapes" in done.err
    toml = tmp_path / "spec.toml"
    toml.write_text(done.err[done.err.index("model =") : done.err.index("1 frame,")])
    done = run(foreign, "-s", photo, "--spec", toml, "--jsonl", tmp_path / "2.jsonl")
    assert done.code == 0
    assert lines(tmp_path / "1.jsonl") == lines(tmp_path / "2.jsonl")


def test_a_detector_that_is_none(run: Command, model: Path, tmp_path: Path) -> None:
    photo = write_picture(tmp_path / "photo.png")
    done = run(model, "-s", photo, "--detector", model)
    assert done.code == 1
    assert "no known format" in done.err
    assert "yolov8" in done.err


@pytest.mark.parametrize(
    "options",
    [
        ("--boxes", "b.json", "--detector", "d.onnx"),
        ("--detector-format", "yolox"),
        ("--max-frames", "0"),
        ("--score-threshold", "2"),
    ],
)
def test_wrong_usage(options: tuple[str, ...], run: Command, model: Path) -> None:
    assert run(model, "-s", "x.jpg", *options).code == 2


def test_the_score_threshold_decides_what_is_drawn(
    run: Command, model: Path, tmp_path: Path
) -> None:
    photo = write_picture(tmp_path / "photo.png")
    boxes = tmp_path / "boxes.json"
    boxes.write_text("[[10, 30, 110, 80]]")
    drawn = []
    for threshold in (0.0, 1.0):
        save = tmp_path / f"{threshold}.png"
        done = run(
            model, "-s", photo, "--boxes", boxes, "--save", save, "--score-threshold", threshold
        )
        assert done.code == 0
        drawn.append(int(np.any(read_image(save) != picture(), axis=2).sum()))
    assert drawn[0] > 0 == drawn[1]


def test_show_without_a_screen(
    run: Command, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    done = run(model, "-s", write_picture(tmp_path / "photo.png"), "--show")
    assert done.code == 4
    assert "needs a screen" in done.err
