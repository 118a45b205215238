"""Records of today against records of yesterday: what became slower, larger or less accurate.

The two sides were measured at different times, so that their times cannot be paired. Each side's
rounds are resampled on their own, and a change counts only where the whole interval lies beyond
what is tolerated. Such an interval is of the rounds inside each run: by how much one machine
differs from itself from one run to the next, nobody has measured, and it is not in it. Where both
sides were timed against the same reference, the ratios to it are held against each other too; they
feel less of the machine's mood. What else differs is named, since it may be the reason.

Whatever was measured then and is not there now counts as broken: silence is no good news.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgepose.bench.losses import broken, unasked
from edgepose.bench.reading import TimeRatio, accuracies, batches, cell, holds, ratio, references
from edgepose.bench.record import ArtefactRecord
from edgepose.bench.statistics import LEAST_ROUNDS, Interval
from edgepose.errors import InputError

__all__ = ["Change", "Comparison", "compare_records"]

Verdict = Literal["same", "better", "worse", "unclear", "not judged"]
Unit = Literal["ms", "ratio", "bytes", "AP", "PCKh"]

_HARDWARE = ("board", "cpu", "gpu", "usable_cores", "memory_gib", "governor")
_STAGES = ("frame", "network", "device")
_PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
# The 99th percentile of the few calls of a run is nearly its slowest call: told, not judged.
_JUDGED = ("p50", "p95")
# Loads that differ by as much are different conditions.
_LOAD = 0.5


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure then and now.

    Attributes:
        label: The artefact.
        what: The figure, in words.
        unit: ``ms``, ``ratio`` (of times, to the reference of both sides), ``bytes``, ``AP`` or
            ``PCKh`` (both in percent).
        old: Then.
        new: Now.
        change: New over old; for AP and PCKh, new less old.
        interval_95: Of ``change``, by bootstrap over the rounds inside each run; None where there
            are fewer than 6 rounds, or one figure only.
        verdict: ``worse`` or ``better`` beyond tolerance and the noise inside the runs, ``unclear``
            where the change is beyond tolerance and its interval is not, ``same`` otherwise; ``not
            judged`` for what is only told.
    """

    label: str
    what: str
    unit: Unit
    old: float
    new: float
    change: float
    interval_95: Interval | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All changes, and what to think of when reading them.

    Attributes:
        changes: One a figure that both sides have.
        broken: What was measured then and is not there now, and what fails since.
        warnings: What differs between the two measurements, or was not compared.
        tolerance: Share by which times and bytes may grow.
        ap_tolerance: Points by which AP and PCKh may drop.
    """

    changes: tuple[Change, ...]
    broken: tuple[str, ...]
    warnings: tuple[str, ...]
    tolerance: float
    ap_tolerance: float

    @property
    def regressed(self) -> bool:
        """Whether anything is worse beyond tolerance and noise, or no longer there."""
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
        ap_tolerance: Points by which AP and PCKh may drop. The sides' keypoints are not kept in
            records, so that there is no interval for it.

    Raises:
        InputError: No artefact is on both sides, or one is on a side twice.
        ValueError: A tolerance is negative.
    """
    if tolerance < 0 or ap_tolerance < 0:
        raise ValueError(f"tolerances are not negative: {tolerance}, {ap_tolerance}")
    pairs, lost, warnings = _matched(old, new)
    changes: list[Change] = []
    for before, after in pairs:
        warnings += _differences(before, after)
        lost += broken(before, after, new)
        warnings += unasked(before, after, new)
        times = list(_times(before, after, tolerance))
        ratios, why = _ratios(before, after, old, new, tolerance)
        changes += times
        changes += ratios
        warnings += [why] if why else _contradiction(after.label, times, ratios)
        changes += _bytes(before, after, tolerance)
        changes += _accuracy(before, after, ap_tolerance)
    return Comparison(
        changes=tuple(changes),
        broken=tuple(lost),
        warnings=tuple(dict.fromkeys(warnings)),
        tolerance=tolerance,
        ap_tolerance=ap_tolerance,
    )


