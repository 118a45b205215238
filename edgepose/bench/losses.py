"""What was measured then and is not there now: failures, sections, batch sizes and protocols."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgepose.bench.reading import accuracies, batches, holds, references, why_missing
from edgepose.bench.record import ArtefactRecord

__all__ = ["broken", "unasked"]

_SECTIONS = ("latency", "memory", "cost", "power", "accuracy", "parity")
_STAGES = ("frame", "network", "device")
_ROWS = {"memory": "by_batch", "power": "batches"}


def broken(
    old: ArtefactRecord, new: ArtefactRecord, run: Sequence[ArtefactRecord]
) -> Iterator[str]:
    """What no longer works, or is silently gone, in a sentence each.

    Args:
        old: Then.
        new: Now.
        run: All records of now.
    """
    known = {(failure["section"], failure["what"]) for failure in old.failures}
    for failure in new.failures:
        if (failure["section"], failure["what"]) not in known:
            why = f": {failure['why']}" if failure["why"] else ""
            yield f"{new.label} failed now and not then: {failure['what']}{why}"
    for section in _SECTIONS:
        then, now = getattr(old, section), getattr(new, section)
        if not holds(then):
            continue
        if holds(now):
            yield from _inside(section, old, new)
        elif now is not None or _asked(section, old, new, run):
            reason = why_missing(now) or "it is missing"
            yield f"{new.label}: {section} was measured then and is not now ({reason})"


def unasked(
    old: ArtefactRecord, new: ArtefactRecord, run: Sequence[ArtefactRecord]
) -> Iterator[str]:
    """Sections that were measured then and that nobody asked for now."""
    for section in _SECTIONS:
        gone = holds(getattr(old, section)) and getattr(new, section) is None
        if gone and not _asked(section, old, new, run):
            yield f"{new.label}: {section} was measured then and was not asked for now"


def _asked(
    section: str, old: ArtefactRecord, new: ArtefactRecord, run: Sequence[ArtefactRecord]
) -> bool:
    """Whether a section that is not in a record had been asked for, as far as it can be known."""
    together = [record for record in run if record.run == new.run]
    if section == "parity" and references(together).get(new.run) == new.label:
        return False  # the reference is held to nothing
    if new.status == "failed" or new.command == old.command:
        return True
    return any(getattr(record, section) is not None for record in together)


def _inside(section: str, old: ArtefactRecord, new: ArtefactRecord) -> Iterator[str]:
    """What is gone of a section that both sides have."""
    then, now = getattr(old, section), getattr(new, section)
    if section == "accuracy":
        left = {entry.protocol for entry in accuracies(new)}
        for entry in accuracies(old):
            if entry.protocol not in left:
                yield f"{new.label}: not measured now by the protocol of then: {entry.label}"
    if section == "latency":
        if _interrupted(now) and not _interrupted(then):
            yield f"{new.label}: latency was interrupted now"
        for stage in _STAGES:
            yield from _lost(f"{new.label}: {stage}", batches(old, stage), batches(new, stage))
    if section in _ROWS:
        rows = ([row["batch"] for row in side[_ROWS[section]]] for side in (then, now))
        yield from _lost(f"{new.label}: {section}", *rows)


def _interrupted(latency: dict[str, Any]) -> bool:
    return bool(latency["protocol"].get("interrupted"))


def _lost(what: str, then: Sequence[int], now: Sequence[int]) -> Iterator[str]:
    lost = [batch for batch in then if batch not in now]
    if lost:
        numbers = ", ".join(map(str, lost))
        yield f"{what} was measured with {numbers} persons then and is not now"
