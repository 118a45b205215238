"""Accuracy by protocol, and how far poses are from the reference's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgepose.bench.reading import Difference, holds
from edgepose.bench.report import words
from edgepose.bench.report.details.rows import ARTEFACT, named, sections
from edgepose.bench.report.study import Study, Subject
from edgepose.bench.report.table import Cell, Column, Row, Table

__all__ = ["accuracy_tables", "joint_tables", "parity_table", "shifts", "worst"]

_COCO = (
    ("AP", "ap"),
    ("AP50", "ap50"),
    ("AP75", "ap75"),
    ("AP M", "ap_medium"),
    ("AP L", "ap_large"),
    ("AR", "ar"),
)
_Scored = tuple[Subject, list[str], list[float | None]]


def accuracy_tables(study: Study) -> list[Table]:
    """AP and AR, then PCKh; what all rows have in common is said once, in the caption."""
    coco: list[_Scored] = []
    pckh: list[_Scored] = []
    for subject in study.subjects:
        for entry in subject.record.accuracy or []:
            if not isinstance(entry, dict):
                continue
            metrics, protocol = entry["metrics"], _protocol(entry["protocol"])
            if "ap" in metrics:
                coco.append((subject, protocol, [metrics.get(key) for _, key in _COCO]))
            else:
                figures = [metrics.get(f"pckh@{limit}") for limit in ("0.5", "0.1")]
                pckh.append((subject, protocol, figures))
    kinds = (
        ("Accuracy (COCO keypoints)", [name for name, _ in _COCO], coco),
        ("Accuracy (PCKh)", ["PCKh@0.5", "PCKh@0.1"], pckh),
    )
    return [_accuracy(title, heads, rows) for title, heads, rows in kinds if rows]


def _accuracy(title: str, heads: Sequence[str], scored: Sequence[_Scored]) -> Table:
    common = [part for part in scored[0][1] if all(part in parts for _, parts, _ in scored)]
    rows = tuple(
        (
            named(subject),
            Cell(", ".join(part for part in parts if part not in common)),
            *(Cell(words.points(figure)) for figure in figures),
        )
        for subject, parts, figures in scored
    )
    columns = (
        ARTEFACT,
        Column("with", numeric=False),
        *(Column(head, "%", brief=f"{head} %") for head in heads),
    )
    return Table(title, columns, rows, words.sentence(", ".join(common))).without_empty()


def _protocol(protocol: dict[str, Any]) -> list[str]:
    boxes = str(protocol.get("boxes", "unknown"))
    return [
        str(protocol.get("set", "an unnamed set")),
        words.persons(protocol["persons"]),
        "GT boxes" if boxes == "ground truth" else f"boxes: {boxes}",
        f"flip {'on' if protocol['flip'] else 'off'}",
        f"NMS: {protocol['nms']}" if protocol.get("nms") else "no NMS",
    ]


def parity_table(study: Study) -> Table | None:
    """How far each artefact's poses are from the reference's."""
    counted: dict[str, list[str]] = {}
    rows: list[Row] = []
    for subject, section in sections(study, "parity"):
        for part in section["by_protocol"]:
            oks = part["oks_between"]
            shift = part["shift_px"] if holds(part["shift_px"]) else {}
            flip = "on" if part["flip"] else "off"
            if "counted" in shift and shift["counted"] not in counted.setdefault(flip, []):
                counted[flip].append(shift["counted"])
            rows.append(
                (
                    named(subject),
                    Cell(flip),
                    Cell(_difference(part)),
                    *(
                        Cell(words.digits(shift.get(key)))
                        for key in ("median", "p90", "p99", "max")
                    ),
                    Cell(words.percent(shift.get("share_over_1px_input"), 2)),
                    *(Cell(words.points(oks[key], 4)) for key in ("mean", "p1", "min")),
                )
            )
    if not rows:
        return None
    columns = (
        ARTEFACT,
        Column("flip", numeric=False),
        Column("AP change", "points [95 %]"),
        Column("shift median", "px"),
        Column("p90", "px"),
        Column("p99", "px"),
        Column("max", "px"),
        Column("moved", "> 1 input px"),
        Column("OKS mean"),
        Column("OKS p1"),
        Column("OKS min"),
    )
    caption = _counted(counted)
    return Table("Poses against the reference's", columns, tuple(rows), caption).without_empty()


def _counted(counted: dict[str, list[str]]) -> str:
    """Which joints were compared, by flip test."""
    parts = [f"flip {flip}: {' or '.join(texts)}" for flip, texts in counted.items() if texts]
    return words.sentence(f"Joints that count, {'; '.join(parts)}") if parts else ""


def _difference(part: dict[str, Any]) -> str:
    """Of the AP, else of what is measured in its place."""
    for prefix, key in (("", "ap_difference"), ("PCKh ", "pckh_difference")):
        found = part.get(key)
        if found is not None:
            return prefix + words.change(Difference(found["value"], *found["interval_95"]))
    return words.NONE


def joint_tables(study: Study) -> Table | None:
    """Keypoint shift by joint: median and 95th percentile."""
    found = [
        (subject, {row["joint"]: row for row in part["shift_px"]["per_joint"]})
        for subject, part in shifts(study)
    ]
    if not found:
        return None
    joints = list(dict.fromkeys(joint for _, rows in found for joint in rows))
    made = tuple(
        (
            Cell(joint.replace("_", " ")),
            *(
                Cell(
                    f"{words.digits(rows[joint]['median'])} / {words.digits(rows[joint]['p95'])}"
                    if joint in rows
                    else words.NONE
                )
                for _, rows in found
            ),
        )
        for joint in joints
    )
    columns = (
        Column("joint", numeric=False),
        *(Column(subject.name, "px") for subject, _ in found),
    )
    return Table("Shift by joint, median / p95", columns, made)


def shifts(study: Study) -> Iterator[tuple[Subject, dict[str, Any]]]:
    """Of each artefact that has one, its parity without flip test, else with it."""
    for subject, section in sections(study, "parity"):
        known = [part for part in section["by_protocol"] if holds(part["shift_px"])]
        parts = sorted(known, key=lambda part: bool(part["flip"]))
        if parts:
            yield subject, parts[0]


def worst(study: Study) -> list[tuple[Subject, list[dict[str, Any]]]]:
    """The largest disagreements with the reference, by artefact."""
    return [
        (subject, section["worst"])
        for subject, section in sections(study, "parity")
        if section["worst"]
    ]
