"""Finding one's way in artefact records: what reports, comparisons and choices have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgepose.bench.record import ArtefactRecord

__all__ = [
    "Accuracy",
    "Difference",
    "ap_of",
    "ap_protocol",
    "batches",
    "cell",
    "flip_parity",
    "holds",
    "names",
    "ratio",
    "reference",
    "why_missing",
]

Section = dict[str, Any]


@dataclass(frozen=True)
class Accuracy:
    """A COCO AP.

    Attributes:
        ap: Percent.
        label: What it has to be called.
        flip: Whether outputs were averaged with those of the mirrored crop.
        protocol: What has to agree for two APs to be comparable.
    """

    ap: float
    label: str
    flip: bool
    protocol: tuple[Any, ...]


@dataclass(frozen=True)
class Difference:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def holds(section: Any) -> bool:
    """Whether a section was asked for and measured."""
    return section is not None and not (isinstance(section, dict) and "unavailable" in section)


def why_missing(section: Any) -> str | None:
    """The reason why a section could not be measured; None if it was, or was not asked for."""
    if isinstance(section, dict) and "unavailable" in section:
        return str(section["unavailable"])
    return None


def names(records: Sequence[ArtefactRecord]) -> list[str]:
    """What to call each: its label, without folders where that leaves them apart.

    Where two are called alike, the run is added.
    """
    called = _called(records)
    short = [name.rpartition("/")[2] for name in called]
    return short if len(set(short)) == len(short) else called


def _called(records: Sequence[ArtefactRecord]) -> list[str]:
    counts = Counter(record.label for record in records)
    called = [
        record.label if counts[record.label] == 1 else f"{record.label} (run {record.run[:6]})"
        for record in records
    ]
    again = Counter(called)
    return [
        name if again[name] == 1 else f"{name} #{called[: index + 1].count(name)}"
        for index, name in enumerate(called)
    ]


def reference(records: Sequence[ArtefactRecord]) -> str | None:
    """Label of the artefact that the others are measured against; None if nobody names one."""
    for record in records:
        for section in (record.latency and record.latency.get("against"), record.parity):
            if section and holds(section):
                return str(section["reference"])
    return None


def batches(record: ArtefactRecord, stage: str) -> list[int]:
    """Batch sizes measured of a stage, ascending."""
    return sorted(found["batch"] for found in _cells(record) if found["stage"] == stage)


def cell(record: ArtefactRecord, stage: str, batch: int) -> Section | None:
    """The times of a stage and batch size, if measured."""
    for found in _cells(record):
        if found["stage"] == stage and found["batch"] == batch:
            return found
    return None


def ratio(record: ArtefactRecord, stage: str, batch: int) -> Difference | None:
    """Time over the reference's, with its interval; None for the reference itself."""
    if record.latency is None or not holds(record.latency) or not record.latency["against"]:
        return None
    for row in record.latency["against"]["ratios"]:
        if row["stage"] == stage and row["batch"] == batch:
            return Difference(row["ratio"], *row["interval_95"])
    return None


def ap_protocol(records: Sequence[ArtefactRecord]) -> tuple[Any, ...] | None:
    """The protocol whose APs are compared: of those without flip test, the one most have.

    Frames are timed without the flip test, which doubles the network's work, so that the AP without
    it belongs to the time; the other is taken where there is no such AP at all.
    """
    found = [entry for record in records for entry in _aps(record)]
    plain = [entry for entry in found if not entry.flip] or found
    if not plain:
        return None
    return Counter(entry.protocol for entry in plain).most_common(1)[0][0]


def ap_of(record: ArtefactRecord, protocol: tuple[Any, ...] | None) -> Accuracy | None:
    """The AP under that protocol, if measured."""
    return next((entry for entry in _aps(record) if entry.protocol == protocol), None)


def flip_parity(record: ArtefactRecord, flip: bool) -> Section | None:
    """The part of the parity section that belongs to a flip test setting."""
    if record.parity is None or not holds(record.parity):
        return None
    for part in record.parity["by_protocol"]:
        if part["flip"] == flip:
            found: Section = part
            return found
    return None


def _cells(record: ArtefactRecord) -> list[Section]:
    if record.latency is None or not holds(record.latency):
        return []
    cells: list[Section] = record.latency["cells"]
    return cells


def _aps(record: ArtefactRecord) -> list[Accuracy]:
    if not isinstance(record.accuracy, list):
        return []
    return [
        Accuracy(
            entry["metrics"]["ap"],
            entry["label"],
            entry["protocol"]["flip"],
            tuple(
                str(entry["protocol"].get(key))
                for key in ("set", "annotations_sha256", "persons", "boxes", "flip", "nms")
            ),
        )
        for entry in record.accuracy
        if entry["metrics"].get("ap") is not None
    ]
