"""The tables with all figures: times, memory, accuracy, cost and power."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgepose.bench.reading import Difference, holds
from edgepose.bench.report import words
from edgepose.bench.report.study import Study, Subject
from edgepose.bench.report.table import Cell, Column, Row, Table

__all__ = [
    "accuracy_tables",
    "cost_table",
    "joint_tables",
    "latency_table",
    "layer_tables",
    "loading_table",
    "memory_table",
    "parity_table",
    "power_table",
    "shifts",
    "worst",
]

_ARTEFACT = Column("artefact", numeric=False)
_PERCENTILES = ("p50", "p90", "p95", "p99", "max")
_COCO = (
    ("AP", "ap"),
    ("AP50", "ap50"),
    ("AP75", "ap75"),
    ("AP M", "ap_medium"),
    ("AP L", "ap_large"),
    ("AR", "ar"),
)
_Scored = tuple[Subject, list[str], list[float | None]]
# More rows of one graph help nobody; the rest is summed up in the last one.
_MOST_LAYERS = 400


def latency_table(study: Study) -> Table | None:
    """Every stage and batch size of every artefact."""
    rows: list[Row] = []
    for subject in study.subjects:
        cells = (subject.section("latency") or {}).get("cells", [])
        for cell in sorted(cells, key=lambda c: (study.stages().index(c["stage"]), c["batch"])):
            times = cell["milliseconds"]
            rows.append(
                (
                    _name(subject),
                    Cell(cell["stage"]),
                    Cell(str(cell["batch"])),
                    *(Cell(words.digits(times[key])) for key in _PERCENTILES),
                    Cell(words.digits(times["mean"])),
                    Cell(words.digits(times["jitter"])),
                    Cell(words.digits(cell["persons_per_second"])),
                    Cell(words.ratio(subject.ratio(cell["stage"], cell["batch"]), places=3)),
                    Cell(str(sum(len(visit) for visit in cell["samples_ms"]))),
                )
            )
    if not rows:
        return None
    columns = (
        _ARTEFACT,
        Column("stage", numeric=False),
        Column("persons"),
        *(Column(key, "ms") for key in _PERCENTILES),
        Column("mean", "ms"),
        Column("jitter", "ms"),
        Column("persons", "a second"),
        Column("÷ reference", "[95 %]"),
        Column("calls"),
    )
    return Table("All times", columns, tuple(rows)).without_empty()


def loading_table(study: Study) -> Table | None:
    """What passes before the first pose."""
    rows = tuple(
        (
            _name(subject),
            *(Cell(words.digits(section[key])) for key in ("import_ms", "load_ms", "first_ms")),
        )
        for subject, section in _sections(study, "latency")
    )
    columns = (
        _ARTEFACT,
        Column("imports", "ms"),
        Column("loading", "ms"),
        Column("first inference", "ms"),
    )
    return Table("Before the first pose", columns, rows) if rows else None


def memory_table(study: Study) -> Table | None:
    """Memory of each artefact's own process."""
    found = list(_sections(study, "memory"))
    if not found:
        return None
    batches = sorted({row["batch"] for _, section in found for row in section["by_batch"]})
    rows: list[Row] = []
    for subject, section in found:
        peaks = {row["batch"]: row["peak_bytes"] for row in section["by_batch"]}
        gpu = section["gpu"] if holds(section["gpu"]) else {}
        shared = section["shared"] if holds(section["shared"]) else {}
        sizes = (
            section["baseline_bytes"],
            section["loaded_bytes"],
            *(peaks.get(batch) for batch in batches),
            section["peak_bytes"],
            section["pss_bytes"],
            gpu.get("peak_bytes"),
            shared.get("bytes"),
            section["file_bytes"],
        )
        rows.append((_name(subject), *(Cell(words.mebibytes(size)) for size in sizes)))
    columns = (
        _ARTEFACT,
        Column("before the artefact", "MiB"),
        Column("loaded", "MiB"),
        *(Column(f"peak, {words.persons(batch)}", "MiB") for batch in batches),
        Column("peak of all", "MiB"),
        Column("PSS", "MiB"),
        Column("GPU peak", "MiB"),
        Column("shared with GPU", "MiB"),
        Column("file", "MiB"),
    )
    how = str(found[0][1]["how"])
    return Table("Memory", columns, tuple(rows), words.sentence(how)).without_empty()


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
            _name(subject),
            Cell(", ".join(part for part in parts if part not in common)),
            *(Cell(words.points(figure)) for figure in figures),
        )
        for subject, parts, figures in scored
    )
    columns = (
        _ARTEFACT,
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
    counted: set[str] = set()
    rows: list[Row] = []
    for subject, section in _sections(study, "parity"):
        for part in section["by_protocol"]:
            oks = part["oks_between"]
            shift = part["shift_px"] if holds(part["shift_px"]) else {}
            counted |= {shift["counted"]} if "counted" in shift else set()
            rows.append(
                (
                    _name(subject),
                    Cell("on" if part["flip"] else "off"),
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
        _ARTEFACT,
        Column("flip", numeric=False),
        Column("AP against reference", "points [95 %]"),
        Column("shift median", "px"),
        Column("p90", "px"),
        Column("p99", "px"),
        Column("max", "px"),
        Column("moved", "> 1 input px"),
        Column("OKS mean"),
        Column("OKS p1"),
        Column("OKS min"),
    )
    caption = words.sentence(f"Joints that count: {'; '.join(sorted(counted))}") if counted else ""
    return Table("Poses against the reference's", columns, tuple(rows), caption).without_empty()


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
    for subject, section in _sections(study, "parity"):
        known = [part for part in section["by_protocol"] if holds(part["shift_px"])]
        parts = sorted(known, key=lambda part: bool(part["flip"]))
        if parts:
            yield subject, parts[0]


def worst(study: Study) -> list[tuple[Subject, list[dict[str, Any]]]]:
    """The largest disagreements with the reference, by artefact."""
    return [
        (subject, section["worst"])
        for subject, section in _sections(study, "parity")
        if section["worst"]
    ]


def cost_table(study: Study) -> Table | None:
    """Multiply-adds, and how near they come to what the machine can do."""
    rows: list[Row] = []
    for subject, section in _sections(study, "cost"):
        top = max(section["achieved"], key=lambda row: row["gflops"], default=None)
        roof = section["roof"] if section["roof"] and holds(section["roof"]) else None
        rows.append(
            (
                _name(subject),
                Cell(words.digits(section["gmacs"])),
                Cell(words.digits(section["torch_gmacs"])),
                Cell(words.millions(section["params"])),
                Cell(words.mebibytes(section["activation_peak_bytes"])),
                Cell(
                    words.digits(top["gflops"]) if top else words.NONE,
                    note=f"with {words.persons(top['batch'])}" if top else "",
                ),
                Cell(words.percent(top["share"]) if top else words.NONE),
                Cell(words.digits(roof["gflops"] if roof else None)),
            )
        )
    columns = (
        _ARTEFACT,
        Column("GMACs", "a person"),
        Column("PyTorch's counter", "GMACs"),
        Column("parameters", "M"),
        Column("activation peak", "MiB"),
        Column("reached", "GFLOP/s"),
        Column("of the roof"),
        Column("roof", "GFLOP/s"),
    )
    if not rows:
        return None
    caption = words.sentence(str(next(_sections(study, "cost"))[1]["convention"]))
    return Table("Cost", columns, tuple(rows), caption).without_empty()


def layer_tables(study: Study) -> list[tuple[list[Subject], Table]]:
    """Each graph's layers in order, once for all artefacts that share them."""
    groups: list[tuple[list[Subject], list[dict[str, Any]]]] = []
    for subject, section in _sections(study, "cost"):
        for subjects, layers in groups:
            if layers == section["layers"]:
                subjects.append(subject)
                break
        else:
            groups.append(([subject], section["layers"]))
    return [(subjects, _layers(layers)) for subjects, layers in groups if layers]


def _layers(layers: Sequence[dict[str, Any]]) -> Table:
    total = sum(layer["macs"] for layer in layers) or 1
    rows: list[Row] = []
    for layer in layers[:_MOST_LAYERS]:
        shape = words.TIMES.join(map(str, layer["shape"] or ())) or words.NONE
        share = layer["macs"] / total
        rows.append(
            (
                Cell(layer["module"] or layer["name"]),
                Cell(layer["op"]),
                Cell(shape),
                Cell(words.millions(layer["macs"])),
                Cell(words.percent(share, 1), share=share),
                Cell(words.digits(layer["params"] / 1000)),
            )
        )
    rest = layers[_MOST_LAYERS:]
    if rest:
        macs = sum(layer["macs"] for layer in rest)
        rows.append(
            (
                Cell(f"{len(rest)} more layers"),
                Cell(""),
                Cell(""),
                Cell(words.millions(macs)),
                Cell(words.percent(macs / total, 1)),
                Cell(words.digits(sum(layer["params"] for layer in rest) / 1000)),
            )
        )
    columns = (
        Column("layer", numeric=False),
        Column("operator", numeric=False),
        Column("output"),
        Column("MACs", "M"),
        Column("share"),
        Column("parameters", "k"),
    )
    return Table("Layers", columns, tuple(rows))


def power_table(study: Study) -> Table | None:
    """Watts and joules."""
    rows: list[Row] = []
    for subject, section in _sections(study, "power"):
        for row in section["batches"]:
            figures = (
                row["watts"],
                section["idle_watts"],
                row["joules_per_frame"],
                row.get("joules_per_frame_above_idle"),
                row["joules_per_person"],
                row["seconds"],
            )
            rows.append(
                (
                    _name(subject),
                    Cell(str(row["batch"])),
                    *(Cell(words.digits(figure)) for figure in figures),
                    Cell(str(row["samples"])),
                )
            )
    if not rows:
        return None
    columns = (
        _ARTEFACT,
        Column("persons"),
        Column("power", "W"),
        Column("idle", "W"),
        Column("energy", "J a frame"),
        Column("above idle", "J a frame"),
        Column("energy", "J a person"),
        Column("measured", "s"),
        Column("readings"),
    )
    section = next(section for _, section in _sections(study, "power"))
    caption = f"Read from {section['meter']}; rails: {', '.join(section['rails'])}."
    return Table("Power", columns, tuple(rows), caption).without_empty()


def _name(subject: Subject) -> Cell:
    return Cell(subject.name, subject=subject.index)


def _sections(study: Study, name: str) -> Iterator[tuple[Subject, dict[str, Any]]]:
    for subject in study.subjects:
        section = subject.section(name)
        if section is not None:
            yield subject, section
