"""Latency of artefacts in their own processes, measured in turns: one section of a record each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from edgepose.bench.stages import STAGES
from edgepose.bench.statistics import paired_ratio, summary
from edgepose.bench.timing import Conducted, Interrupted, Progress, Samples, Schedule, conduct
from edgepose.bench.worker.request import Opened, Warmed
from edgepose.errors import EdgeposeError

__all__ = ["LatencyRun", "Timed", "measure_latency"]


class Timed(Protocol):
    """What is measured: a :class:`edgepose.bench.worker.Worker`."""

    def open(self) -> Opened:
        """What is known of the artefact."""
        ...

    def warm(self, stage: str, batch: int, window: int, max_warmup_s: float) -> Warmed:
        """Run a stage until its times settle."""
        ...

    def visit(self, stage: str, batch: int, calls: int, untimed: int) -> list[float]:
        """Milliseconds of each of ``calls`` calls, after ``untimed`` others."""
        ...

    def restart(self) -> None:
        """Go on in a new process."""
        ...


@dataclass(frozen=True)
class LatencyRun:
    """What came of it.

    Attributes:
        sections: Label -> the record's section on latency.
        failures: Label -> the first error of an artefact. Its section holds what did not fail.
        interrupted: Whether Ctrl-C ended it early; the sections hold the rounds before.
    """

    sections: dict[str, dict[str, Any]]
    failures: dict[str, EdgeposeError]
    interrupted: bool


class _Key(NamedTuple):
    label: str
    stage: str
    batch: int


@dataclass(frozen=True)
class _Visited:
    """A stage of an artefact at a batch size, as the rounds see it."""

    key: _Key
    worker: Timed

    def visit(self, calls: int, untimed: int) -> list[float]:
        return self.worker.visit(self.key.stage, self.key.batch, calls, untimed)


@dataclass
class _State:
    """What is known so far; Ctrl-C may come at any time.

    Attributes:
        lost: Why a stage at a batch size was not timed, or not to the end.
        failures: The first of them of each artefact.
        launches: Processes of each that rounds were taken of.
    """

    opened: dict[str, Opened] = field(default_factory=dict)
    warmed: dict[_Key, Warmed] = field(default_factory=dict)
    lost: dict[_Key, EdgeposeError] = field(default_factory=dict)
    failures: dict[str, EdgeposeError] = field(default_factory=dict)
    conducted: Conducted = field(default_factory=lambda: Conducted({}, {}, 0))
    launches: int = 0

    def note(self, part: Conducted) -> None:
        """Who failed in a launch has no turn in the next."""
        for key, error in part.failures.items():
            if isinstance(key, _Key):
                self.lost.setdefault(key, error)
                self.failures.setdefault(key.label, error)


def measure_latency(
    workers: Mapping[str, Timed],
    batches: Sequence[int],
    schedule: Schedule | None = None,
    progress: Progress | None = None,
    launches: int = 1,
) -> LatencyRun:
    """Time all artefacts together: every round visits each at every stage and batch size.

    Inside a round those that are compared, at the same stage and batch size, follow one another.

    Args:
        workers: Label -> process of the artefact. The first one is the reference of all ratios.
        batches: People in one call. One that an artefact cannot take is left out for it.
        schedule: How often.
        progress: Called with (steps done, steps in all): warm-ups and visits.
        launches: Over how many processes of each artefact, one after the other, the rounds are
            spread. One process of an artefact may be several percent faster than the next for all
            its life: no number of rounds averages that out, other processes do.

    Returns:
        The sections. Who fails has an error, the complete rounds before it, and what was measured
        of it at other stages and batch sizes; the others go on.
    """
    schedule = schedule or Schedule()
    state = _State()
    parts: list[Conducted] = []
    steps = _Steps(progress, launches)
    interrupted = False
    try:
        for launch in range(launches):
            if launch:
                _restart(workers, state)
            turns = _warm(workers, batches, schedule, state, steps)
            portion = _portion(schedule, launch, launches)
            parts.append(conduct(turns, portion, steps.rounds, _compared))
            state.note(parts[-1])
            steps.next_launch()
    except Interrupted as stopped:
        parts.append(stopped.conducted)
        interrupted = True
    except KeyboardInterrupt:
        interrupted = True
    if interrupted and parts:
        state.note(parts[-1])
    state.launches = len(parts)
    state.conducted = _joined(parts)
    sections = {
        label: _section(label, list(workers), batches, schedule, state, interrupted)
        for label in workers
    }
    return LatencyRun(sections, state.failures, interrupted)


class _Steps:
    """How far all launches together are, from what each of them tells."""

    def __init__(self, progress: Progress | None, launches: int) -> None:
        self._progress = progress
        self._left = launches
        self._before = self._warmed = self._rounds = 0

    def warmed(self, done: int, expected: int) -> None:
        self._warmed = done
        self._tell(done, expected)

    def rounds(self, done: int, total: int) -> None:
        self._rounds = done
        self._tell(self._warmed + done, self._warmed + total)

    def next_launch(self) -> None:
        self._left -= 1
        self._before += self._warmed + self._rounds
        self._warmed = self._rounds = 0

    def _tell(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(self._before + done, self._before + self._left * total)


def _portion(schedule: Schedule, launch: int, launches: int) -> Schedule:
    """The rounds of one launch, in an order of its own."""
    rounds, more = divmod(schedule.rounds or 0, launches)
    return replace(
        schedule,
        rounds=None if schedule.rounds is None else rounds + (launch < more),
        seconds=None if schedule.seconds is None else schedule.seconds / launches,
        seed=schedule.seed + launch,
    )


def _restart(workers: Mapping[str, Timed], state: _State) -> None:
    """New processes; one that cannot be started again has been timed to its end."""
    for label in list(state.opened):
        try:
            workers[label].restart()
        except EdgeposeError as error:
            state.failures.setdefault(label, error)
            for key in state.warmed:
                if key.label == label:
                    state.lost.setdefault(key, error)


def _joined(parts: Sequence[Conducted]) -> Conducted:
    """The rounds of all launches, one after the other.

    Who failed is in no later launch, so that its rounds are the first ones, as inside a launch.
    """
    samples: dict[Hashable, list[Samples]] = {}
    failures: dict[Hashable, EdgeposeError] = {}
    for part in parts:
        for key, values in part.samples.items():
            samples.setdefault(key, []).append(values)
        failures |= part.failures
    return Conducted(
        {key: np.concatenate(values) for key, values in samples.items()},
        failures,
        sum(part.rounds for part in parts),
    )


def _compared(key: Hashable) -> Hashable:
    """What has to be near in time: all artefacts at a stage and batch size."""
    return key[1:] if isinstance(key, _Key) else None


def _warm(
    workers: Mapping[str, Timed],
    batches: Sequence[int],
    schedule: Schedule,
    state: _State,
    steps: _Steps,
) -> list[_Visited]:
    """Open and warm up; what did not fail, in that or before, has a turn."""
    for label, worker in workers.items():
        if label in state.opened or label in state.failures:
            continue
        try:
            state.opened[label] = worker.open()
        except EdgeposeError as error:
            state.failures[label] = error
    keys = [
        _Key(label, stage, batch)
        for label, opened in state.opened.items()
        for batch in batches
        if opened.refuses(batch) is None
        for stage in opened.stages
        if _Key(label, stage, batch) not in state.lost
    ]
    turns = []
    for done, key in enumerate(keys):
        worker = workers[key.label]
        try:
            warmed = worker.warm(key.stage, key.batch, schedule.warmup, schedule.max_warmup_s)
        except EdgeposeError as error:
            state.lost[key] = error
            state.failures.setdefault(key.label, error)
        else:
            state.warmed.setdefault(key, warmed)  # the record tells of the first launch
            turns.append(_Visited(key, worker))
        steps.warmed(done + 1, len(keys) * (1 + schedule.expected_rounds(0, 0.0)))
    return turns


def _section(
    label: str,
    together: Sequence[str],
    batches: Sequence[int],
    schedule: Schedule,
    state: _State,
    interrupted: bool,
) -> dict[str, Any]:
    opened = state.opened.get(label)
    samples = {
        key: values
        for key, values in state.conducted.samples.items()
        if isinstance(key, _Key) and key.label == label
    }
    if opened is None or not samples:
        return {"unavailable": _why_nothing(opened, batches, state.failures.get(label))}
    first = next(warmed for key, warmed in state.warmed.items() if key.label == label)
    left_out = {batch: opened.refuses(batch) for batch in batches}
    return {
        "protocol": {
            "schedule": schedule.to_dict(),
            "rounds": state.conducted.rounds,
            "launches": state.launches,
            "interrupted": interrupted,
            "scene": opened.scene,
            "heap": opened.heap,
            "together": list(together),
            "stages": {stage: STAGES[stage] for stage in opened.stages},
            "left_out": [
                {"batch": batch, "why": why} for batch, why in left_out.items() if why is not None
            ],
            "failed": [
                {
                    "stage": key.stage,
                    "batch": key.batch,
                    "rounds": len(samples.get(key, ())),
                    "why": _told(error),
                }
                for key, error in state.lost.items()
                if key.label == label
            ],
            "first_batch": first.first_inference_batch,
        },
        "import_ms": opened.import_ms,
        "load_ms": opened.load_ms,
        "first_ms": first.first_inference_ms,
        "cells": [_cell(key, values, state.warmed[key]) for key, values in samples.items()],
        "against": _against(label, together[0], samples, state.conducted),
    }


def _why_nothing(opened: Opened | None, batches: Sequence[int], error: EdgeposeError | None) -> str:
    if error is not None:
        return _told(error)
    if opened is not None and all(opened.refuses(batch) for batch in batches):
        return opened.refuses(batches[0]) or ""
    return "interrupted before the first round was complete"


def _told(error: EdgeposeError) -> str:
    return ": ".join(filter(None, [error.what, error.why]))


def _cell(key: _Key, milliseconds: Samples, warmed: Warmed) -> dict[str, Any]:
    return {
        "stage": key.stage,
        "batch": key.batch,
        "milliseconds": summary(milliseconds),
        "persons_per_second": round(key.batch / float(np.median(milliseconds)) * 1000, 2),
        "warmup_calls": warmed.calls,
        "stable": warmed.stable,
        "samples_ms": [[round(float(v), 4) for v in visit] for visit in milliseconds],
    }


def _against(
    label: str, reference: str, samples: Mapping[_Key, Samples], conducted: Conducted
) -> dict[str, Any] | None:
    """Ratios to the reference where both were timed, once there are rounds to compare."""
    if label == reference:
        return None
    rows = []
    for key, values in samples.items():
        baseline = conducted.samples.get(key._replace(label=reference))
        # Who failed has fewer rounds: the first ones, which the other has too.
        both = 0 if baseline is None else min(len(values), len(baseline))
        if baseline is None or both < 2:
            continue
        ratio = paired_ratio(values[:both], baseline[:both])
        rows.append(
            {
                "stage": key.stage,
                "batch": key.batch,
                "ratio": round(ratio.value, 4),
                "interval_95": ratio.interval and [round(end, 4) for end in ratio.interval],
            }
        )
    return {"reference": reference, "ratios": rows}
