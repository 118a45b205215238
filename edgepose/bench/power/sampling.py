"""Reading meters at a steady pace beside the work, and the energy of an interval from it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
import numpy.typing as npt

from edgepose.bench.power.meter import Meter, Unit
from edgepose.errors import DeviceError

__all__ = ["INTERVAL_S", "Sampler", "Series", "energy"]

INTERVAL_S = 0.1
_LEAST_SAMPLES = 5
_LONGEST_GAP_S = 1.0
_JOIN_S = 10.0


def energy(
    times_ns: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    unit: Unit,
    begin_ns: int,
    end_ns: int,
) -> float:
    """Joules between two moments.

    Of power by the trapezoidal rule, with values at the ends interpolated; of an energy counter by
    the difference of its interpolated values at the ends.

    Args:
        times_ns: (n,) moments of the readings, rising.
        values: (n,) watts or joules.
        unit: Which.
        begin_ns: Begin of the interval, not before the first reading.
        end_ns: Its end, not after the last.

    Raises:
        ValueError: The readings do not enclose the interval.
    """
    if len(times_ns) == 0 or not times_ns[0] <= begin_ns < end_ns <= times_ns[-1]:
        raise ValueError("the readings do not enclose the interval")
    # From begin, so that nanoseconds since the start of the machine keep their digits.
    seconds = (times_ns - begin_ns) / 1e9
    end = (end_ns - begin_ns) / 1e9
    first, last = np.interp([0.0, end], seconds, values)
    if unit == "joules":
        return float(last - first)
    inside = (seconds > 0) & (seconds < end)
    grid = np.concatenate([[0.0], seconds[inside], [end]])
    watts = np.concatenate([[first], values[inside], [last]])
    return float(np.sum(np.diff(grid) * (watts[1:] + watts[:-1]) / 2))


@dataclass
class Series:
    """What one meter told.

    Attributes:
        meter: Which.
        times_ns: Moments of its readings on the clock of ``time.perf_counter_ns``.
        readings: Its readings.
        trouble: Why it stopped; empty if it did not.
    """

    meter: Meter
    times_ns: list[int] = field(default_factory=list)
    readings: list[dict[str, float]] = field(default_factory=list)
    trouble: str = ""

    def take(self) -> None:
        """Read once more."""
        if self.trouble:
            return
        before = time.perf_counter_ns()
        try:
            reading = self.meter.read()
        except DeviceError as error:
            self.trouble = f"{error.what}: {error.why}" if error.why else error.what
            return
        lacking = [rail for rail in self.meter.rails if rail not in reading]
        if lacking:
            told = ", ".join(sorted(reading)) or "none"
            self.trouble = f"it no longer tells {', '.join(lacking)}, and its rails are {told}"
            return
        self.times_ns.append((before + time.perf_counter_ns()) // 2)
        self.readings.append(reading)

    def samples(self, begin_ns: int, end_ns: int) -> int:
        """Readings in an interval."""
        return sum(begin_ns <= moment <= end_ns for moment in self.times_ns)

    def watts(self, begin_ns: int, end_ns: int) -> dict[str, float]:
        """Mean power of every rail in an interval.

        Raises:
            DeviceError: The meter stopped, or told too little.
        """
        if self.trouble:
            raise DeviceError(f"{self.meter.name} stopped", self.trouble)
        times = np.array(self.times_ns, dtype=np.int64)
        if not times[0] <= begin_ns < end_ns <= times[-1]:
            raise DeviceError(
                "the energy of an interval cannot be told",
                "the clocks of the two processes do not agree, as in containers of their own",
            )
        inside = times[(times >= begin_ns) & (times <= end_ns)]
        if len(inside) < _LEAST_SAMPLES:
            raise DeviceError(
                f"{self.meter.name} told too little",
                f"{len(inside)} readings in {(end_ns - begin_ns) / 1e9:.2f} s, and it takes "
                f"{_LEAST_SAMPLES}",
            )
        gap = float(np.max(np.diff(inside))) / 1e9
        if self.meter.unit == "watts" and gap > _LONGEST_GAP_S:
            raise DeviceError(f"{self.meter.name} told too little", f"nothing for {gap:.1f} s")
        seconds = (end_ns - begin_ns) / 1e9
        found = {}
        for rail in self.meter.rails:
            values = np.array([reading[rail] for reading in self.readings], dtype=np.float64)
            found[rail] = energy(times, values, self.meter.unit, begin_ns, end_ns) / seconds
        return found


class Sampler:
    """Reads meters in a thread of its own, from the begin of a ``with`` block to its end.

    The first readings are taken before the block begins and the last ones after it ends, so that
    they enclose whatever happens inside.

    Args:
        meters: To read.
        interval_s: Pace.

    Attributes:
        series: What they told, one a meter.
    """

    def __init__(self, meters: Sequence[Meter], interval_s: float = INTERVAL_S) -> None:
        self.series = [Series(meter) for meter in meters]
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="power", daemon=True)

    def __enter__(self) -> Sampler:
        self._take()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            for series in self.series:
                series.trouble = series.trouble or "a reading did not come back"
        else:
            self._take()

    def _run(self) -> None:
        due = time.monotonic() + self._interval_s
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self._take()
            due = max(due + self._interval_s, time.monotonic())

    def _take(self) -> None:
        for series in self.series:
            series.take()
