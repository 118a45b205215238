"""Finding one's way in artefact records: what reports, comparisons and choices have in common."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edgepose.bench.record import ArtefactRecord
from edgepose.bench.statistics import Interval, paired_ratio
from edgepose.evaluate.oks import ranking_threshold

__all__ = [
    "Accuracy",
    "Difference",
    "TimeRatio",
    "accuracies",
    "ap_between",
    "ap_of",
    "ap_protocol",
    "batches",
    "calls",
    "cell",
    "flip_parity",
    "holds",
    "names",
    "ratio",
    "ratio_between",
    "references",
    "short_label",
    "vague_tail",
    "why_missing",
]

# One call in a hundred is beyond the 99th percentile: of fewer calls than this it is one of the
# three slowest.
_CALLS_FOR_P99 = 300
# Endings of what is deployed.
_FILES = (".onnx", ".engine", ".plan")
# What has to agree for two accuracies to be comparable.
_PROTOCOL = (
    "set", "annotations_sha256", "persons", "boxes", "flip", "nms", "joints", "normalised",
)  # fmt: skip
_DETECTIONS = ("sha256", "least_score")

Section = dict[str, Any]


@dataclass(frozen=True)
class Accuracy:
    """A COCO AP, or a PCKh.

    Attributes:
        metric: ``ap``, ``pckh@0.5`` or ``pckh@0.1``.
        value: Percent.
        label: What it has to be called.
        flip: Whether outputs were averaged with those of the mirrored crop.
        protocol: What has to agree for two to be comparable.
    """

    metric: str
    value: float
    label: str
    flip: bool
    protocol: tuple[Any, ...]

    @property
    def ap(self) -> float:
        """The value, where it is an AP."""
        return self.value


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


@dataclass(frozen=True)
class TimeRatio:
    """Time over that of another, from the same rounds.

    Attributes:
        value: Below 1 is faster.
        interval: 95 %; None where there were too few rounds for one.
    """

    value: float
    interval: Interval | None

    @property
    def certain(self) -> bool:
        """Whether the two can be told apart: there is an interval, and it leaves 1 out."""
        return self.interval is not None and not self.interval[0] <= 1 <= self.interval[1]


def holds(section: Any) -> bool:
    """Whether a section was asked for and measured."""
    return section is not None and not (isinstance(section, dict) and "unavailable" in section)


def why_missing(section: Any) -> str | None:
    """The reason why a section could not be measured; None if it was, or was not asked for."""
    if isinstance(section, dict) and "unavailable" in section:
        return str(section["unavailable"])
    return None


def names(records: Sequence[ArtefactRecord]) -> list[str]:
    """What to call each: its label; a path without its folders, where that leaves them apart.

    Where two are called alike, the run is added.
    """
    called = _called(records)
    short = [
        short_label(record.label, record.artefact["file"]) + name.removeprefix(record.label)
        for record, name in zip(records, called, strict=True)
    ]
    return short if len(set(short)) == len(short) else called


def short_label(label: str, file: str | None = None) -> str:
    """A label that is a path to a file without its folders; any other as it is.

    Args:
        label: Of an artefact.
        file: Name of the artefact's file, if known; without it the ending decides.
    """
    name = label.rpartition("/")[2]
    return name if name == file or name.lower().endswith(_FILES) else label


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


def references(
    records: Sequence[ArtefactRecord], sections: Sequence[str] = ("latency", "parity")
) -> dict[str, str]:
    """Run -> label of the artefact that the others of that run are measured against.

    A label means an artefact inside its run only. Runs in which nobody names one are not in it.
    """
    found: dict[str, str] = {}
    for name in sections:
        for record in records:
            section = getattr(record, name)
            if name == "latency":
                section = section and section.get("against")
            if section and holds(section):
                found.setdefault(record.run, str(section["reference"]))
    return found


def batches(record: ArtefactRecord, stage: str) -> list[int]:
    """Batch sizes measured of a stage, ascending."""
    return sorted(found["batch"] for found in _cells(record) if found["stage"] == stage)


def cell(record: ArtefactRecord, stage: str, batch: int) -> Section | None:
    """The times of a stage and batch size, if measured."""
    for found in _cells(record):
        if found["stage"] == stage and found["batch"] == batch:
            return found
    return None


def calls(found: Section) -> int:
    """How often a cell was timed."""
    return sum(len(visit) for visit in found["samples_ms"])


def vague_tail(found: Section) -> bool:
    """Whether the 99th percentile of a cell is nearly its slowest call."""
    return calls(found) < _CALLS_FOR_P99


def ratio_between(
    one: ArtefactRecord, other: ArtefactRecord, stage: str, batch: int
) -> TimeRatio | None:
    """Time of one over that of another of the same run, from the rounds that both have."""
    first, second = cell(one, stage, batch), cell(other, stage, batch)
    if one.run != other.run or first is None or second is None:
        return None
    both = min(len(first["samples_ms"]), len(second["samples_ms"]))
    if both < 2:
        return None
    found = paired_ratio(first["samples_ms"][:both], second["samples_ms"][:both], draws=1000)
    return TimeRatio(found.value, found.interval)


def ratio(record: ArtefactRecord, stage: str, batch: int) -> TimeRatio | None:
    """Time over the reference's, with its interval; None for the reference itself."""
    if record.latency is None or not holds(record.latency) or not record.latency["against"]:
        return None
    for row in record.latency["against"]["ratios"]:
        if row["stage"] == stage and row["batch"] == batch:
            ends = row["interval_95"]
            return TimeRatio(row["ratio"], ends and (ends[0], ends[1]))
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


