"""Records side by side: what every form of the report asks of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgepose.bench.reading import (
    Accuracy,
    Difference,
    TimeRatio,
    ap_of,
    ap_protocol,
    batches,
    cell,
    flip_parity,
    holds,
    names,
    ratio,
    references,
)
from edgepose.bench.record import ArtefactRecord
from edgepose.errors import InputError

__all__ = ["Study", "Subject"]

Section = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """One artefact in a report.

    Attributes:
        index: Its place, which gives it the same colour and mark everywhere.
        name: What it is called here.
        record: What was measured.
        ap: Its AP under the report's protocol, if measured.
        is_reference: Whether the others of its run are measured against it.
    """

    index: int
    name: str
    record: ArtefactRecord
    ap: Accuracy | None
    is_reference: bool

    @property
    def precision(self) -> str | None:
        """``fp32``, ``fp16``, ``int8``, ``int8-fp16`` or None."""
        found: str | None = self.record.artefact["precision"]
        return found

    @property
    def works(self) -> bool:
        """Whether anything of it was measured."""
        return self.record.status != "failed"

    @property
    def random(self) -> bool:
        """Whether its weights mean nothing."""
        return bool(self.record.artefact["random_weights"])

    @property
    def ap_change(self) -> Difference | None:
        """AP less the reference's, with its interval."""
        part = flip_parity(self.record, self.ap.flip) if self.ap else None
        if part is None or part["ap_difference"] is None:
            return None
        return Difference(part["ap_difference"]["value"], *part["ap_difference"]["interval_95"])

    def times(self, stage: str, batch: int) -> dict[str, float] | None:
        """Percentiles of a stage and batch size, in milliseconds."""
        found = cell(self.record, stage, batch)
        return None if found is None else found["milliseconds"]

    def ratio(self, stage: str, batch: int) -> TimeRatio | None:
        """Time over the reference's."""
        return ratio(self.record, stage, batch)

    def throughput(self, stage: str) -> list[tuple[int, float]]:
        """Batch size and persons a second, ascending."""
        found = []
        for batch in batches(self.record, stage):
            measured = cell(self.record, stage, batch)
            if measured is not None:
                found.append((batch, float(measured["persons_per_second"])))
        return found

    def section(self, name: str) -> Section | None:
        """A section that was measured, or None."""
        found = getattr(self.record, name)
        return found if holds(found) else None


@dataclass(frozen=True)
class Study:
    """All artefacts of a report, in the order given.

    Attributes:
        subjects: The artefacts.
        persons: Batch size that the headline figures are of: the smallest that was timed.
    """

    subjects: tuple[Subject, ...]
    persons: int

    @classmethod
    def of(cls, records: Sequence[ArtefactRecord]) -> Study:
        """Put records side by side.

        Raises:
            InputError: There are none.
        """
        if not records:
            raise InputError("there is nothing to report", "no record was given")
        against = references(records)
        protocol = ap_protocol(records)
        subjects = tuple(
            Subject(
                index,
                name,
                record,
                ap_of(record, protocol),
                record.label == against.get(record.run),
            )
            for index, (name, record) in enumerate(zip(names(records), records, strict=True))
        )
        timed = {batch for record in records for batch in batches(record, "frame")}
        return cls(subjects, min(timed, default=1))

    @property
    def records(self) -> list[ArtefactRecord]:
        """The records."""
        return [subject.record for subject in self.subjects]

    @property
    def reference_name(self) -> str:
        """What the others are measured against."""
        found = [subject.name for subject in self.subjects if subject.is_reference]
        if len(found) == 1 and len({record.run for record in self.records}) == 1:
            return found[0]
        return "the reference of each run" if len(found) > 1 else "the reference"

    def reference_of(self, subject: Subject) -> Subject | None:
        """The artefact that another of its run is measured against."""
        for found in self.subjects:
            if found.is_reference and found.record.run == subject.record.run:
                return found
        return None

    @property
    def ap_label(self) -> str | None:
        """What the AP has to be called."""
        return next((subject.ap.label for subject in self.subjects if subject.ap), None)

    def batches(self, stage: str) -> list[int]:
        """Batch sizes that any artefact was timed with."""
        return sorted({n for record in self.records for n in batches(record, stage)})

    def stages(self) -> list[str]:
        """Stages that were timed, whole frames first."""
        return [name for name in ("frame", "network", "device") if self.batches(name)]

    def measured(self, section: str) -> list[Subject]:
        """The artefacts that have a section."""
        return [subject for subject in self.subjects if subject.section(section) is not None]
