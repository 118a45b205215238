"""Energy of a frame: power read beside an artefact that is kept busy, and beside one that rests."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from edgepose.bench.power.find import Found, find_meters
from edgepose.bench.power.meter import Meter
from edgepose.bench.power.sampling import INTERVAL_S, Sampler
from edgepose.errors import DeviceError, EdgeposeError, InputError

__all__ = ["PowerInterrupted", "PowerRun", "Sustained", "Sustainer", "measure_power"]

_log = logging.getLogger(__name__)
_STAGE = "frame"
_CALM_S = 10.0
_IDLE_S = 3.0
# Two measurements of the idle power agree within this share, or so many watts.
_STEADY = 0.03
_STEADY_WATTS = 0.05


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


@dataclass(frozen=True)
class PowerRun:
    """What came of it.

    Attributes:
        sections: Label -> the record's section on power. Where nothing is readable it is
            ``{"unavailable", "tried"}``. A batch that was not measured is under ``left_out`` with
            the reason.
        failures: Label -> the first error of an artefact, or of a meter while it was busy. That it
            does not take a batch is none.
    """

    sections: dict[str, dict[str, Any]]
    failures: dict[str, EdgeposeError]


class PowerInterrupted(KeyboardInterrupt):
    """Ctrl-C during :func:`measure_power`.

    Args:
        run: What it would have returned, with what was measured until then.

    Attributes:
        sections: Of that run.
        failures: Likewise.
    """

    def __init__(self, run: PowerRun) -> None:
        self.sections, self.failures = run.sections, run.failures
        super().__init__("the measurement of power was interrupted")


@dataclass
class _Kept:
    """What was measured of one artefact, by batch."""

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    failure: EdgeposeError | None = None


@dataclass(frozen=True)
class _Idle:
    """Power while all artefacts rest.

    Attributes:
        watts: In all.
        rails: Of each rail.
        seconds: How long it was measured.
        steady: Whether the measurement before it found about the same.
    """

    watts: float
    rails: dict[str, float]
    seconds: float
    steady: bool = False


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
    seed: int = 0,
) -> PowerRun:
    """Power and energy of frames with each number of persons.

    All artefacts are open and rest at first, until the power they rest at is steady: that is the
    idle power. Then each is kept busy with each batch, in an order that is drawn, so that a board
    that warms up favours none. At the end the idle power is measured again; the mean of both is
    what counts. What meters tell of the time right after a change of load is left out of all of it
    (:attr:`~edgepose.bench.power.meter.Meter.settle_s`).

    Args:
        workers: Label -> artefact.
        batches: Persons in a frame.
        seconds: How long each is measured, beyond the time that the meters take to settle.
        progress: Called with (measured, in all).
        found: Meters; those of this machine by default, which are then closed at the end.
        idle_seconds: How long the idle power is measured.
        calm_seconds: No measurement of it begins later, however unsteady it is.
        interval_s: Pace of the readings.
        seed: Of the order.

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
                seed=seed,
            )
    tried = [{"meter": row.meter, "why": row.why} for row in found.tried]
    if not found.meters:
        return _unavailable(workers, found.why_none, tried)
    bench = _Bench(found.meters, interval_s)
    kept = {label: _Kept() for label in workers}
    turns = [(batch, label) for batch in batches for label in workers]
    random.Random(seed).shuffle(turns)  # noqa: S311 - an order, no secret
    idle: list[_Idle] = []
    interrupted = False
    try:
        idle.append(bench.rest(idle_seconds, calm_seconds))
        for done, (batch, label) in enumerate(turns):
            _measure(bench, workers[label], batch, seconds, kept[label])
            if progress is not None:
                progress(done + 1, len(turns))
        idle.append(bench.rest(idle_seconds, calm_seconds))
    except DeviceError as error:  # a meter fails even while nothing happens
        if not idle:
            return _unavailable(workers, _words(error), tried)
        _log.warning("the idle power was not measured again: %s", _words(error))
    except KeyboardInterrupt:
        interrupted = True
    run = PowerRun(
        {label: bench.section(kept[label], batches, idle, tried) for label in workers},
        {label: rows.failure for label, rows in kept.items() if rows.failure is not None},
    )
    if interrupted:
        raise PowerInterrupted(run)
    return run


def _unavailable(labels: Iterable[str], why: str, tried: list[dict[str, str]]) -> PowerRun:
    return PowerRun({label: {"unavailable": why, "tried": tried} for label in labels}, {})


