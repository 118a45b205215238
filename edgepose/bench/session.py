"""One measurement from beginning to end: everything of a plan, together, and a record of each.

Every artefact lives in a process of its own. What goes wrong with one stays with it: its record
says so, and the others go on. What was measured when Ctrl-C came is kept.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edgepose.bench.accuracy import Evaluation, Measured, accuracy_sections, load_measured
from edgepose.bench.conditions import conditions_section, snapshot
from edgepose.bench.contenders import contender
from edgepose.bench.cost import Source, cost_section, roof
from edgepose.bench.folder import OutFolder
from edgepose.bench.hardware import fingerprint
from edgepose.bench.latency import measure_latency
from edgepose.bench.making import make
from edgepose.bench.parity import parity_section
from edgepose.bench.plan import Artefact, Plan
from edgepose.bench.power import PowerInterrupted, measure_power
from edgepose.bench.record import ArtefactRecord, Status
from edgepose.bench.timing import Schedule
from edgepose.bench.worker import Opened, Request, Worker
from edgepose.errors import EdgeposeError, require
from edgepose.evaluate import CocoKeypoints, MpiiPoses
from edgepose.spec import PoseSpec

__all__ = ["Outcome", "Talk", "measure_plan"]

Ticker = Callable[[int, int], None]
_ENDED_EARLY = {"unavailable": "the run ended before it was measured"}


class Talk(Protocol):
    """Who is told how far it is."""

    def step(self, title: str) -> Ticker:
        """Something begins; the answer is called with (done, in all)."""
        ...

    def warn(self, words: str) -> None:
        """Something that the reader of the figures has to know."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What was measured.

    Attributes:
        records: One for each artefact, in the order of the plan.
        interrupted: Whether Ctrl-C ended it early.
        fault: A bug of edgepose that ended it early; to be raised once the records are safe.
    """

    records: list[ArtefactRecord]
    interrupted: bool
    fault: Exception | None = None


@dataclass
class _Subject:
    """An artefact on its way through the measurement."""

    entry: Artefact
    request: Request | None = None
    worker: Worker | None = None
    opened: Opened | None = None
    runner: dict[str, Any] | None = None
    measured: Measured | None = None
    sections: dict[str, Any] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.entry.name

    def fail(self, section: str, error: EdgeposeError) -> None:
        """Note what went wrong; a section that has nothing then says why."""
        words = {"what": error.what, "why": error.why, "hint": error.hint}
        self.failures.append({"section": section, **words})
        self.sections.setdefault(section, {"unavailable": str(error).partition("\n")[0]})


def measure_plan(plan: Plan, folder: OutFolder, command: str, talk: Talk) -> Outcome:
    """Measure everything that a plan asks for.

    Args:
        plan: What to measure.
        folder: For exported artefacts, predictions in progress and pictures.
        command: The command that makes the records again.
        talk: Told of progress and of what throws doubt on figures.

    Returns:
        The records, not yet written. Nothing that concerns one artefact is raised; it is in its
        record.

    Raises:
        DatasetError: There is nothing to measure accuracy on at the places named.
        MissingDependency: Accuracy cannot be judged here.
    """
    session = _Session(plan, folder, command, talk)
    interrupted, fault = False, None
    try:
        session.run()
    except KeyboardInterrupt:
        interrupted = True
    except EdgeposeError:
        raise
    except Exception as error:  # an hour of measuring is not lost to a bug at its end
        fault = error
    finally:
        session.close()
    records = session.records(ended_early=interrupted or fault is not None)
    return Outcome(records, interrupted, fault)


class _Session:
    def __init__(self, plan: Plan, folder: OutFolder, command: str, talk: Talk) -> None:
        self.plan = plan
        self.folder = folder
        self.command = command
        self.talk = talk
        self.run_id = secrets.token_hex(6)
        self.environment = fingerprint()
        self.subjects = [_Subject(entry) for entry in plan.artefact]
        self.before: dict[str, Any] | None = None
        self.after: dict[str, Any] | None = None

    def run(self) -> None:
        """All steps, in an order that lets none disturb another."""
        self._make()
        self.before = snapshot()
        self._warn_of_load()
        self._open()
        if self.plan.wants("accuracy"):
            self._check_data()  # now, and not after minutes of timing
        if self.plan.wants("memory"):
            self._memory()  # before anything else has run in a process
        if self.plan.wants("latency"):
            self._latency()
        if self.plan.wants("power"):
            self._power()
        self.after = snapshot()
        if self.plan.wants("accuracy"):
            self._accuracy()
        for subject in self._open_ones():
            with self._blaming(subject, "latency"):
                subject.runner = self._worker(subject).describe()
        self.close()
        if self.plan.wants("cost"):
            self._cost()

    def close(self) -> None:
        """End all processes."""
        for subject in self.subjects:
            if subject.worker is not None:
                subject.worker.close()
                subject.worker = None

    # --- the steps ---

    def _make(self) -> None:
        for subject in self.subjects:
            with self._blaming(subject, "open"):
                made = self._made(subject)
                subject.request = contender(subject.entry, self.plan, made)

    def _made(self, subject: _Subject) -> Path | None:
        if not subject.entry.export:
            return None
        place = self.folder.place(subject.label) / "artefact"
        said = f"{subject.label}: "
        return make(
            subject.entry.export,
            place,
            self.plan.calib,
            lambda words: _ignore(self.talk.step(said + words)),
        )

    def _warn_of_load(self) -> None:
        load = (self.before or {}).get("load")
        if load and load[0] > 0.5:
            self.talk.warn(
                f"this machine is not idle (load {load[0]:.2f}): times will say so, ratios less"
            )

    def _open(self) -> None:
        tick = self.talk.step("loading")
        asked = [s for s in self.subjects if s.request is not None]
        for done, subject in enumerate(asked, 1):
            with self._blaming(subject, "open"):
                if subject.request is not None:
                    subject.worker = Worker(subject.request)
                    subject.opened = subject.worker.open()
                    subject.runner = subject.opened.describe
            if subject.opened is None and subject.worker is not None:
                subject.worker.close()
                subject.worker = None
            tick(done, len(asked))

    def _check_data(self) -> None:
        """See that there is something to measure accuracy on, and by what."""
        if self.plan.mpii is not None:
            MpiiPoses.load(self.plan.mpii)
        opened = next((s.opened for s in self.subjects if s.opened is not None), None)
        if self.plan.coco is not None and opened is not None:
            require("pycocotools.cocoeval", "eval")
            CocoKeypoints.load(self.plan.coco, PoseSpec.from_dict(opened.spec).keypoints)

    def _memory(self) -> None:
        tick = self.talk.step("memory")
        subjects = self._open_ones()
        for done, subject in enumerate(subjects, 1):
            with self._blaming(subject, "memory"):
                worker = self._worker(subject)
                for batch in sorted(self.plan.batches):
                    if subject.opened is not None and subject.opened.refuses(batch) is None:
                        worker.peak(batch)
                subject.sections["memory"] = worker.memory()
            tick(done, len(subjects))

    def _latency(self) -> None:
        schedule = Schedule(
            rounds=self.plan.rounds or (None if self.plan.seconds else Schedule().rounds),
            seconds=self.plan.seconds,
        )
        subjects = self._open_ones()
        if not subjects:
            return
        found = measure_latency(
            {s.label: self._worker(s) for s in subjects},
            self.plan.batches,
            schedule,
            self.talk.step("timing, in turns"),
        )
        for subject in subjects:
            if subject.label in found.sections:
                subject.sections["latency"] = found.sections[subject.label]
            if subject.label in found.failures:
                subject.fail("latency", found.failures[subject.label])
        if found.interrupted:
            raise KeyboardInterrupt

    def _power(self) -> None:
        subjects = self._open_ones()
        try:
            sections = measure_power(
                {s.label: self._worker(s) for s in subjects},
                self.plan.batches,
                self.plan.power_seconds,
                self.talk.step("power"),
            )
        except PowerInterrupted as interrupted:
            self._put("power", interrupted.sections)
            raise
        self._put("power", sections)

    def _put(self, section: str, sections: Mapping[str, dict[str, Any]]) -> None:
        for subject in self.subjects:
            if subject.label in sections:
                subject.sections[section] = sections[subject.label]

    def _accuracy(self) -> None:
        subjects = self._open_ones()
        for subject in subjects:
            with self._blaming(subject, "accuracy"):
                self._judge(subject)
        # The reference of the times: the first that could be loaded.
        for subject in subjects[1:]:
            with self._blaming(subject, "accuracy"):
                self._hold_against(subjects[0], subject)

    def _judge(self, subject: _Subject) -> None:
        entries: list[dict[str, Any]] = []
        for kind, evaluation in self._evaluations():
            place = self.folder.place(subject.label)
            opened = subject.opened
            job = evaluation.job(
                place / f"{kind}.npz",
                store=place / f"{kind}-so-far.npz",
                sha256=None if opened is None else opened.sha256,
            )
            tick = self.talk.step(f"{subject.label}: {'AP' if kind == 'coco' else 'PCKh'}")
            self._worker(subject).predict(job, tick)
            measured = load_measured(evaluation, job["out"])
            entries += accuracy_sections(measured)
            subject.sections["accuracy"] = entries
            if kind == "coco":
                subject.measured = measured
            note = entries[-1]["protocol"].get("note")
            if note:
                self.talk.warn(f"{subject.label}: {note}")

    def _evaluations(self) -> Iterator[tuple[str, Evaluation]]:
        plan = self.plan
        common: dict[str, Any] = {"flips": plan.flips, "limit": plan.limit}
        if plan.coco is not None:
            yield "coco", Evaluation(coco=plan.coco, detections=plan.detections, **common)
        if plan.mpii is not None:
            yield "mpii", Evaluation(mpii=plan.mpii, **common)

    def _hold_against(self, reference: _Subject, subject: _Subject) -> None:
        if reference.measured is None or subject.measured is None:
            return
        tick = self.talk.step(f"{subject.label}: against {reference.label}")
        subject.sections["parity"] = parity_section(
            reference.label,
            reference.measured,
            subject.measured,
            label=subject.label,
            pictures=self.folder.pictures if self.folder.kept else None,
            progress=tick,
        )

    def _cost(self) -> None:
        tick = self.talk.step("cost")
        subjects = [s for s in self.subjects if s.opened is not None]
        roofs: dict[tuple[str, bool], dict[str, Any]] = {}
        for done, subject in enumerate(subjects, 1):
            with self._blaming(subject, "cost"):
                request, opened = subject.request, subject.opened
                if request is None or opened is None or subject.runner is None:
                    raise AssertionError(f"{subject.label} was opened")
                device = subject.runner["device"]
                half = opened.precision not in (None, "fp32")
                if (device, half) not in roofs:
                    roofs[device, half] = roof(self.plan.threads, device, opened.precision)
                spec = PoseSpec.from_dict(opened.spec)
                subject.sections["cost"] = cost_section(
                    Source(request.artefact, request.kind, spec),
                    subject.sections.get("latency"),
                    roofs[device, half],
                )
            tick(done, len(subjects))

    # --- what the steps have in common ---

    def _open_ones(self) -> list[_Subject]:
        return [s for s in self.subjects if s.worker is not None and s.opened is not None]

    def _worker(self, subject: _Subject) -> Worker:
        if subject.worker is None:
            raise AssertionError(f"{subject.label} is closed")
        return subject.worker

    @contextlib.contextmanager
    def _blaming(self, subject: _Subject, section: str) -> Iterator[None]:
        """Whatever goes wrong inside is this artefact's, and no other's."""
        try:
            yield
        except EdgeposeError as error:
            subject.fail(section, error)

    # --- records ---

    def records(self, ended_early: bool) -> list[ArtefactRecord]:
        """One record an artefact, of what there is by now."""
        conditions = None
        if self.before is not None:
            conditions = conditions_section(
                self.before, self.after or snapshot(), self.plan.threads or "default"
            )
        return [self._record(subject, conditions, ended_early) for subject in self.subjects]

    def _record(
        self, subject: _Subject, conditions: dict[str, Any] | None, ended_early: bool
    ) -> ArtefactRecord:
        sections: dict[str, Any] = {
            name: subject.sections.get(name, _ENDED_EARLY if ended_early else None)
            for name in self.plan.sections
            if self.plan.wants(name)
        }
        if subject.opened is None:
            sections = dict.fromkeys(sections)
        status: Status = "complete"
        if subject.opened is None:
            status = "failed"
        elif subject.failures or ended_early:
            status = "partial"
        return ArtefactRecord(
            command=self.command,
            run=self.run_id,
            label=subject.label,
            status=status,
            failures=subject.failures,
            artefact=_artefact(subject),
            runner=subject.runner,
            conditions=conditions,
            parity=subject.sections.get("parity"),
            environment=self.environment,
            **sections,
        )


def _artefact(subject: _Subject) -> dict[str, Any]:
    request, opened = subject.request, subject.opened
    facts: dict[str, Any] = {
        "name": subject.label,
        "format": None if request is None else request.kind,
        "file": None,
        "sha256": None,
        "bytes": None,
        "precision": None,
        "model": None,
        "spec": None,
        "random_weights": subject.entry.random_weights,
        "made": None,
    }
    if opened is None:
        return facts
    return facts | {
        "file": opened.file,
        "sha256": opened.sha256,
        "bytes": opened.bytes,
        "precision": opened.precision,
        "model": opened.spec["model"],
        "spec": opened.spec,
        "made": opened.record,
    }


def _ignore(_: Ticker) -> None:
    """A step whose length nobody knows."""
