"""One artefact on its way through a measurement, and the record that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edgepose.bench.accuracy import Measured
from edgepose.bench.plan import Artefact
from edgepose.bench.record import ArtefactRecord, Status
from edgepose.bench.worker import Opened, Request, Worker
from edgepose.errors import EdgeposeError

__all__ = ["Common", "Subject"]

_ENDED_EARLY = {"unavailable": "the run ended before it was measured"}


@dataclass(frozen=True)
class Common:
    """What all records of a run share.

    Attributes:
        command: The command that makes them again.
        run: Its id.
        environment: Hardware and stack.
        sections: What was asked for.
        conditions: Of the machine, before and after; None if it did not come to that.
        ended_early: Whether something was asked for that was not reached.
    """

    command: str
    run: str
    environment: dict[str, Any]
    sections: Sequence[str]
    conditions: dict[str, Any] | None
    ended_early: bool


@dataclass
class Subject:
    """An artefact, and what is known of it by now.

    Attributes:
        entry: What the plan says of it.
        request: What its worker is asked to open; None until it is made.
        worker: Its process; None until it is opened, and when it is closed.
        opened: What the worker told on opening.
        runner: What was in force, in the runner's words.
        measured: Its poses on each data set.
        sections: Of its record, as far as they are measured.
        failures: What went wrong, as in its record.
    """

    entry: Artefact
    request: Request | None = None
    worker: Worker | None = None
    opened: Opened | None = None
    runner: dict[str, Any] | None = None
    measured: dict[str, Measured] = field(default_factory=dict)
    sections: dict[str, Any] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def label(self) -> str:
        """What it is called."""
        return self.entry.name

    def failed(self, section: str) -> bool:
        """Whether something went wrong there."""
        return any(failure["section"] == section for failure in self.failures)

    def fail(self, section: str, error: EdgeposeError) -> None:
        """Note what went wrong; a section that has nothing then says why."""
        words = {"what": error.what, "why": error.why, "hint": error.hint}
        self.failures.append({"section": section, **words})
        self.sections.setdefault(section, {"unavailable": str(error).partition("\n")[0]})

    def close(self) -> None:
        """End its process."""
        if self.worker is not None:
            self.worker.close()
            self.worker = None

    def record(self, common: Common) -> ArtefactRecord:
        """Its record, of what there is by now."""
        missing = _ENDED_EARLY if common.ended_early else None
        sections: dict[str, Any] = {
            name: self.sections.get(name, missing) for name in common.sections
        }
        if self.failed("open"):
            status: Status = "failed"
            sections = dict.fromkeys(sections)
        else:
            status = "partial" if self.failures or common.ended_early else "complete"
        return ArtefactRecord(
            command=common.command,
            run=common.run,
            label=self.label,
            status=status,
            failures=self.failures,
            artefact=self._facts(),
            runner=self.runner,
            conditions=common.conditions,
            parity=self.sections.get("parity"),
            environment=common.environment,
            **sections,
        )

    def _facts(self) -> dict[str, Any]:
        opened, spec = self.opened, None if self.opened is None else self.opened.spec
        return {
            "name": self.label,
            "format": None if self.request is None else self.request.kind,
            "file": None if opened is None else opened.file,
            "sha256": None if opened is None else opened.sha256,
            "bytes": None if opened is None else opened.bytes,
            "precision": None if opened is None else opened.precision,
            "model": None if spec is None else spec["model"],
            "spec": spec,
            "random_weights": self.entry.random_weights,
            "made": None if opened is None else opened.record,
        }
