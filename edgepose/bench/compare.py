"""Records of today against records of yesterday: what became slower, larger or less accurate.

The two sides were measured at different times, so that nothing can be paired. Each side's rounds
are resampled on their own, and a change counts only where the whole interval lies beyond what is
tolerated. What differs between the machines is named, since it may be the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgepose.bench.reading import ap_of, ap_protocol, batches, cell, holds, why_missing
from edgepose.bench.record import ArtefactRecord
from edgepose.errors import InputError

__all__ = ["Change", "Comparison", "compare_records"]

Verdict = Literal["same", "better", "worse", "unclear"]
Unit = Literal["ms", "bytes", "AP"]

_HARDWARE = ("board", "cpu", "gpu", "usable_cores", "memory_gib", "governor")
_STAGES = ("frame", "network", "device")
_PERCENTILES = {"p50": 50.0, "p99": 99.0}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure then and now.

    Attributes:
        label: The artefact.
        what: The figure, in words.
        unit: ``ms``, ``bytes`` or ``AP``.
        old: Then.
        new: Now.
        change: New over old; for AP, new less old.
        interval_95: Of ``change``, by bootstrap over rounds; None where there is one figure only.
        verdict: ``worse`` or ``better`` beyond tolerance and doubt, ``unclear`` where the change is
            beyond tolerance and its interval is not, ``same`` otherwise.
    """

    label: str
    what: str
    unit: Unit
    old: float
    new: float
    change: float
    interval_95: tuple[float, float] | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All changes, and what to think of when reading them.

    Attributes:
        changes: One a figure that both sides have.
        broken: Artefacts or sections that were measured then and failed now.
        warnings: What differs between the two measurements, or was not compared.
        tolerance: Share by which times and bytes may grow.
        ap_tolerance: Points by which AP may drop.
    """

    changes: tuple[Change, ...]
    broken: tuple[str, ...]
    warnings: tuple[str, ...]
    tolerance: float
    ap_tolerance: float

    @property
    def regressed(self) -> bool:
        """Whether anything is worse beyond tolerance and doubt, or no longer works."""
        return bool(self.broken) or any(change.verdict == "worse" for change in self.changes)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"regressed": self.regressed}


def compare_records(
    old: Sequence[ArtefactRecord],
    new: Sequence[ArtefactRecord],
    tolerance: float = 0.05,
    ap_tolerance: float = 0.5,
) -> Comparison:
    """Hold two measurements against each other, artefact by artefact.

    Artefacts are matched by label; two single records are compared whatever they are called.

    Args:
        old: Then.
        new: Now.
        tolerance: Share by which a time or a number of bytes may grow: 0.05 is 5 %.
        ap_tolerance: Points by which AP may drop. The sides' keypoints are not kept in records, so
            that there is no interval for it.

    Raises:
        InputError: No artefact is on both sides, or one is on a side twice.
        ValueError: A tolerance is negative.
    """
    if tolerance < 0 or ap_tolerance < 0:
        raise ValueError(f"tolerances are not negative: {tolerance}, {ap_tolerance}")
    pairs, warnings = _matched(old, new)
    changes: list[Change] = []
    broken: list[str] = []
    for before, after in pairs:
        warnings += _differences(before, after)
        broken += _broken(before, after)
        changes += _times(before, after, tolerance)
        changes += _bytes(before, after, tolerance)
        changes += _accuracy(before, after, ap_tolerance)
        warnings += _uncompared(before, after)
    return Comparison(
        changes=tuple(changes),
        broken=tuple(broken),
        warnings=tuple(dict.fromkeys(warnings)),
        tolerance=tolerance,
        ap_tolerance=ap_tolerance,
    )


def _matched(
    old: Sequence[ArtefactRecord], new: Sequence[ArtefactRecord]
) -> tuple[list[tuple[ArtefactRecord, ArtefactRecord]], list[str]]:
    if len(old) == len(new) == 1:
        return [(old[0], new[0])], []
    sides = {"old": _by_label(old, "old"), "new": _by_label(new, "new")}
    both = [label for label in sides["old"] if label in sides["new"]]
    if not both:
        raise InputError(
            "the records cannot be compared",
            f"no artefact is on both sides: {', '.join(sides['old'])} against "
            f"{', '.join(sides['new'])}",
            "give one record on each side, or measure the same artefacts",
        )
    lonely = [
        f"{label} is only in the {side} records"
        for side, records in sides.items()
        for label in records
        if label not in both
    ]
    return [(sides["old"][label], sides["new"][label]) for label in both], lonely


def _by_label(records: Sequence[ArtefactRecord], side: str) -> dict[str, ArtefactRecord]:
    found: dict[str, ArtefactRecord] = {}
    for record in records:
        if record.label in found:
            raise InputError(
                "the records cannot be compared",
                f"{record.label} is twice in the {side} ones",
                "give the records of one run, or single files",
            )
        found[record.label] = record
    return found


def _differences(old: ArtefactRecord, new: ArtefactRecord) -> Iterator[str]:
    """What is not the same on both sides."""
    for place, before, after in _surroundings(old, new):
        if before != after:
            yield f"{place}: {_words(before)} then, {_words(after)} now"
    for side, record in (("then", old), ("now", new)):
        for reason in (record.conditions or {}).get("throttled", ()):
            yield f"the machine was slowed down {side}: {reason}"


def _surroundings(old: ArtefactRecord, new: ArtefactRecord) -> Iterator[tuple[str, Any, Any]]:
    hardware, stack = (
        (old.environment[part], new.environment[part]) for part in ("hardware", "stack")
    )
    packages = (stack[0]["packages"], stack[1]["packages"])
    conditions = (old.conditions, new.conditions)
    artefacts = (old.artefact, new.artefact)
    runners = (old.runner, new.runner)
    for title, sides, keys in (
        ("other hardware", hardware, _HARDWARE),
        ("other stack", stack, ("edgepose", "python", "system")),
        ("other stack", packages, sorted(packages[0].keys() | packages[1].keys())),
        (f"{new.label}: other conditions", conditions, ("threads", "affinity", "niceness")),
        (f"{new.label}: another artefact", artefacts, ("sha256", "precision", "random_weights")),
        (f"{new.label}: another runner", runners, ("runtime", "version", "device", "providers")),
    ):
        for key in keys:
            then, now = ((side or {}).get(key) for side in sides)
            yield f"{title}, {key.replace('_', ' ')}", then, now
    for stage in _STAGES:
        yield f"{new.label}: other batches, {stage}", batches(old, stage), batches(new, stage)


def _words(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    return str(value)


def _broken(old: ArtefactRecord, new: ArtefactRecord) -> Iterator[str]:
    for failure in new.failures:
        section = failure["section"]
        if not any(before["section"] == section for before in old.failures):
            why = f": {failure['why']}" if failure["why"] else ""
            yield f"{new.label} failed now and not then: {failure['what']}{why}"


def _uncompared(old: ArtefactRecord, new: ArtefactRecord) -> Iterator[str]:
    for section in ("latency", "memory", "accuracy"):
        then, now = getattr(old, section), getattr(new, section)
        if holds(then) and not holds(now):
            reason = why_missing(now) or "not asked for"
            yield f"{new.label}: {section} was measured then and is not now ({reason})"
    theirs, ours = ap_protocol([old]), ap_protocol([new])
    if theirs and ours and ap_of(new, theirs) is None:
        yield f"{new.label}: the APs are of different protocols and are not compared"


def _times(old: ArtefactRecord, new: ArtefactRecord, tolerance: float) -> Iterator[Change]:
    for stage in _STAGES:
        for batch in batches(old, stage):
            before, after = cell(old, stage, batch), cell(new, stage, batch)
            if before is None or after is None:
                continue
            intervals = _ratio_intervals(before["samples_ms"], after["samples_ms"])
            for name, interval in zip(_PERCENTILES, intervals, strict=True):
                then, now = before["milliseconds"][name], after["milliseconds"][name]
                change = now / then
                people = "1 person" if batch == 1 else f"{batch} persons"
                yield Change(
                    label=new.label,
                    what=f"{stage} {name}, {people}",
                    unit="ms",
                    old=then,
                    new=now,
                    change=round(change, 4),
                    interval_95=interval,
                    verdict=_grown(change, interval, tolerance),
                )


def _ratio_intervals(
    old: Sequence[Sequence[float]], new: Sequence[Sequence[float]]
) -> list[tuple[float, float]]:
    """95 % interval of the ratio of each percentile; whole rounds are drawn, each side alone."""
    ratios = _resampled(new, seed=1) / _resampled(old, seed=0)  # (percentiles, draws)
    ends = np.percentile(ratios, [2.5, 97.5], axis=1)
    return [(round(float(low), 4), round(float(high), 4)) for low, high in ends.T]


def _resampled(
    rounds: Sequence[Sequence[float]], seed: int, draws: int = 1000
) -> npt.NDArray[np.float64]:
    """(percentiles, draws) the percentiles over rounds drawn with repetition."""
    calls = max(len(visit) for visit in rounds)
    padded = np.array([[*visit, *[np.nan] * (calls - len(visit))] for visit in rounds])
    picks = np.random.default_rng(seed).integers(0, len(rounds), (draws, len(rounds)))
    drawn = padded[picks].reshape(draws, -1)  # (draws, rounds x calls)
    percentile = np.nanpercentile if np.isnan(padded).any() else np.percentile
    found: npt.NDArray[np.float64] = percentile(drawn, list(_PERCENTILES.values()), axis=1)
    return found


def _grown(change: float, interval: tuple[float, float] | None, tolerance: float) -> Verdict:
    low, high = interval or (change, change)
    if low > 1 + tolerance:
        return "worse"
    if high < 1 / (1 + tolerance):
        return "better"
    return "same" if 1 / (1 + tolerance) <= change <= 1 + tolerance else "unclear"


def _bytes(old: ArtefactRecord, new: ArtefactRecord, tolerance: float) -> Iterator[Change]:
    for what, before, after in (
        ("peak memory", _peak(old), _peak(new)),
        ("peak GPU memory", _peak(old, gpu=True), _peak(new, gpu=True)),
        ("file", old.artefact["bytes"], new.artefact["bytes"]),
    ):
        if before and after:
            yield Change(
                label=new.label,
                what=what,
                unit="bytes",
                old=before,
                new=after,
                change=round(after / before, 4),
                interval_95=None,
                verdict=_grown(after / before, None, tolerance),
            )


def _peak(record: ArtefactRecord, gpu: bool = False) -> int | None:
    """Peak bytes of the batches, or None."""
    if record.memory is None or not holds(record.memory):
        return None
    found = record.memory["gpu"] if gpu else record.memory
    return found["peak_bytes"] if holds(found) else None


def _accuracy(old: ArtefactRecord, new: ArtefactRecord, tolerance: float) -> Iterator[Change]:
    protocol = ap_protocol([old])
    before, after = ap_of(old, protocol), ap_of(new, protocol)
    if before is None or after is None:
        return
    change = after.ap - before.ap
    verdict: Verdict = "worse" if change < -tolerance else "better"
    yield Change(
        label=new.label,
        what=after.label,
        unit="AP",
        old=before.ap,
        new=after.ap,
        change=round(change, 4),
        interval_95=None,
        verdict=verdict if abs(change) > tolerance else "same",
    )
