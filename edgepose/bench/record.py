"""ArtefactRecord: all that ``edgepose bench`` found out about one artefact, as JSON.

The structure is versioned and written down in ``record.schema.json``; reports, comparisons and the
choice by budget read records and nothing else.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import edgepose
from edgepose.bench.hardware import fingerprint, slug
from edgepose.bench.records import readable_json
from edgepose.bench.schema import faults
from edgepose.errors import InputError
from edgepose.files import write_text
from edgepose.redact import redact

__all__ = [
    "KIND",
    "SCHEMA",
    "ArtefactRecord",
    "in_order",
    "read_artefact_record",
    "read_artefact_records",
    "write_records",
]

SCHEMA = 2
KIND = "artefact"

Section = dict[str, Any]
Status = Literal["complete", "partial", "failed"]


@dataclass(frozen=True, kw_only=True)
class ArtefactRecord:
    """One artefact, measured.

    A section that was not asked for is None; one that could not be measured is
    ``{"unavailable": reason}``. What the sections hold is described in ``record.schema.json`` and,
    for people, in ``benchmarks/README.md``.

    Attributes:
        command: The command that makes it again.
        run: Shared by all artefacts measured together; ratios hold only inside one run.
        label: What the artefact was called on the command line; unique in its run.
        status: ``complete``, ``partial`` (something failed or was interrupted), or ``failed``.
        failures: ``{"section", "what", "why", "hint"}`` of each thing that failed.
        artefact: Name, format, digest, size, precision, spec, and how it was made.
        runner: What was in force, as the runner describes it; None if nothing could be loaded.
        conditions: Clocks, temperatures, load and threads before and after.
        latency: Times, with their raw samples, and ratios against the reference.
        memory: Of the artefact's own process.
        cost: Multiply-adds, parameters, layers, and how near they come to the machine's roof.
        power: Watts and joules.
        accuracy: One entry a protocol.
        parity: How far its poses are from the reference's; None for the reference.
        created: UTC, ISO 8601.
        edgepose: The version that measured.
        environment: Hardware and stack, see :func:`edgepose.bench.hardware.fingerprint`.
        kind: Always ``artefact``.
        schema: Version of this structure.
    """

    command: str
    run: str
    label: str
    status: Status
    failures: list[Section]
    artefact: Section
    runner: Section | None
    conditions: Section | None
    latency: Section | None = None
    memory: Section | None = None
    cost: Section | None = None
    power: Section | None = None
    accuracy: list[Section] | Section | None = None
    parity: Section | None = None
    created: str = field(
        default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds")
    )
    edgepose: str = edgepose.__version__
    environment: Section = field(default_factory=fingerprint)
    kind: str = KIND
    schema: int = SCHEMA

    def to_dict(self) -> Section:
        """JSON-ready, the head first; credentials are blanked, and what is no number is None."""
        head = ("schema", "kind", "command", "created", "edgepose", "run", "label", "status")
        rest = (f.name for f in fields(self) if f.name not in head)
        return {name: _clean(getattr(self, name)) for name in (*head, *rest)}

    @property
    def file_name(self) -> str:
        """``LABEL-DIGEST_bench_HARDWARE_RUNTIME-VERSION.json``.

        Without a digest (random weights) the label stands alone; without a runner (it could not be
        loaded) the format stands for it.
        """
        digest = self.artefact["sha256"]
        label = Path(self.label).name if self.artefact["file"] else self.label
        name = _file_word(re.sub(r"\.(onnx|engine)$", "", label))
        runtime = self.artefact["format"] or "unknown"
        if self.runner is not None:
            runtime = f"{self.runner['runtime']}-{self.runner['version']}"
        parts = (
            f"{name}-{digest[:8]}" if digest else name,
            "bench",
            slug(self.environment),
            _file_word(runtime),
        )
        return "_".join(parts) + ".json"

    def write(self, folder: str | Path, taken: Collection[Path] = ()) -> Path:
        """Write it into ``folder`` under :attr:`file_name`, replacing an older one of that name.

        Where that is another artefact of the same run, the name gets a number instead.

        Args:
            folder: Made where it is not there.
            taken: Files in it that are not to be replaced either.

        Raises:
            OutputError: The folder cannot be made or written.
        """
        path = first = Path(folder) / self.file_name
        number = 1
        while path in taken or self._would_replace_another(path):
            number += 1
            path = first.with_name(f"{first.name.removesuffix('.json')}-{number}.json")
        write_text(path, readable_json(self.to_dict()))
        return path

    def _would_replace_another(self, path: Path) -> bool:
        """Whether the file is the record of another artefact of this run."""
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False  # nothing, or nothing worth keeping
        if not isinstance(there, dict):
            return False
        mine = self.to_dict()
        return bool(there.get("run") == mine["run"] and there.get("label") != mine["label"])


def write_records(records: Sequence[ArtefactRecord], folder: str | Path) -> list[Path]:
    """Write each into ``folder``, to a file of its own: a name that is taken gets a number.

    Returns:
        Where they are, in the order given.

    Raises:
        OutputError: The folder cannot be made or written.
    """
    written: list[Path] = []
    for record in records:
        written.append(record.write(folder, written))
    return written


def read_artefact_record(path: str | Path) -> ArtefactRecord:
    """Read what :meth:`ArtefactRecord.write` wrote.

    Raises:
        InputError: The file is damaged, no record of an artefact, or one of another schema.
    """
    cannot = f"cannot read the record {path}"
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(cannot, error.strerror or str(error)) from error
    except ValueError as error:
        raise InputError(cannot, f"it is damaged ({error})", _AGAIN) from error
    if not isinstance(data, dict) or not isinstance(data.get("schema"), int):
        raise InputError(cannot, "it is no record of edgepose", f"{_MADE_BY} --out FOLDER")
    kind, schema = data.get("kind"), data["schema"]
    if schema < SCHEMA:
        why = f"it has the older schema {schema} (kind '{kind}'); this edgepose reads {SCHEMA}"
        raise InputError(cannot, why, _AGAIN)
    if schema > SCHEMA:
        why = f"it has schema {schema}, which is newer than this edgepose; it reads {SCHEMA}"
        raise InputError(cannot, why, "upgrade with: pip install -U edgepose")
    if kind != KIND:
        raise InputError(cannot, f"it is of kind '{kind}' and not of an artefact", _MADE_BY)
    found = faults(data)
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise InputError(cannot, f"{found[0]}{more}", _AGAIN)
    return ArtefactRecord(**data)


def read_artefact_records(path: str | Path) -> list[ArtefactRecord]:
    """One record, or all of a folder: run by run, in the order they were measured in.

    Raises:
        InputError: There is none, or one cannot be read.
    """
    if not Path(path).is_dir():
        return [read_artefact_record(path)]
    files = sorted(Path(path).glob("*_bench_*.json"))
    if not files:
        raise InputError(f"cannot read records from {path}", "it holds none", _MADE_BY)
    return in_order([read_artefact_record(file) for file in files])


def in_order(records: Sequence[ArtefactRecord]) -> list[ArtefactRecord]:
    """Run by run, and in each as it was measured, the reference first."""
    begun: dict[str, str] = {}
    for record in records:
        begun[record.run] = min(record.created, begun.get(record.run, record.created))
    return sorted(records, key=lambda record: (begun[record.run], record.run, _place(record)))


def _place(record: ArtefactRecord) -> float:
    """Where it stands in its run, the reference first; last if it was not timed."""
    together = (record.latency or {}).get("protocol", {}).get("together", [])
    return together.index(record.label) if record.label in together else math.inf


_MADE_BY = "such a record is made by: edgepose bench ARTEFACT"
_AGAIN = "measure again with this version of edgepose"


def _clean(value: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_clean(item) for item in value]
    return value


def _file_word(text: str) -> str:
    """Safe in a file name everywhere, and without the ``_`` that parts the name."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip("-.") or "artefact"
