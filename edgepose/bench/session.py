"""One measurement from beginning to end: everything of a plan, together, and a record of each.

Every artefact lives in a process of its own. What goes wrong with one stays with it: its record
says so, and the others go on. What was measured when Ctrl-C came is kept.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from edgepose.bench.accuracy import Evaluation, accuracy_sections, load_measured
from edgepose.bench.conditions import conditions_section, snapshot
from edgepose.bench.contenders import contender
from edgepose.bench.cost import Source, cost_section, roof
from edgepose.bench.folder import OutFolder
from edgepose.bench.hardware import fingerprint, load_average
from edgepose.bench.latency import measure_latency
from edgepose.bench.making import make
from edgepose.bench.parity import parity_section
from edgepose.bench.plan import Plan
from edgepose.bench.power import PowerInterrupted, PowerRun, measure_power
from edgepose.bench.record import ArtefactRecord
from edgepose.bench.statistics import LEAST_ROUNDS
from edgepose.bench.subject import Common, Subject
from edgepose.bench.timing import BENCH_ROUNDS, Schedule
from edgepose.bench.worker import Worker
from edgepose.errors import EdgeposeError, require
from edgepose.evaluate import CocoKeypoints, MpiiPoses
from edgepose.spec import PoseSpec

__all__ = ["Outcome", "Talk", "measure_plan"]

Ticker = Callable[[int, int], None]
_BUSY = 0.5


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
        fault: What ended it early and was no artefact's; to be raised once the records are safe.
    """

    records: list[ArtefactRecord]
    interrupted: bool
    fault: Exception | None = None


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
    except Exception as error:  # an hour of measuring is not lost to what goes wrong at its end
        if not session.measuring:
            raise
        fault = error
    finally:
        session.close()
    return Outcome(session.records(interrupted or fault is not None), interrupted, fault)


