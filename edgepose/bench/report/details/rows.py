"""What all detailed tables begin with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgepose.bench.report.study import Study, Subject
from edgepose.bench.report.table import Cell, Column

__all__ = ["ARTEFACT", "named", "sections"]

ARTEFACT = Column("artefact", numeric=False)


def named(subject: Subject) -> Cell:
    """The artefact's name, with its colour and mark."""
    return Cell(subject.name, subject=subject.index)


def sections(study: Study, name: str) -> Iterator[tuple[Subject, dict[str, Any]]]:
    """Of each artefact that has it, a section."""
    for subject in study.subjects:
        section = subject.section(name)
        if section is not None:
            yield subject, section
