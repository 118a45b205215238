"""Which artefact to deploy: the most accurate one that keeps within a frame's time."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgepose.bench.reading import (
    Accuracy,
    Difference,
    ap_between,
    ap_of,
    ap_protocol,
    batches,
    calls,
    cell,
    holds,
    names,
    references,
    vague_tail,
    why_missing,
)
from edgepose.bench.record import ArtefactRecord
from edgepose.errors import InputError

__all__ = ["PERCENTILES", "Choice", "Row", "choose", "parse_budget"]

PERCENTILES = ("p50", "p90", "p95", "p99", "max", "mean")

_BUDGET = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>ms|s|fps)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One artefact, judged.

    Attributes:
        name: What it is called.
        fits: Whether it is within the budget, and accurate enough.
        milliseconds: Frame time at the percentile asked for; None if not measured.
        timed_with: Persons in the frame that was timed; more than were asked for where that number
            was not measured.
        ap: AP in percent; None if not measured under the common protocol.
        why: Why it is in or out.
    """

    name: str
    fits: bool
    milliseconds: float | None
    timed_with: int | None
    ap: float | None
    why: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The best artefact within a budget, if there is one.

    Attributes:
        best: Its name.
        why: The reason, in a sentence.
        rows: Every artefact, in the order given.
        budget_ms: What a frame may take.
        persons: People in a frame.
        percentile: Of the frame times.
        min_ap: Least AP in percent, or None.
        measured_by: What the APs are of, or None where none was measured.
    """

    best: str | None
    why: str
    rows: tuple[Row, ...]
    budget_ms: float
    persons: int
    percentile: str
    min_ap: float | None
    measured_by: str | None

    def __bool__(self) -> bool:
        """Whether anything fits."""
        return self.best is not None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"rows": [asdict(row) for row in self.rows]}


def parse_budget(text: str) -> float:
    """What a frame may take, in milliseconds, from ``33ms``, ``0.033s`` or ``30fps``.

    Raises:
        InputError: It is none of these, or not positive.
    """
    match = _BUDGET.fullmatch(text.strip())
    number = float(match["number"]) if match else 0.0
    if match is None or not number > 0 or math.isinf(number):
        raise InputError(
            f"'{text}' is no time for a frame",
            "it needs a positive number and a unit",
            "write it as 33ms, 0.033s or 30fps",
        )
    unit = match["unit"].lower()
    return {"ms": number, "s": number * 1000, "fps": 1000 / number}[unit]


def choose(
    records: Sequence[ArtefactRecord],
    budget_ms: float,
    min_ap: float | None = None,
    persons: int = 1,
    percentile: str = "p95",
) -> Choice:
    """The artefact with the highest AP among those within the budget.

    Artefacts whose AP cannot be told from the highest one (the paired 95 % interval of the
    difference holds zero) count as equally accurate; of those the fastest is taken. The records
    hold differences to the reference; between two others the two intervals are added as if they
    were independent. They share the reference, so that this is wider than the truth: it calls more
    a tie, never less.

    The time is that of a whole frame: crops, network and decoding of everybody in it. A number of
    persons that was not measured is judged by the next larger one. Without any AP the fastest is
    taken, and the reason says so.

    Args:
        records: Of one device.
        budget_ms: What a frame may take, see :func:`parse_budget`.
        min_ap: Least AP in percent.
        persons: People in a frame.
        percentile: Of the frame times that has to keep the budget, one of :data:`PERCENTILES`.

    Raises:
        ValueError: An unknown percentile, or nobody in the frame.
    """
    if percentile not in PERCENTILES or persons < 1:
        raise ValueError(f"no such question: {percentile} with {persons} persons")
    protocol = ap_protocol(records)
    aps = [ap_of(record, protocol) for record in records]
    called = names(records)
    question = _Question(budget_ms, min_ap, persons, percentile)
    rows = [
        _judge(record, name, accuracy, question)
        for record, name, accuracy in zip(records, called, aps, strict=True)
    ]
    inside = [index for index, row in enumerate(rows) if row.fits]
    known = next((accuracy for accuracy in aps if accuracy is not None), None)
    best, why, words = _best(records, rows, aps, inside, question)
    for index, text in words.items():
        rows[index] = replace(rows[index], why=f"{rows[index].why}; {text}")
    return Choice(
        best=None if best is None else called[best],
        why=why,
        rows=tuple(rows),
        budget_ms=budget_ms,
        persons=persons,
        percentile=percentile,
        min_ap=min_ap,
        measured_by=known.label if known else None,
    )


@dataclass(frozen=True)
class _Question:
    budget_ms: float
    min_ap: float | None
    persons: int
    percentile: str

    def __str__(self) -> str:
        people = "1 person" if self.persons == 1 else f"{self.persons} persons"
        wanted = f"{self.budget_ms:.3g} ms a frame at {self.percentile} with {people}"
        return wanted if self.min_ap is None else f"{wanted} and an AP of {self.min_ap:g}"


def _judge(
    record: ArtefactRecord, name: str, accuracy: Accuracy | None, question: _Question
) -> Row:
    """Whether it fits, by itself."""
    timed = next((n for n in batches(record, "frame") if n >= question.persons), None)
    ap = accuracy.ap if accuracy else None
    if timed is None:
        return Row(
            name=name,
            fits=False,
            milliseconds=None,
            timed_with=None,
            ap=ap,
            why=_untimed(record, question.persons),
        )
    found = cell(record, "frame", timed)
    if found is None:
        raise AssertionError(f"{timed} is one of its own batches")
    time = float(found["milliseconds"][question.percentile])
    share = f"{time:.3g} ms of {question.budget_ms:.3g} ms"
    if timed != question.persons:
        share += f" (timed with {timed} persons)"
    if question.percentile == "p99" and vague_tail(found):
        share += f" (nearly the slowest of {calls(found)} calls)"
    if time > question.budget_ms:
        fits, why = False, f"too slow: {share}"
    elif question.min_ap is None:
        fits, why = True, f"within the budget: {share}"
    elif ap is None:
        fits, why = False, f"its AP was not measured ({share})"
    elif ap < question.min_ap:
        fits, why = False, f"AP {ap:.1f} is below {question.min_ap:g} ({share})"
    else:
        fits, why = True, f"within the budget, and accurate enough: {share}, AP {ap:.1f}"
    return Row(name=name, fits=fits, milliseconds=time, timed_with=timed, ap=ap, why=why)


def _untimed(record: ArtefactRecord, persons: int) -> str:
    for failure in record.failures:
        if failure["section"] in ("open", "latency"):
            return f"it failed: {failure['what']}"
    if not holds(record.latency):
        return why_missing(record.latency) or "its frames were not timed"
    return f"not timed with {persons} persons; measure with --batch {persons}"


def _best(
    records: Sequence[ArtefactRecord],
    rows: Sequence[Row],
    aps: Sequence[Accuracy | None],
    inside: Sequence[int],
    question: _Question,
) -> tuple[int | None, str, dict[int, str]]:
    """Index of the best, why, and words for those that fit and are not it."""
    if not inside:
        return None, _nothing(rows, question), {}
    judged = [index for index in inside if aps[index] is not None]
    fastest = min(inside, key=lambda index: _time(rows[index]))
    if not judged:
        time = f"{_time(rows[fastest]):.3g} ms"
        alone = f"the only one that keeps within {question}"
        which = f"the shortest time within {question}" if len(inside) > 1 else alone
        why = f"{which}: {time}; no AP was measured"
        return fastest, why, {}
    top = max(judged, key=lambda index: (_ap(rows[index]), -_time(rows[index])))
    flip, against = _flip(aps), references(records, ("parity",))
    tied = {index: ap_between(records[index], records[top], flip, against) for index in judged}
    equal = [
        index
        for index in judged
        if index == top or _tie(tied[index], _ap(rows[index]), _ap(rows[top]))
    ]
    best = min(equal, key=lambda index: (_time(rows[index]), -_ap(rows[index])))
    row = rows[best]
    time, ap = f"{_time(row):.3g} ms", f"{_ap(row):.1f} %"
    within = f"that keep within {question}"
    if len(inside) == 1:
        why = f"the only one that keeps within {question}: {time}, AP {ap}"
    elif len(judged) == 1:
        why = f"the only one with a known AP ({ap}) of the {len(inside)} {within}: {time}"
    elif best == top:
        why = f"the highest AP ({ap}) of the {len(judged)} {within}: {time}"
    else:
        why = (
            f"the shortest time of the {len(judged)} {within} and whose AP ({ap}) "
            f"cannot be told from the highest ({_ap(rows[top]):.1f} % of {rows[top].name}): {time}"
        )
    words = {
        index: (
            f"its AP cannot be told from that of {row.name}, and it is slower"
            if index in equal
            else f"AP {_ap(rows[index]):.1f} is less than that of {row.name}"
        )
        for index in judged
        if index != best
    }
    words |= {index: "its AP is not known" for index in inside if aps[index] is None}
    return best, why, words


def _nothing(rows: Sequence[Row], question: _Question) -> str:
    timed = [row for row in rows if row.milliseconds is not None]
    nothing = f"nothing keeps within {question}"
    if not timed:
        people = "" if question.persons == 1 else f" with {question.persons} persons"
        return f"{nothing}: no frame{people} was timed"
    quick = [row for row in timed if _time(row) <= question.budget_ms]
    if not quick:
        near = min(timed, key=_time)
        return f"{nothing}; the nearest is {near.name} with {_time(near):.3g} ms"
    # What keeps the time and is no choice lacks the AP.
    near = max(quick, key=lambda row: (-1.0 if row.ap is None else row.ap, -_time(row)))
    lack = "was not measured" if near.ap is None else f"of {near.ap:.1f} % is too low"
    return f"{nothing}; {near.name} keeps the time with {_time(near):.3g} ms, but its AP {lack}"


def _tie(difference: Difference | None, ap: float, top: float) -> bool:
    """Without an interval only the same AP is a tie."""
    return ap == top if difference is None else not difference.certain


def _flip(aps: Sequence[Accuracy | None]) -> bool:
    return next(accuracy.flip for accuracy in aps if accuracy is not None)


def _time(row: Row) -> float:
    if row.milliseconds is None:
        raise AssertionError(f"{row.name} was not timed")
    return row.milliseconds


def _ap(row: Row) -> float:
    if row.ap is None:
        raise AssertionError(f"the AP of {row.name} was not measured")
    return row.ap
