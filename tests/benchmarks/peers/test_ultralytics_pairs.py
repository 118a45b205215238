from __future__ import annotations

import sys

import pytest

from benchmarks.peers import ultralytics_pairs


def test_every_row_says_that_the_boxes_are_given() -> None:
    pairs = ultralytics_pairs.pairs_of("rtmpose-t")
    assert [pair.name.partition(":")[0] for pair in pairs] == ["x1", "x8"]
    assert all("boxes given" in pair.name and pair.limit is None for pair in pairs)
    assert {pair.baseline for pair in pairs} == {
        f"ultralytics yolo11n-pose x{count} frame" for count in (1, 8)
    }


@pytest.mark.parametrize("error", [ImportError, RuntimeError])
def test_a_torchvision_without_operators_is_none(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Its CUDA build beside a CPU build of torch raises RuntimeError."""

    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "torchvision":
                raise error("operator torchvision::nms does not exist")

    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert ultralytics_pairs.torchvision_works() is False
