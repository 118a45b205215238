"""Figures as people read them: few digits, a true minus, and always their unit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from edgepose.bench.reading import Difference, TimeRatio
from edgepose.bench.record import ArtefactRecord

__all__ = [
    "MINUS",
    "NEARLY",
    "NONE",
    "TIMES",
    "change",
    "date",
    "device",
    "digits",
    "first_clause",
    "interval",
    "listed",
    "mebibytes",
    "millions",
    "percent",
    "persons",
    "points",
    "ratio",
    "sentence",
    "shortened",
    "signed",
    "stack",
    "tick",
    "too_low",
]

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
NONE = "\N{EN DASH}"
# Before a figure that is not quite what its column says.
NEARLY = "~"
_MOST_DECIMALS = 3


def digits(value: float | None, significant: int = 3) -> str:
    """Three significant digits, three decimals at most, never an exponent: 0.048, 4.31, 1520."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    if abs(value) < 10**-_MOST_DECIMALS / 2:
        return f"< {10**-_MOST_DECIMALS:g}"
    places = significant - 1 - math.floor(math.log10(abs(value)))
    text = f"{round(value, places):.{min(max(0, places), _MOST_DECIMALS)}f}"
    return text.replace("-", MINUS)


def points(value: float | None, places: int = 1) -> str:
    """A percentage as the papers print it: 74.6."""
    return NONE if value is None else f"{value:.{places}f}".replace("-", MINUS)


def signed(value: float, places: int = 2) -> str:
    """With its sign; what rounds to zero has none."""
    text = f"{value:+.{places}f}"
    return (text[1:] if float(text) == 0 else text).replace("-", MINUS)


def interval(low: str, high: str) -> str:
    """Two ends."""
    return f"[{low}, {high}]"


def ratio(found: TimeRatio | None, places: int = 2) -> str:
    """0.43 [0.42, 0.44]; a dash inside the brackets of too few rounds for an interval."""
    if found is None:
        return NONE
    ends = f"[{NONE}]"
    if found.interval is not None:
        ends = interval(*(f"{end:.{places}f}" for end in found.interval))
    return f"{found.value:.{places}f} {ends}"


def change(found: Difference | None) -> str:
    """Minus 0.40 [minus 0.81, minus 0.02]."""
    if found is None:
        return NONE
    return f"{signed(found.value)} {interval(signed(found.low), signed(found.high))}"


def mebibytes(size: int | None) -> str:
    """Without the unit, which stands in the head of the column; two decimals at most."""
    if size is None:
        return NONE
    mebi = size / 2**20
    return f"{mebi:.2f}" if mebi < 1 else digits(mebi)


def millions(value: float | None) -> str:
    """Without the unit."""
    return NONE if value is None else digits(value / 1e6)


def percent(share: float | None, places: int = 0) -> str:
    """A share of 1 in percent."""
    return NONE if share is None else f"{100 * share:.{places}f} %"


def too_low(cost: dict[str, Any] | None) -> str:
    """What has to stand beside a count that is not whole."""
    found = cost or {}
    notes = found.get("notes", ())
    return "TOO LOW" if found.get("uncounted") or any("TOO LOW" in n for n in notes) else ""


def persons(count: int) -> str:
    """1 person, 8 persons."""
    return "1 person" if count == 1 else f"{count} persons"


def listed(items: Sequence[str]) -> str:
    """a, b and c."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def tick(value: float) -> str:
    """A figure at an axis."""
    return f"{value:.6g}".replace("-", MINUS)


def shortened(text: str, longest: int = 32) -> str:
    """Its end, where it is too long for a label: names differ at the end."""
    return text if len(text) <= longest else f"\N{HORIZONTAL ELLIPSIS}{text[-longest + 1 :]}"


def first_clause(text: str) -> str:
    """Up to the first semicolon or full stop."""
    return re.split(r"; |\. ", text, maxsplit=1)[0]


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def date(created: str) -> str:
    """``2026-11-21 20:54 UTC`` of an ISO time; the text itself where it is none."""
    try:
        return datetime.fromisoformat(created).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return created


def device(record: ArtefactRecord) -> str:
    """What it ran on: board, GPU or CPU."""
    hardware: dict[str, Any] = record.environment["hardware"]
    where = str((record.runner or {}).get("device") or "cpu")
    name = hardware["board"]
    if not name and not where.startswith("cpu") and hardware["gpu"]:
        # nvidia-smi's line is the name and the driver's version.
        name = hardware["gpu"][0].partition(",")[0]
    name = name or hardware["cpu"] or hardware["architecture"] or "an unnamed machine"
    cores = hardware["usable_cores"]
    if not where.startswith("cpu") or not cores:
        return str(name)
    return f"{name}, {cores} {'core' if cores == 1 else 'cores'}"


def stack(record: ArtefactRecord) -> str:
    """Runtime, its version, and the threads it may use."""
    if record.runner is None:
        return NONE
    text = f"{record.runner['runtime']} {record.runner['version']}"
    where = record.runner.get("device")
    return f"{text} on {where}" if where else text
