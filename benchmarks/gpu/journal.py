"""The records of a run: a row a step, written as soon as the step is over, kept from run to run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from benchmarks.gpu.plan import KINDS, Step
from edgepose.bench import BenchRecord, fingerprint, read_record, slug
from edgepose.trt.gpu import Gpu

__all__ = ["Journal", "Status", "folder_name"]

# Absent: what it measures is not on this machine. Unfinished: there was no time.
Status = Literal["done", "failed", "absent", "unfinished"]

PROTOCOL = {
    "steps": "each in a process of its own; a row a step, written when it ended",
    "status": "done, failed (in its own words), absent (not on this machine) or unfinished (the "
    "time was over); a verdict stands under passed, null where nothing is judged",
}


def folder_name(environment: Mapping[str, Any], gpu: Gpu | None) -> str:
    """Where records of this hardware lie: the GPU's name first, unless the board says it all."""
    machine = slug(dict(environment))
    if gpu is None or gpu.integrated or environment["hardware"]["board"]:
        return machine
    return "-".join([*re.findall(r"[a-z0-9]+", gpu.name.lower()), machine])


class Journal:
    """Reads and writes the records in a folder.

    Args:
        folder: The hardware's own.
        command: The command of this run.
        versions: Product -> version, as in :func:`benchmarks.gpu.plan.make_plan`.
        environment: Hardware and stack; asked for if left out.
    """

    def __init__(
        self,
        folder: Path,
        command: str,
        versions: Mapping[str, str],
        environment: dict[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self._command, self._versions = command, versions
        self._environment = environment or fingerprint()
        self._rows: dict[tuple[str, str | None], dict[str, dict[str, Any]]] = {}

    def row(self, step: Step) -> dict[str, Any] | None:
        """What is written of a step that was done with the same inputs; None if nothing is."""
        row = self._table(step).get(step.key)
        return row if row is not None and row["inputs"] == _plain(step.inputs) else None

    def put(self, step: Step, status: Status, **values: Any) -> dict[str, Any]:
        """Write a step's row, in place of an older one; gives it.

        Raises:
            OutputError: It cannot be written.
        """
        row = {
            "step": step.key,
            "status": status,
            "passed": None,
            "words": "",
            "inputs": _plain(step.inputs),
            **values,
        }
        table = self._table(step)
        table[step.key] = row
        self._record(step, list(table.values())).write(self.folder)
        return row

    def paths(self) -> list[Path]:
        """The records that this run has written or read."""
        found = []
        for (kind, product), table in self._rows.items():
            if table:
                record = self._made(kind, product, [])
                found.append(self.folder / record.file_name)
        return sorted(found)

    def _table(self, step: Step) -> dict[str, dict[str, Any]]:
        place = (KINDS[step.kind], step.product)
        if place not in self._rows:
            path = self.folder / self._made(*place, []).file_name
            rows = read_record(path).results if path.is_file() else []
            self._rows[place] = {row["step"]: row for row in rows}
        return self._rows[place]

    def _record(self, step: Step, rows: list[dict[str, Any]]) -> BenchRecord:
        return self._made(KINDS[step.kind], step.product, rows)

    def _made(self, kind: str, product: str | None, rows: list[dict[str, Any]]) -> BenchRecord:
        runner = None
        if product is not None:
            runner = {"runtime": product, "version": self._versions[product]}
        return BenchRecord(
            kind=kind,
            command=self._command,
            artefact=None,
            runner=runner,
            protocol=PROTOCOL,
            results=rows,
            environment=self._environment,
        )


def _plain(values: Any) -> Any:
    """As JSON gives it back, so that what was read compares with what is made."""
    if isinstance(values, Mapping):
        return {str(key): _plain(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_plain(value) for value in values]
    return values
