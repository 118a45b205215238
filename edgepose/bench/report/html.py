"""The report as one page that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from edgepose.bench.record import ArtefactRecord
from edgepose.bench.report import details, remarks, summary, surroundings, words
from edgepose.bench.report.palette import DARK, LIGHT, MARKS, Theme, series_variable
from edgepose.bench.report.pictures import data_uri
from edgepose.bench.report.plots import plots
from edgepose.bench.report.study import Study, Subject
from edgepose.bench.report.table import Table
from edgepose.errors import require

__all__ = ["html"]


def html(records: Sequence[ArtefactRecord], pictures: Path | None = None) -> str:
    """The page. Reads records, and the pictures that they name.

    Args:
        records: What was measured, the reference first.
        pictures: Folder of the pictures that the records' galleries name, or the folder above their
            ``pictures/``; None to leave them out.

    Raises:
        InputError: There is no record.
        MissingDependency: jinja2 or matplotlib is not installed.
    """
    jinja2 = require("jinja2", "report")
    require("matplotlib", "report")
    study = Study.of(records)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_packaged),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["mark"] = lambda index: MARKS[index % len(MARKS)][1]
    environment.filters["variable"] = series_variable
    template = environment.get_template("page.html.j2")
    page: str = template.render(
        style=_packaged("page.css"),
        none_text=words.NONE,
        light=_variables(LIGHT),
        dark=_variables(DARK),
        **_content(study, pictures),
    )
    return page


def _content(study: Study, pictures: Path | None) -> dict[str, Any]:
    first = study.records[0]
    worst = _worst(study, pictures)
    return {
        "title": remarks.title(study),
        "facts": _facts(study),
        "command": first.command,
        "findings": remarks.findings(study),
        "warnings": remarks.warnings(study),
        "failures": remarks.failures(study),
        "labels": remarks.labels(study),
        "verdict": summary.verdict(study),
        "budgets": summary.budgets(study),
        "plots": {plot.name: plot for plot in plots(study)},
        "times": details.latency_table(study),
        "loading": details.loading_table(study),
        "speed": summary.speed(study),
        "accuracy": details.accuracy_tables(study),
        "parity": details.parity_table(study),
        "joints": details.joint_tables(study),
        "worst": worst,
        "pictured": any(row["uri"] for _, rows in worst for row in rows),
        "memory": details.memory_table(study),
        "cost": details.cost_table(study),
        "layers": [_shared(*group) for group in details.layer_tables(study)],
        "power": details.power_table(study),
        "tried": remarks.tried(study),
        "cost_notes": remarks.cost_notes(study),
        "missing": {
            name: remarks.unavailable(study, name)
            for name in ("latency", "memory", "cost", "power", "accuracy", "parity")
        },
        "artefacts": surroundings.artefact_table(study),
        "environment": surroundings.environment_table(study),
        "conditions": [_shared(*group) for group in surroundings.condition_tables(study)],
        "unread": surroundings.unread(study),
        "state": remarks.state(study),
    }


def _facts(study: Study) -> list[tuple[str, str]]:
    """The line under the title."""
    first = study.records[0]
    runtimes = dict.fromkeys(
        words.stack(record) for record in study.records if record.runner is not None
    )
    facts = [("measured", words.date(first.created)), ("runs on", ", ".join(runtimes))]
    conditions = first.conditions
    if conditions is not None:
        facts.append(("threads", str(conditions["threads"])))
    facts.append(("edgepose", first.edgepose))
    facts.append(("system", str(first.environment["stack"]["system"])))
    return [(name, value) for name, value in facts if value]


def _worst(study: Study, pictures: Path | None) -> list[tuple[Subject, list[dict[str, Any]]]]:
    return [
        (subject, [row | {"uri": data_uri(pictures, row["picture"])} for row in rows])
        for subject, rows in details.worst(study)
    ]


def _shared(subjects: Sequence[Subject], table: Table) -> tuple[str, Table]:
    return words.listed([subject.name for subject in subjects]), table


def _variables(theme: Theme) -> str:
    return ";".join(f"--{name}:{value}" for name, value in theme.variables().items())


def _packaged(name: str) -> str:
    return resources.files("edgepose.bench.report").joinpath(name).read_text("utf-8")