def ap_between(
    one: ArtefactRecord, other: ArtefactRecord, flip: bool, against: dict[str, str]
) -> Difference | None:
    """AP of one less that of another of the same run, as far as their records tell.

    They hold differences to the reference. Between two others the two intervals are added as if
    they were independent; they share the reference, so that this is wider than the truth.

    Args:
        one: Above the line.
        other: Below it.
        flip: The flip test.
        against: The reference of each run, as :func:`references` finds it in parity sections.
    """
    if one.run != other.run:
        return None
    first, second = (_to_reference(record, flip, against) for record in (one, other))
    if first is None or second is None:
        return None
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Difference(value, value - below, value + above)


def _to_reference(record: ArtefactRecord, flip: bool, against: dict[str, str]) -> Difference | None:
    """AP less that of the run's reference; nothing at all for the reference itself."""
    if record.label == against.get(record.run):
        return Difference(0.0, 0.0, 0.0)
    part = flip_parity(record, flip)
    if part is None or part["ap_difference"] is None:
        return None
    found = part["ap_difference"]
    return Difference(found["value"], *found["interval_95"])


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


def accuracies(record: ArtefactRecord) -> list[Accuracy]:
    """Every AP and PCKh of every protocol."""
    if not isinstance(record.accuracy, list):
        return []
    return [
        Accuracy(
            metric,
            entry["metrics"][metric],
            entry["label"].replace("PCKh@0.5", "PCKh@0.1") if "0.1" in metric else entry["label"],
            entry["protocol"]["flip"],
            (metric, *_protocol(record, entry["protocol"])),
        )
        for entry in record.accuracy
        for metric in ("ap", "pckh@0.5", "pckh@0.1")
        if entry["metrics"].get(metric) is not None
    ]


def _aps(record: ArtefactRecord) -> list[Accuracy]:
    return [found for found in accuracies(record) if found.metric == "ap"]


def _protocol(record: ArtefactRecord, protocol: Section) -> Iterator[str]:
    """All that two have to share to be comparable, as words."""
    for key in _PROTOCOL:
        yield str(protocol.get(key))
    for key in _DETECTIONS:
        yield str((protocol.get("detections") or {}).get(key))
    # Of SimCC heads all scores count for the rank, of heatmaps those above a threshold: the rule
    # is one, and belongs to the head. Any other threshold is another protocol.
    output = (record.artefact["spec"] or {}).get("output")
    usual = f"above {ranking_threshold(output):g}" if output else "above ?"
    yield re.sub(rf"{re.escape(usual)}$", "above the usual", str(protocol.get("ranking")))