def _matched(
    old: Sequence[ArtefactRecord], new: Sequence[ArtefactRecord]
) -> tuple[list[tuple[ArtefactRecord, ArtefactRecord]], list[str], list[str]]:
    """Pairs; artefacts that are lost; artefacts that are new."""
    if len(old) == len(new) == 1:
        return [(old[0], new[0])], [], []
    sides = {"old": _by_label(old, "old"), "new": _by_label(new, "new")}
    both = [label for label in sides["old"] if label in sides["new"]]
    if not both:
        raise InputError(
            "the records cannot be compared",
            f"no artefact is on both sides: {', '.join(sides['old'])} against "
            f"{', '.join(sides['new'])}",
            "give one record on each side, or measure the same artefacts",
        )
    lost = [
        f"{label} was measured then and is not in the new records"
        for label, record in sides["old"].items()
        if label not in both and record.status != "failed"
    ]
    added = [f"{label} is only in the new records" for label in sides["new"] if label not in both]
    return [(sides["old"][label], sides["new"][label]) for label in both], lost, added


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
    then, now = ((record.conditions or {}).get("load_before") for record in (old, new))
    if then is not None and now is not None and abs(then - now) > _LOAD:
        yield f"other load before the start: {then:.2f} then, {now:.2f} now"


def _surroundings(old: ArtefactRecord, new: ArtefactRecord) -> Iterator[tuple[str, Any, Any]]:
    hardware, stack = (
        (old.environment[part], new.environment[part]) for part in ("hardware", "stack")
    )
    packages = (stack[0]["packages"], stack[1]["packages"])
    conditions = (old.conditions, new.conditions)
    protocols = ((old.latency or {}).get("protocol"), (new.latency or {}).get("protocol"))
    artefacts = (old.artefact, new.artefact)
    runners = (old.runner, new.runner)
    for title, sides, keys in (
        ("other hardware", hardware, _HARDWARE),
        ("other stack", stack, ("edgepose", "python", "system")),
        ("other stack", packages, sorted(packages[0].keys() | packages[1].keys())),
        (f"{new.label}: other conditions", conditions, ("threads", "affinity", "niceness")),
        (f"{new.label}: another artefact", artefacts, ("sha256", "precision", "random_weights")),
        (f"{new.label}: timed otherwise", protocols, ("heap", "launches")),
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


def _times(old: ArtefactRecord, new: ArtefactRecord, tolerance: float) -> Iterator[Change]:
    for stage in _STAGES:
        for batch in batches(old, stage):
            before, after = cell(old, stage, batch), cell(new, stage, batch)
            if before is None or after is None:
                continue
            sides = (before["samples_ms"], after["samples_ms"])
            enough = min(map(len, sides)) >= LEAST_ROUNDS
            intervals = _ratio_intervals(*sides) if enough else [None] * len(_PERCENTILES)
            for name, interval in zip(_PERCENTILES, intervals, strict=True):
                then, now = before["milliseconds"][name], after["milliseconds"][name]
                change = now / then
                verdict = _grown_beyond_noise(change, interval, tolerance)
                yield Change(
                    label=new.label,
                    what=f"{stage} {name}, {_people(batch)}",
                    unit="ms",
                    old=then,
                    new=now,
                    change=round(change, 4),
                    interval_95=interval,
                    verdict=verdict if name in _JUDGED else "not judged",
                )


def _people(batch: int) -> str:
    return "1 person" if batch == 1 else f"{batch} persons"


def _ratios(
    old: ArtefactRecord,
    new: ArtefactRecord,
    olds: Sequence[ArtefactRecord],
    news: Sequence[ArtefactRecord],
    tolerance: float,
) -> tuple[list[Change], str | None]:
    """Ratios to the reference that both sides were timed against; why they cannot be compared."""
    then, now = (references([record], ("latency",)).get(record.run) for record in (old, new))
    if then is None or then != now:
        return [], None
    digests = [
        {r.artefact["sha256"] for r in records if r.run == one.run and r.label == then} - {None}
        for one, records in ((old, olds), (new, news))
    ]
    if all(digests) and digests[0] != digests[1]:
        return [], f"the reference {then} is another file now: ratios to it are not compared"
    changes = []
    for stage in _STAGES:
        for batch in batches(old, stage):
            before, after = ratio(old, stage, batch), ratio(new, stage, batch)
            if before is None or after is None:
                continue
            change = after.value / before.value
            interval = _quotient(before, after)
            changes.append(
                Change(
                    label=new.label,
                    what=f"{stage}, {_people(batch)}, time \N{DIVISION SIGN} {then}",
                    unit="ratio",
                    old=before.value,
                    new=after.value,
                    change=round(change, 4),
                    interval_95=interval,
                    verdict=_grown_beyond_noise(change, interval, tolerance),
                )
            )
    return changes, None


def _quotient(before: TimeRatio, after: TimeRatio) -> Interval | None:
    """95 % interval of one ratio over an independent one: their logarithms are subtracted."""
    if before.interval is None or after.interval is None:
        return None
    ends = [*before.interval, *after.interval]
    if min(ends) <= 0:
        return None
    low_old, high_old, low_new, high_new = map(math.log, ends)
    old, new = math.log(before.value), math.log(after.value)
    below = math.hypot(new - low_new, high_old - old)
    above = math.hypot(high_new - new, old - low_old)
    middle = new - old
    return round(math.exp(middle - below), 4), round(math.exp(middle + above), 4)


def _contradiction(label: str, times: Sequence[Change], ratios: Sequence[Change]) -> Iterator[str]:
    """Times that moved while the ratio to the reference stayed: the machine, or all artefacts."""
    if (
        ratios
        and any(change.verdict in ("worse", "better") for change in times)
        and all(change.verdict == "same" for change in ratios)
    ):
        yield (
            f"{label}: its times changed and its ratios to the reference did not: the machine or "
            "the runtime changed rather than this artefact"
        )


def _ratio_intervals(
    old: Sequence[Sequence[float]], new: Sequence[Sequence[float]]
) -> list[Interval | None]:
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


def _grown_beyond_noise(change: float, interval: Interval | None, tolerance: float) -> Verdict:
    """Of a time: without an interval, what is beyond tolerance is unclear."""
    if interval is None:
        return "same" if _grown(change, change, tolerance) == "same" else "unclear"
    verdict = _grown(*interval, tolerance)
    within = _grown(change, change, tolerance) == "same"
    return verdict if verdict != "same" or within else "unclear"


def _grown(low: float, high: float, tolerance: float) -> Verdict:
    """Of a change that lies between two ends."""
    if low > 1 + tolerance:
        return "worse"
    return "better" if high < 1 / (1 + tolerance) else "same"


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
                verdict=_grown(after / before, after / before, tolerance),
            )


def _peak(record: ArtefactRecord, gpu: bool = False) -> int | None:
    """Peak bytes of the batches, or None."""
    if record.memory is None or not holds(record.memory):
        return None
    found = record.memory["gpu"] if gpu else record.memory
    return found["peak_bytes"] if holds(found) else None


def _accuracy(old: ArtefactRecord, new: ArtefactRecord, tolerance: float) -> Iterator[Change]:
    """Every protocol that both sides were measured by."""
    now = {entry.protocol: entry for entry in accuracies(new)}
    for before in accuracies(old):
        after = now.get(before.protocol)
        if after is None:
            continue
        change = after.value - before.value
        verdict: Verdict = "worse" if change < -tolerance else "better"
        yield Change(
            label=new.label,
            what=after.label,
            unit="AP" if after.metric == "ap" else "PCKh",
            old=before.value,
            new=after.value,
            change=round(change, 4),
            interval_95=None,
            verdict=verdict if abs(change) > tolerance else "same",
        )
