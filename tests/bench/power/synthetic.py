"""Meters and artefacts whose truth is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edgepose.bench.power.meter import Unit
from edgepose.errors import DeviceError, InputError


@dataclass
class SyntheticMeter:
    """Tells a power, or its energy since the meter was made; ``half`` is a part of ``whole``.

    Attributes:
        watts: Power; above it, ``load`` says more.
        load: Watts on top of it now.
        readings: After how many it falls silent; 0 for never.
    """

    watts: float = 0.0
    unit: Unit = "watts"
    name: str = "synthetic"
    load: Callable[[], float] = lambda: 0.0
    readings: int = 0
    settle_s: float = 0.0
    scope: str = "all there is"
    rails: tuple[str, ...] = ("whole", "half")
    total: tuple[str, ...] = ("whole",)
    closed: bool = False
    _taken: int = 0
    _begun: float = field(default_factory=time.monotonic)

    def read(self) -> dict[str, float]:
        self._taken += 1
        if 0 < self.readings < self._taken:
            raise DeviceError("no reading", "it fell silent")
        value = self.watts + self.load()
        if self.unit == "joules":
            value *= time.monotonic() - self._begun
        return {self.rails[0]: value, self.rails[1]: value / 2}

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class Done:
    calls: int
    seconds: float
    started_ns: int
    ended_ns: int


@dataclass
class Artefact:
    """Counts as busy while it sleeps: so many frames a second.

    Attributes:
        rate: Frames a second, of whatever batch.
        most: Largest batch that it takes.
        asked: What it was asked to do; it has been busy since there is something.
    """

    rate: float = 200.0
    most: int = 64
    asked: list[tuple[str, int, float]] = field(default_factory=list)

    def sustain(self, stage: str, batch: int, seconds: float) -> Done:
        self.asked.append((stage, batch, seconds))
        if batch > self.most:
            raise InputError("it takes fewer", f"{self.most} at most")
        started = time.perf_counter_ns()
        time.sleep(seconds)
        ended = time.perf_counter_ns()
        took = (ended - started) / 1e9
        return Done(round(self.rate * took), took, started, ended)