def _measure(bench: _Bench, worker: Sustainer, batch: int, seconds: float, kept: _Kept) -> None:
    """One batch of one artefact; what fails is written down."""
    try:
        kept.rows[batch] = bench.busy(worker, batch, seconds)
    except InputError as error:  # it does not take such a batch
        kept.left_out[batch] = _words(error)
    except EdgeposeError as error:
        kept.left_out[batch] = _words(error)
        kept.failure = kept.failure or error


def _words(error: EdgeposeError) -> str:
    return f"{error.what}: {error.why}" if error.why else error.what


class _Bench:
    """Meters, and what is made of their readings."""

    def __init__(self, meters: Sequence[Meter], interval_s: float) -> None:
        self.meters = meters
        self.interval_s = interval_s
        self.settle_s = max(meter.settle_s for meter in meters)

    def rest(self, seconds: float, longest_s: float) -> _Idle:
        """The idle power, once it is steady: clocks fall and boards cool for a while.

        Raises:
            DeviceError: A meter fails.
        """
        began = time.monotonic()
        idle = self._idle(seconds)
        while not idle.steady and time.monotonic() - began < longest_s:
            before, idle = idle, self._idle(seconds)
            change = abs(idle.watts - before.watts)
            steady = change <= max(_STEADY * abs(before.watts), _STEADY_WATTS)
            idle = replace(idle, steady=steady)
        return idle

    def _idle(self, seconds: float) -> _Idle:
        with Sampler(self.meters, self.interval_s) as sampler:
            begin = time.perf_counter_ns()
            time.sleep(self.settle_s + seconds)
            end = time.perf_counter_ns()
        begin += int(self.settle_s * 1e9)
        rails = _rails(sampler, begin, end)
        return _Idle(self._sum(rails), rails, (end - begin) / 1e9)

    def busy(self, worker: Sustainer, batch: int, seconds: float) -> dict[str, Any]:
        """One row of the record's ``batches``, but for what is above the idle power.

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
        return {
            "batch": batch,
            "watts": watts,
            "joules_per_frame": joules,
            "joules_per_person": joules / batch,
            "frames": frames,
            "seconds": measured,
            "samples": min(series.samples(begin, end) for series in sampler.series),
            "rails": rails,
        }

    def section(
        self,
        kept: _Kept,
        batches: Sequence[int],
        idle: Sequence[_Idle],
        tried: list[dict[str, str]],
    ) -> dict[str, Any]:
        """The record's section of one artefact, with the idle power before and after."""
        left_out = [{"batch": b, "why": kept.left_out[b]} for b in batches if b in kept.left_out]
        if not kept.rows:
            reasons = [f"batch {row['batch']}: {row['why']}" for row in left_out]
            why = "; ".join(reasons) or "interrupted before it was measured"
            return {"unavailable": why, "tried": tried}
        watts = sum(row.watts for row in idle) / len(idle)
        return {
            "meter": " and ".join(dict.fromkeys(meter.name for meter in self.meters)),
            "scope": "; ".join(meter.scope for meter in self.meters),
            "rails": [rail for meter in self.meters for rail in meter.rails],
            "total": [rail for meter in self.meters for rail in meter.total],
            "idle_watts": watts,
            "idle": {
                "before": asdict(idle[0]),
                "after": asdict(idle[1]) if len(idle) > 1 else None,
            },
            "batches": [_above(kept.rows[b], watts) for b in batches if b in kept.rows],
            "left_out": left_out,
            "tried": tried,
        }

    def _sum(self, rails: Mapping[str, float]) -> float:
        return sum(rails[rail] for meter in self.meters for rail in meter.total)


def _above(row: dict[str, Any], idle_watts: float) -> dict[str, Any]:
    """A row with what is due to the work alone."""
    watts = row["watts"] - idle_watts
    joules = watts * row["seconds"] / row["frames"]
    return {
        **row,
        "watts_above_idle": watts,
        "joules_per_frame_above_idle": joules,
        "joules_per_person_above_idle": joules / row["batch"],
    }


def _rails(sampler: Sampler, begin_ns: int, end_ns: int) -> dict[str, float]:
    """Mean watts of all rails of all meters."""

    def parts() -> Iterator[tuple[str, float]]:
        for series in sampler.series:
            yield from series.watts(begin_ns, end_ns).items()

    return dict(parts())
