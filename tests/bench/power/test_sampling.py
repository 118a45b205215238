"""Energy out of readings whose truth is known."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgepose.bench.power.sampling import Sampler, energy
from edgepose.errors import DeviceError
from tests.bench.power.synthetic import SyntheticMeter

SECOND = 10**9
START = 34_921 * SECOND  # moments are nanoseconds since the machine's start


def at(*seconds: float) -> np.ndarray:
    return np.array([START + int(second * SECOND) for second in seconds], dtype=np.int64)


def test_constant_power() -> None:
    times = at(0, 0.13, 0.31, 0.9, 1.7, 2.5)
    joules = energy(times, np.full(6, 7.5), "watts", START + SECOND // 2, START + 2 * SECOND)
    assert joules == pytest.approx(7.5 * 1.5, rel=1e-12)


def test_rising_power_is_exact_for_the_trapezoid() -> None:
    seconds = np.array([0, 0.2, 0.7, 1.0, 1.9, 3.0])
    joules = energy(at(*seconds), 2 + 4 * seconds, "watts", START + SECOND, START + 3 * SECOND)
    assert joules == pytest.approx(2 * 2 + 4 * (9 - 1) / 2, rel=1e-12)


def test_a_wave_within_the_error_of_its_sampling() -> None:
    seconds = np.arange(0, 5.01, 0.1)
    watts = 20 + 5 * np.sin(2 * np.pi * seconds)
    joules = energy(at(*seconds), watts, "watts", START, START + 5 * SECOND)
    assert joules == pytest.approx(100, rel=1e-6)  # whole periods cancel


def test_a_counter_is_a_difference() -> None:
    times = at(0, 1, 2, 3)
    counter = np.array([1e8, 1e8 + 10, 1e8 + 30, 1e8 + 60])
    joules = energy(times, counter, "joules", START + SECOND // 2, START + 5 * SECOND // 2)
    assert joules == pytest.approx(5 + 20 + 15)


@pytest.mark.parametrize(("begin", "end"), [(-0.1, 1.0), (0.5, 2.1), (1.0, 1.0), (1.5, 1.0)])
def test_readings_must_enclose_the_interval(begin: float, end: float) -> None:
    moments = [START + int(second * SECOND) for second in (begin, end)]
    with pytest.raises(ValueError, match="enclose"):
        energy(at(0, 1, 2), np.ones(3), "watts", *moments)


def test_the_sampler_encloses_its_block_and_reads_on() -> None:
    meters = [SyntheticMeter(watts=12.0), SyntheticMeter(watts=3.0, unit="joules")]
    with Sampler(meters, 0.01) as sampler:
        begin = time.perf_counter_ns()
        end = begin
        while any(series.samples(begin, end) < 6 for series in sampler.series):
            time.sleep(0.01)
            end = time.perf_counter_ns()
    for series, watts in zip(sampler.series, (12.0, 3.0), strict=True):
        assert series.times_ns[0] <= begin and end <= series.times_ns[-1]
        assert series.watts(begin, end)["whole"] == pytest.approx(watts, rel=0.05)
        assert series.watts(begin, end)["half"] == pytest.approx(watts / 2, rel=0.05)
    readings = len(sampler.series[0].times_ns)
    time.sleep(0.05)
    assert len(sampler.series[0].times_ns) == readings  # it has stopped


def test_a_meter_that_stops_in_the_middle() -> None:
    meter = SyntheticMeter(watts=1.0, readings=4)
    with Sampler([meter], 0.01) as sampler:
        begin = time.perf_counter_ns()
        time.sleep(0.1)
        end = time.perf_counter_ns()
    with pytest.raises(DeviceError, match="synthetic stopped: no reading: it fell silent"):
        sampler.series[0].watts(begin, end)


def test_a_meter_that_no_longer_tells_a_rail() -> None:
    class Changing(SyntheticMeter):
        def read(self) -> dict[str, float]:
            told = super().read()
            return told if self._taken < 3 else {"half": told["half"], "other": 1.0}

    with Sampler([Changing(watts=1.0)], 0.001) as sampler:
        begin = time.perf_counter_ns()
        while not sampler.series[0].trouble:
            time.sleep(0.001)
        end = time.perf_counter_ns()
    with pytest.raises(DeviceError, match="no longer tells whole, and its rails are half, other"):
        sampler.series[0].watts(begin, end)


def test_too_few_readings_gaps_and_other_clocks() -> None:
    with Sampler([SyntheticMeter(watts=1.0)], 10.0) as sampler:
        begin = time.perf_counter_ns()
        time.sleep(0.01)
        end = time.perf_counter_ns()
    series = sampler.series[0]
    with pytest.raises(DeviceError, match=r"0 readings in .* s, and it takes 5"):
        series.watts(begin, end)
    with pytest.raises(DeviceError, match="clocks of the two processes"):
        series.watts(begin - 60 * SECOND, end - 60 * SECOND)
    series.times_ns = [START + int(x * SECOND) for x in (0, 0.1, 0.2, 0.3, 1.9, 2.0, 2.1)]
    series.readings = [{"whole": 1.0, "half": 0.5}] * 7
    with pytest.raises(DeviceError, match=r"nothing for 1.6 s"):
        series.watts(START, START + 2 * SECOND)
