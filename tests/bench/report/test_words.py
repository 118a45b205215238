from __future__ import annotations

import math

import pytest

from edgepose.bench.reading import Difference, TimeRatio
from edgepose.bench.report import words
from edgepose.bench.report.words import MINUS, NONE
from tests.bench.artefacts import records


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0482, "0.048"),
        (0.9996, "1.000"),
        (4.314, "4.31"),
        (9.999, "10.00"),
        (143.4, "143"),
        (1523.0, "1520"),
        (-2.5, f"{MINUS}2.50"),
        (0.0, "0"),
        (0.0001, "< 0.001"),
        (None, NONE),
        (math.nan, NONE),
    ],
)
def test_three_digits(value: float | None, text: str) -> None:
    assert words.digits(value) == text


def test_changes_have_a_sign_unless_they_are_nothing() -> None:
    assert words.change(Difference(-0.4, -0.81, 0.001)) == f"{MINUS}0.40 [{MINUS}0.81, 0.00]"
    assert words.signed(1.234) == "+1.23"
    assert words.ratio(TimeRatio(0.4321, (0.4, 0.5))) == "0.43 [0.40, 0.50]"
    assert words.ratio(TimeRatio(0.4321, None)) == f"0.43 [{NONE}]"
    assert words.change(None) == words.ratio(None) == NONE


def test_sizes_and_counts() -> None:
    assert words.mebibytes(2**20 * 123) == "123"
    assert words.mebibytes(2**18) == "0.25"
    assert words.millions(1_620_000) == "1.62"
    assert words.percent(0.1234, 1) == "12.3 %"
    assert words.persons(1) == "1 person"
    assert words.persons(4) == "4 persons"


def test_sentences() -> None:
    assert words.listed([]) == ""
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.sentence("hello") == "Hello."
    assert words.first_clause("a and b; c. D") == "a and b"
    assert words.shortened("x" * 40).endswith("x" * 31)
    assert words.date("2031-05-04T12:00:00+00:00") == "2031-05-04 12:00 UTC"
    assert words.date("yesterday") == "yesterday"


def test_the_device_is_named_by_what_did_the_work() -> None:
    record = records(1)[0]
    assert words.device(record) == "Example CPU E1 (made up), 2 cores"
    hardware = record.environment["hardware"] | {"gpu": ["NVIDIA Example, 570.1"], "board": None}
    environment = record.environment | {"hardware": hardware}
    on_gpu = records(1, environment=environment, runner={**(record.runner or {}), "device": "cuda"})
    assert words.device(on_gpu[0]) == "NVIDIA Example"
    board = environment | {"hardware": hardware | {"board": "Jetson Example"}}
    assert words.device(records(1, environment=board)[0]) == "Jetson Example, 2 cores"