class _Session:
    def __init__(self, plan: Plan, folder: OutFolder, command: str, talk: Talk) -> None:
        self.plan = plan
        self.folder = folder
        self.command = command
        self.talk = talk
        self.run_id = secrets.token_hex(6)
        self.environment = fingerprint()
        self.subjects = [Subject(entry) for entry in plan.artefact]
        self.before: dict[str, Any] | None = None
        self.after: dict[str, Any] | None = None
        self.load: float | None = None
        self.measuring = False

    def run(self) -> None:
        """All steps, in an order that lets none disturb another."""
        self._check_data()
        self.load = load_average()  # before our own exports
        if self.load is not None and self.load > _BUSY:
            self.talk.warn(
                f"this machine is not idle (load {self.load:.2f}): times will say so, ratios less"
            )
        self._make()
        self.measuring = True
        if self.plan.wants("memory"):
            self._memory()
        self._open()
        self._check_tasks()
        self.before = snapshot()
        if self.plan.wants("latency"):
            self._latency()
        if self.plan.wants("power"):
            self._power()
        self.after = snapshot()
        if self.plan.wants("accuracy"):
            self._accuracy()
        for subject in self._open_ones():
            # Some runtimes know only now what was in force; of one that died it is told already.
            with contextlib.suppress(EdgeposeError):
                subject.runner = self._worker(subject).describe()
        self.close()
        if self.plan.wants("cost"):
            self._cost()

    def close(self) -> None:
        """End all processes."""
        for subject in self.subjects:
            subject.close()

    # --- the steps ---

    def _make(self) -> None:
        for subject in self.subjects:
            with self._blaming(subject, "open"):
                made = self._made(subject)
                subject.request = contender(subject.entry, self.plan, made)

    def _made(self, subject: Subject) -> Path | None:
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

    def _check_data(self) -> None:
        """See that there is something to measure accuracy on, before anything is done."""
        if not self.plan.wants("accuracy"):
            return
        if self.plan.mpii is not None:
            MpiiPoses.load(self.plan.mpii)
        if self.plan.coco is not None:
            require("pycocotools.cocoeval", "eval")
            if not Path(self.plan.coco).is_dir():
                CocoKeypoints.load(self.plan.coco)  # says what is wrong with it

    def _memory(self) -> None:
        """Each alone, in a process that nothing else has run in: what others hold is not in it."""
        subjects = [s for s in self.subjects if s.request is not None]
        tick = self.talk.step("memory, one by one")
        for done, subject in enumerate(subjects, 1):
            with self._blaming(subject, "open"):
                self._weigh(subject)
            tick(done, len(subjects))

    def _weigh(self, subject: Subject) -> None:
        if subject.request is None:
            raise AssertionError(f"{subject.label} has no request")
        with Worker(subject.request) as worker:
            opened = worker.open()
            with self._blaming(subject, "memory"):
                for batch in sorted(self.plan.batches):
                    if opened.refuses(batch) is None:
                        worker.peak(batch)
                subject.sections["memory"] = worker.memory()

    def _open(self) -> None:
        """All of them, to be timed in turns."""
        asked = [s for s in self.subjects if s.request is not None and not s.failed("open")]
        if not asked:
            return
        tick = self.talk.step("loading")
        for done, subject in enumerate(asked, 1):
            with self._blaming(subject, "open"):
                if subject.request is not None:
                    subject.worker = Worker(replace(subject.request, keep_heap=True))
                    subject.opened = subject.worker.open()
                    subject.runner = subject.opened.describe
            if subject.failed("open"):
                subject.close()
            tick(done, len(asked))

    def _check_tasks(self) -> None:
        """Whether each can be measured on the data that was given: now, not after the timing."""
        if not self.plan.wants("accuracy"):
            return
        errors = []
        subjects = self._open_ones()
        for subject in subjects:
            try:
                for _, evaluation in self._evaluations():
                    evaluation.task(self._spec(subject))
            except EdgeposeError as error:
                errors.append(error)
                subject.fail("accuracy", error)
        if subjects and len(errors) == len(subjects):  # it is the data, then
            self.measuring = False
            raise errors[0]

    def _latency(self) -> None:
        subjects = self._open_ones()
        if not subjects:
            return
        rounds = self.plan.rounds or (None if self.plan.seconds else BENCH_ROUNDS)
        schedule = Schedule(rounds=rounds, seconds=self.plan.seconds)
        most = self.plan.launches if rounds is None else max(1, rounds // LEAST_ROUNDS)
        found = measure_latency(
            {s.label: self._worker(s) for s in subjects},
            self.plan.batches,
            schedule,
            self.talk.step("timing, in turns"),
            launches=min(self.plan.launches, most),
        )
        self._put("latency", subjects, found.sections, found.failures)
        if found.interrupted:
            raise KeyboardInterrupt

    def _power(self) -> None:
        subjects = self._open_ones()
        if not subjects:
            return
        try:
            found: PowerRun | PowerInterrupted = measure_power(
                {s.label: self._worker(s) for s in subjects},
                self.plan.batches,
                self.plan.power_seconds,
                self.talk.step("power"),
            )
        except PowerInterrupted as interrupted:
            found = interrupted
        self._put("power", subjects, found.sections, found.failures)
        if isinstance(found, PowerInterrupted):
            raise found

    def _put(
        self,
        section: str,
        subjects: Sequence[Subject],
        sections: Mapping[str, dict[str, Any]],
        failures: Mapping[str, EdgeposeError],
    ) -> None:
        """What was measured of all together, and whose fault what is missing is."""
        for subject in subjects:
            if subject.label in sections:
                subject.sections[section] = sections[subject.label]
            if subject.label in failures:
                subject.fail(section, failures[subject.label])

    def _accuracy(self) -> None:
        subjects = self._open_ones()
        for subject in subjects:
            if not subject.failed("accuracy"):
                with self._blaming(subject, "accuracy"):
                    self._judge(subject)
        # The reference of the times: the first that could be loaded.
        for subject in subjects[1:]:
            if subject.measured:
                with self._blaming(subject, "parity"):
                    self._hold_against(subjects[0], subject)

    def _judge(self, subject: Subject) -> None:
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
            subject.measured[kind] = measured
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

    def _hold_against(self, reference: Subject, subject: Subject) -> None:
        kind = next((k for k in subject.measured if k in reference.measured), None)
        if kind is None:
            subject.sections["parity"] = {
                "unavailable": f"the accuracy of {reference.label} could not be measured"
            }
            return
        tick = self.talk.step(f"{subject.label}: against {reference.label}")
        subject.sections["parity"] = parity_section(
            reference.label,
            reference.measured[kind],
            subject.measured[kind],
            label=subject.label,
            pictures=self.folder.pictures if self.folder.kept else None,
            progress=tick,
        )

    def _cost(self) -> None:
        subjects = [s for s in self.subjects if s.opened is not None]
        if not subjects:
            return
        tick = self.talk.step("cost")
        roofs: dict[tuple[str, bool], dict[str, Any]] = {}
        for done, subject in enumerate(subjects, 1):
            with self._blaming(subject, "cost"):
                request, opened = subject.request, subject.opened
                if request is None or opened is None or subject.runner is None:
                    raise AssertionError(f"{subject.label} was opened")
                device = subject.runner["device"]
                half = device != "cpu" and opened.precision not in (None, "fp32")
                if (device, half) not in roofs:
                    roofs[device, half] = roof(self.plan.threads, device, opened.precision)
                subject.sections["cost"] = cost_section(
                    Source(request.artefact, request.kind, self._spec(subject)),
                    subject.sections.get("latency"),
                    roofs[device, half],
                )
            tick(done, len(subjects))

    # --- what the steps have in common ---

    def _open_ones(self) -> list[Subject]:
        return [s for s in self.subjects if s.worker is not None and s.opened is not None]

    def _worker(self, subject: Subject) -> Worker:
        if subject.worker is None:
            raise AssertionError(f"{subject.label} is closed")
        return subject.worker

    def _spec(self, subject: Subject) -> PoseSpec:
        if subject.opened is None:
            raise AssertionError(f"{subject.label} is not open")
        return PoseSpec.from_dict(subject.opened.spec)

    @contextlib.contextmanager
    def _blaming(self, subject: Subject, section: str) -> Iterator[None]:
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
            ) | {"load_before": self.load}
        common = Common(
            command=self.command,
            run=self.run_id,
            environment=self.environment,
            sections=[name for name in self.plan.sections if self.plan.wants(name)],
            conditions=conditions,
            ended_early=ended_early,
        )
        return [subject.record(common) for subject in self.subjects]


def _ignore(_: Ticker) -> None:
    """A step whose length nobody knows."""
