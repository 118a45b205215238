"""BenchRecord: a measurement as JSON, with all that is needed to judge and to repeat it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgepose.bench.hardware import fingerprint, slug
from edgepose.errors import InputError
from edgepose.estimator import Estimator
from edgepose.files import write_text
from edgepose.redact import redact
from edgepose.zoo import sha256_of

__all__ = ["SCHEMA", "BenchRecord", "describe_artefact", "read_record", "readable_json"]

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class BenchRecord:
    """One measurement.

    Attributes:
        kind: ``accuracy``, ``latency`` or ``pairs``.
        command: The command that makes it again.
        artefact: Name, digest, size and spec of what was measured; None where several were.
        runner: What was in force, as the runner describes it.
        protocol: How it was measured.
        results: The figures, raw samples included.
        created: UTC, ISO 8601.
        environment: Hardware and stack, see :func:`edgepose.bench.hardware.fingerprint`.
        schema: Version of this structure.
    """

    kind: str
    command: str
    artefact: dict[str, Any] | None
    runner: dict[str, Any] | None
    protocol: dict[str, Any]
    results: list[dict[str, Any]]
    created: str = field(
        default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds")
    )
    environment: dict[str, Any] = field(default_factory=fingerprint)
    schema: int = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, schema first; credentials in the command are blanked."""
        order = ("schema", *(f.name for f in fields(self) if f.name != "schema"))
        data = {name: getattr(self, name) for name in order}
        return data | {"command": redact(self.command)}

    @property
    def file_name(self) -> str:
        """``ARTEFACT-DIGEST_KIND_HARDWARE_RUNTIME-VERSION.json``, as far as there are any."""
        parts = []
        if self.artefact is not None:
            parts.append(f"{Path(self.artefact['name']).stem}-{self.artefact['sha256'][:8]}")
        parts += [self.kind, slug(self.environment)]
        if self.runner is not None:
            parts.append(f"{self.runner['runtime']}-{self.runner['version']}")
        return "_".join(parts) + ".json"

    def write(self, folder: str | Path) -> Path:
        """Write it into ``folder`` under :attr:`file_name`, replacing an older one of that name.

        Raises:
            OutputError: The folder cannot be made or written.
        """
        path = Path(folder) / self.file_name
        write_text(path, readable_json(self.to_dict()))
        return path


def read_record(path: str | Path) -> BenchRecord:
    """Read what :meth:`BenchRecord.write` wrote.

    Raises:
        InputError: The file is no record, or one of another schema.
    """
    try:
        data = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the record {path}", str(error)) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else None
        raise InputError(
            f"cannot read the record {path}",
            f"it has schema {found}, this edgepose reads schema {SCHEMA}",
            "measure again with this version of edgepose",
        )
    try:
        return BenchRecord(**data)
    except TypeError as error:
        raise InputError(f"cannot read the record {path}", str(error)) from error


def readable_json(data: dict[str, Any]) -> str:
    """Indented JSON with each list of plain numbers on one line."""
    text = json.dumps(data, indent=1)
    # A raw newline cannot stand inside a JSON string, so that no string is touched.
    rows = re.sub(r"\[\n\s*([-+.\deE,\s]+?)\n\s*\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    return rows + "\n"


def describe_artefact(estimator: Estimator, name: str) -> dict[str, Any]:
    """Name, and for a file its digest, size and spec."""
    path = getattr(estimator.runner, "path", None)
    if not isinstance(path, Path):
        raise TypeError(f"only files can be recorded, not a {type(estimator.runner).__name__}")
    return {
        "name": name,
        "file": path.name,
        "sha256": sha256_of(path),
        "bytes": path.stat().st_size,
        "spec": estimator.spec.to_dict(),
    }
