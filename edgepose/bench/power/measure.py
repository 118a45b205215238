"""Energy of a frame: power read beside an artefact that is kept busy, and beside one that rests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgepose.bench.power.find import Found, find_meters
from edgepose.bench.power.meter import Meter
from edgepose.bench.power.sampling import INTERVAL_S, Sampler
from edgepose.errors import DeviceError, EdgeposeError

__all__ = ["PowerInterrupted", "Sustained", "Sustainer", "measure_power"]

_STAGE = "frame"
_CALM_S = 2.0
_IDLE_S = 3.0


class Sustained(Protocol):
    """What an artefact did while it was kept busy."""

    @property
    def calls(self) -> int:
        """Frames."""

    @property
    def started_ns(self) -> int:
        """Begin of the first, on the clock of ``time.perf_counter_ns``."""

    @property
    def ended_ns(self) -> int:
        """End of the last."""


class Sustainer(Protocol):
    """An artefact that can be kept busy."""

    def sustain(self, stage: str, batch: int, seconds: float) -> Sustained:
        """Call it again and again for so long."""


class PowerInterrupted(KeyboardInterrupt):
    """Ctrl-C during :func:`measure_power`.

    Args:
        sections: What it would have returned, with what was measured until then.
    """

    def __init__(self, sections: dict[str, dict[str, Any]]) -> None:
        self.sections = sections
        super().__init__("the measurement of power was interrupted")


@dataclass
class _Kept:
    """What was measured of one artefact."""

    batches: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _Idle:
    """Power while all artefacts rest."""

    watts: float
    rails: dict[str, float]
    seconds: float


def measure_power(
    workers: Mapping[str, Sustainer],
    batches: Sequence[int],
    seconds: float = 5.0,
    progress: Callable[[int, int], None] | None = None,
    *,
    found: Found | None = None,
    idle_seconds: float = _IDLE_S,
    calm_seconds: float = _CALM_S,
    interval_s: float = INTERVAL_S,
) -> dict[str, dict[str, Any]]:
    """Power and energy of frames with each number of persons.

    All artefacts are open and rest at first: that is the idle power. Then one after the other is
    kept busy. What meters tell of the time right after a change of load is left out of both
    (:attr:`~edgepose.bench.power.meter.Meter.settle_s`).

    Args:
        workers: Label -> artefact.
        batches: Persons in a frame.
        seconds: How long each is measured, beyond the time that the meters take to settle.
        progress: Called with (measured, in all).
        found: Meters; those of this machine by default, which are then closed at the end.
        idle_seconds: How long the idle power is measured.
        calm_seconds: Rest before that, in which clocks fall.
        interval_s: Pace of the readings.

    Returns:
        Label -> the record's section ``power``. Where nothing is readable it is ``{"unavailable",
        "tried"}``. A batch that cannot be measured is under ``left_out`` with the reason.

    Raises:
        PowerInterrupted: Ctrl-C; it holds what was measured until then.
    """
    if found is None:
        with find_meters() as own:
            return measure_power(
                workers,
                batches,
                seconds,
                progress,
                found=own,
                idle_seconds=idle_seconds,
                calm_seconds=calm_seconds,
                interval_s=interval_s,
            )
    tried = [{"meter": row.meter, "why": row.why} for row in found.tried]
    if not found.meters:
        return {label: {"unavailable": found.why_none, "tried": tried} for label in workers}
    bench = _Bench(found.meters, interval_s)
    kept = {label: _Kept() for label in workers}
    idle: _Idle | None = None
    interrupted = False
    try:
        time.sleep(calm_seconds)
        idle = bench.idle(idle_seconds)
        turns = [(batch, label) for batch in batches for label in workers]
        for done, (batch, label) in enumerate(turns):
            try:
                row = bench.busy(workers[label], batch, seconds, idle)
                kept[label].batches.append(row)
            except EdgeposeError as error:
                why = f"{error.what}: {error.why}" if error.why else error.what
                kept[label].left_out.append({"batch": batch, "why": why})
            if progress is not None:
                progress(done + 1, len(turns))
    except DeviceError as error:  # the idle power could not be measured: nor can the rest
        why = f"{error.what}: {error.why}" if error.why else error.what
        return {label: {"unavailable": why, "tried": tried} for label in workers}
    except KeyboardInterrupt:
        interrupted = True
    sections = {label: bench.section(kept[label], idle, tried) for label in workers}
    if interrupted:
        raise PowerInterrupted(sections)
    return sections


class _Bench:
    """Meters, and what is made of their readings."""

    def __init__(self, meters: Sequence[Meter], interval_s: float) -> None:
        self.meters = meters
        self.interval_s = interval_s
        self.settle_s = max(meter.settle_s for meter in meters)

    def idle(self, seconds: float) -> _Idle:
        with Sampler(self.meters, self.interval_s) as sampler:
            begin = time.perf_counter_ns()
            time.sleep(self.settle_s + seconds)
            end = time.perf_counter_ns()
        begin += int(self.settle_s * 1e9)
        rails = _rails(sampler, begin, end)
        return _Idle(self._sum(rails), rails, (end - begin) / 1e9)

    def busy(self, worker: Sustainer, batch: int, seconds: float, idle: _Idle) -> dict[str, Any]:
        """One row of the record's ``batches``.

        Raises:
            EdgeposeError: The artefact fails, or a meter.
        """
        with Sampler(self.meters, self.interval_s) as sampler:
            done = worker.sustain(_STAGE, batch, self.settle_s + seconds)
        begin, end = done.started_ns + int(self.settle_s * 1e9), done.ended_ns
        if done.calls < 1 or end <= begin:
            raise DeviceError(
                "the artefact was not busy for long enough",
                f"{done.calls} frames in {(end - done.started_ns) / 1e9:.2f} s",
            )
        rails = _rails(sampler, begin, end)
        watts = self._sum(rails)
        measured = (end - begin) / 1e9
        # Frames come at a steady rate, so that those of the interval are its share of all.
        frames = done.calls * (end - begin) / (end - done.started_ns)
        joules = watts * measured / frames
        above = (watts - idle.watts) * measured / frames
        return {
            "batch": batch,
            "watts": watts,
            "watts_above_idle": watts - idle.watts,
            "joules_per_frame": joules,
            "joules_per_frame_above_idle": above,
            "joules_per_person": joules / batch,
            "joules_per_person_above_idle": above / batch,
            "frames": frames,
            "seconds": measured,
            "samples": min(series.samples(begin, end) for series in sampler.series),
            "rails": rails,
        }

    def section(
        self, kept: _Kept, idle: _Idle | None, tried: list[dict[str, str]]
    ) -> dict[str, Any]:
        if not kept.batches:
            reasons = [f"batch {row['batch']}: {row['why']}" for row in kept.left_out]
            why = "; ".join(reasons) or "interrupted before it was measured"
            return {"unavailable": why, "tried": tried}
        return {
            "meter": " and ".join(dict.fromkeys(meter.name for meter in self.meters)),
            "scope": "; ".join(meter.scope for meter in self.meters),
            "rails": [rail for meter in self.meters for rail in meter.rails],
            "total": [rail for meter in self.meters for rail in meter.total],
            "idle_watts": None if idle is None else idle.watts,
            "idle": None if idle is None else {"seconds": idle.seconds, "rails": idle.rails},
            "batches": kept.batches,
            "left_out": kept.left_out,
            "tried": tried,
        }

    def _sum(self, rails: Mapping[str, float]) -> float:
        return sum(rails[rail] for meter in self.meters for rail in meter.total)


def _rails(sampler: Sampler, begin_ns: int, end_ns: int) -> dict[str, float]:
    """Mean watts of all rails of all meters."""

    def parts() -> Iterator[tuple[str, float]]:
        for series in sampler.series:
            yield from series.watts(begin_ns, end_ns).items()

    return dict(parts())
