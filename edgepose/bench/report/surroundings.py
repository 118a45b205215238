"""What it was measured on and in which state: machine, stack, clocks, heat and load."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgepose.bench.report import words
from edgepose.bench.report.study import Study, Subject
from edgepose.bench.report.table import Cell, Column, Table

__all__ = ["artefact_table", "condition_tables", "environment_table", "unread"]

# They order snapshots; nobody reads them.
_UNSHOWN = ("monotonic_seconds", "unread")
_FACTS = {"memory_gib": "memory, GiB", "gpu": "GPU", "cpu": "CPU"}
_NAMES = ("core", "label", "name", "zone", "index")


def environment_table(study: Study) -> Table:
    """Hardware and stack, one column a machine."""
    environments: list[dict[str, Any]] = []
    for record in study.records:
        if record.environment not in environments:
            environments.append(record.environment)
    facts = [_facts(environment) for environment in environments]
    keys = list(dict.fromkeys(key for found in facts for key in found))
    rows = tuple(
        (Cell(key), *(Cell(found.get(key, words.NONE)) for found in facts)) for key in keys
    )
    heads = ["this machine"] if len(facts) == 1 else [f"machine {i + 1}" for i in range(len(facts))]
    columns = (Column("", numeric=False), *(Column(head, numeric=False) for head in heads))
    return Table("Machine and stack", columns, rows)


def _facts(environment: dict[str, Any]) -> dict[str, str]:
    hardware, stack = environment["hardware"], environment["stack"]
    facts = {_FACTS.get(key, key.replace("_", " ")): value for key, value in hardware.items()}
    facts |= {key: value for key, value in stack.items() if key != "packages"}
    facts |= stack["packages"]
    return {key: _plain(value) for key, value in facts.items() if value is not None}


def artefact_table(study: Study) -> Table:
    """Which files these were, exactly."""
    rows = []
    for subject in study.subjects:
        artefact, conditions = subject.record.artefact, subject.record.conditions or {}
        spec = artefact["spec"] or {}
        size = spec.get("input_size")
        threads = conditions.get("threads")
        rows.append(
            (
                Cell(subject.name, subject=subject.index),
                Cell(artefact["model"] or words.NONE),
                Cell(words.TIMES.join(map(str, size)) if size else words.NONE),
                Cell(words.stack(subject.record)),
                Cell(_plain(threads)),
                Cell((artefact["sha256"] or words.NONE)[:12]),
                Cell(words.date(subject.record.created)),
            )
        )
    columns = (
        Column("artefact", numeric=False),
        Column("model", numeric=False),
        Column("input", f"h{words.TIMES}w"),
        Column("runs on", numeric=False),
        Column("threads"),
        Column("sha256", numeric=False),
        Column("measured", numeric=False),
    )
    return Table("Artefacts", columns, tuple(rows))


def condition_tables(study: Study) -> list[tuple[list[Subject], Table]]:
    """The state before and after, once for all artefacts that share it."""
    groups: list[tuple[list[Subject], dict[str, Any]]] = []
    for subject in study.subjects:
        conditions = subject.record.conditions
        if conditions is None:
            continue
        for subjects, known in groups:
            if known == conditions:
                subjects.append(subject)
                break
        else:
            groups.append(([subject], conditions))
    return [(subjects, _before_after(conditions)) for subjects, conditions in groups]


def unread(study: Study) -> list[str]:
    """What could not be read, and why."""
    return list(
        dict.fromkeys(
            reason
            for record in study.records
            for reason in (record.conditions or {}).get("unread", ())
        )
    )


def _before_after(conditions: dict[str, Any]) -> Table:
    before, after = (dict(_flat(conditions[side] or {})) for side in ("before", "after"))
    keys = list(dict.fromkeys([*before, *after]))
    rows = [
        (Cell(key), Cell(before.get(key, words.NONE)), Cell(after.get(key, words.NONE)))
        for key in keys
    ]
    both = ("threads", "affinity", "niceness")
    rows += [
        (Cell(key), Cell(_plain(conditions[key])), Cell(_plain(conditions[key]))) for key in both
    ]
    columns = (Column("", numeric=False), Column("before"), Column("after"))
    return Table("Conditions", columns, tuple(rows))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """One row a figure; a list of like things gives one row for all of them."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in _UNSHOWN:
                name = str(key).replace("_", " ")
                yield from _flat(item, f"{path} · {name}" if path else name)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        keys = dict.fromkeys(key for item in value for key in item if key not in _NAMES)
        for key in keys:
            items = [item.get(key) for item in value]
            if any(isinstance(item, (dict, list)) for item in items):
                for place, item in enumerate(items):
                    yield from _flat(item, f"{path} {place} · {key}".replace("_", " "))
            else:
                yield f"{path} · {key}".replace("_", " "), _span(items)
    elif value not in (None, [], {}):
        yield path, _plain(value)


def _span(items: list[Any]) -> str:
    """The same once; figures as a span; others in a row."""
    distinct = list(dict.fromkeys(item for item in items if item is not None))
    if not distinct:
        return words.NONE
    if len(distinct) > 1 and all(isinstance(item, (int, float)) for item in distinct):
        return f"{_plain(min(distinct))} to {_plain(max(distinct))}"
    return ", ".join(_plain(item) for item in distinct)


def _plain(value: Any) -> str:
    if value is None:
        return words.NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", words.MINUS)
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value) or "none"
    return str(value)
