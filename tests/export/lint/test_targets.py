from __future__ import annotations

import pytest

from edgepose.errors import InputError
from edgepose.export.lint import TARGETS, choose_opset, find_target


def test_a_target_is_found_by_its_name() -> None:
    for name, target in TARGETS.items():
        assert find_target(name) is target
        assert target.default_opset in target.opsets


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("trt-8", "trt-8.6"),
        ("trt8.6", "trt-8.6"),
        ("trt10", "trt-10"),
        ("tensorrt-rtx", "trt-rtx"),
        ("onnxruntime", "ort"),
        ("ORT", None),
        ("", None),
    ],
)
def test_another_name_is_answered_with_the_nearest(typed: str, meant: str | None) -> None:
    with pytest.raises(InputError, match=r"known are trt-8\.6, trt-10, trt-11, trt-rtx, ort") as e:
        find_target(typed)
    assert e.value.hint == (f"did you mean --target {meant}?" if meant else None)


@pytest.mark.parametrize(
    ("name", "opset"),
    [(None, 18), ("trt-8.6", 17), ("trt-10", 18), ("trt-11", 18), ("trt-rtx", 18), ("ort", 18)],
)
def test_the_operator_set_follows_the_target(name: str | None, opset: int) -> None:
    target = TARGETS[name] if name else None
    assert choose_opset(None, target) == opset
    assert choose_opset(17, target) == 17


def test_an_operator_set_that_the_target_does_not_read() -> None:
    with pytest.raises(InputError, match=r"TensorRT 8\.6 does not read operator set 18") as caught:
        choose_opset(18, TARGETS["trt-8.6"])
    assert caught.value.why == "it reads 9 to 17"
    assert caught.value.hint == "--opset 17, or leave --opset out"


def test_an_operator_set_that_nobody_writes() -> None:
    with pytest.raises(InputError, match="17 to 20"):
        choose_opset(21, TARGETS["trt-11"])
