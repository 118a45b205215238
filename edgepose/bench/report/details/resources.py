"""Memory, multiply-adds layer by layer, and energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgepose.bench.reading import holds
from edgepose.bench.report import words
from edgepose.bench.report.details.rows import ARTEFACT, named, sections
from edgepose.bench.report.study import Study, Subject
from edgepose.bench.report.table import Cell, Column, Row, Table

__all__ = ["cost_table", "layer_tables", "memory_table", "power_table"]

# More rows of one graph help nobody; the rest is summed up in the last one.
_MOST_LAYERS = 400


def memory_table(study: Study) -> Table | None:
    """Memory of each artefact's own process."""
    found = list(sections(study, "memory"))
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
        rows.append((named(subject), *(Cell(words.mebibytes(size)) for size in sizes)))
    columns = (
        ARTEFACT,
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


def cost_table(study: Study) -> Table | None:
    """Multiply-adds, and how near they come to what the machine can do."""
    rows: list[Row] = []
    for subject, section in sections(study, "cost"):
        top = max(section["achieved"], key=lambda row: row["gflops"], default=None)
        roof = section["roof"] if section["roof"] and holds(section["roof"]) else None
        rows.append(
            (
                named(subject),
                Cell(words.digits(section["gmacs"]), note=words.too_low(section)),
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
        ARTEFACT,
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
    caption = words.sentence(str(next(sections(study, "cost"))[1]["convention"]))
    return Table("Cost", columns, tuple(rows), caption).without_empty()


def layer_tables(study: Study) -> list[tuple[list[Subject], Table]]:
    """Each graph's layers in order, once for all artefacts that share them."""
    groups: list[tuple[list[Subject], list[dict[str, Any]]]] = []
    for subject, section in sections(study, "cost"):
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
    for subject, section in sections(study, "power"):
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
                    named(subject),
                    Cell(str(row["batch"])),
                    *(Cell(words.digits(figure)) for figure in figures),
                    Cell(str(row["samples"])),
                )
            )
    if not rows:
        return None
    columns = (
        ARTEFACT,
        Column("persons"),
        Column("power", "W"),
        Column("idle", "W"),
        Column("energy", "J a frame"),
        Column("above idle", "J a frame"),
        Column("energy", "J a person"),
        Column("measured", "s"),
        Column("readings"),
    )
    section = next(section for _, section in sections(study, "power"))
    caption = f"Read from {section['meter']}; rails: {', '.join(section['rails'])}."
    return Table("Power", columns, tuple(rows), caption).without_empty()
