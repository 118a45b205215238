"""Sentences: what was found, what has to be known to read it, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from edgepose.bench.choose import choose
from edgepose.bench.reading import (
    Difference,
    ap_between,
    flip_parity,
    ratio_between,
    references,
    why_missing,
)
from edgepose.bench.report import words
from edgepose.bench.report.study import Study, Subject
from edgepose.bench.statistics import LEAST_ROUNDS, unsteadiness

__all__ = [
    "cost_notes",
    "failures",
    "findings",
    "labels",
    "state",
    "title",
    "tried",
    "unavailable",
    "warnings",
]

# A minute's load above this before the start: the machine had other things to do.
_BUSY = 0.5

# Two runs of one suite at 1.02 and 1.04 agreed within 3 % in all ratios between onnxruntime's
# artefacts; of runs at 1.04 and 1.08, every third ratio lay outside the other's interval.
_STEADY = 1.06

# Bytes a parameter: what the file holds beside its weights makes it a little more than two.
_NEARLY_TWO = 0.2

# As edgepose.bench.power says where no meter is readable; power may be missing for other reasons.
_UNREADABLE = "power is not readable here"

_SECTIONS = ("latency", "memory", "cost", "power", "accuracy", "parity")


def title(study: Study) -> str:
    """What was measured on what."""
    devices = list(dict.fromkeys(words.device(record) for record in study.records))
    count = len(study.subjects)
    what = study.subjects[0].name if count == 1 else f"{count} artefacts"
    return f"{what} on {words.listed(devices)}"


def findings(study: Study) -> list[str]:
    """The answers in a few sentences, the fastest first.

    Nothing is called the fastest, or the most accurate, where it cannot be told from another.
    """
    return [*_fastest(study), *_most_accurate(study), *_at_thirty(study)]


def _fastest(study: Study) -> Iterator[str]:
    timed = [
        (times["p50"], subject)
        for subject in study.subjects
        if (times := subject.times("frame", study.persons))
    ]
    if len(timed) < 2:
        return
    time, subject = min(timed, key=lambda pair: pair[0])
    rivals = [
        other for _, other in timed if other is not subject and _as_fast(study, other, subject)
    ]
    called = "The lowest median is that of" if rivals else "Fastest is"
    text = (
        f"{called} {subject.name}: a frame with {words.persons(study.persons)} takes "
        f"{words.digits(time)} ms at the median ({words.digits(1000 / time)} a second)"
    )
    share, against = subject.ratio("frame", study.persons), study.reference_of(subject)
    if share is not None and against is not None:
        text += f", {words.ratio(share)} of the time of {against.name}"
    if rivals:
        text += f". It cannot be told from {words.listed([other.name for other in rivals])}"
    lost = subject.ap_change
    if lost is not None:
        text += f". {_ap_of_the_fastest(lost)}"
    yield text + "."


def _ap_of_the_fastest(lost: Difference) -> str:
    """Two APs are only called different where the whole interval says so."""
    if lost.certain:
        return f"It changes AP by {words.change(lost)} points"
    if lost.value == lost.low == lost.high == 0:
        return "Its AP is the same"
    return f"No change in AP can be shown: {words.change(lost)} points"


def _as_fast(study: Study, other: Subject, fastest: Subject) -> bool:
    """Whether nothing says that another is slower: no interval, or one that holds 1."""
    found = ratio_between(other.record, fastest.record, "frame", study.persons)
    return found is None or not found.certain


def _most_accurate(study: Study) -> Iterator[str]:
    known = [
        (subject.ap.ap, subject) for subject in study.subjects if subject.ap and not subject.random
    ]
    if len(known) < 2:
        return
    top, best = max(known, key=lambda pair: pair[0])
    against = references(study.records, ("parity",))
    rivals = [
        other.name for _, other in known if other is not best and _as_accurate(other, best, against)
    ]
    if rivals:
        yield (
            f"The highest AP is that of {best.name}, {words.points(top)} %. It cannot be told from "
            f"{words.listed(rivals)}."
        )
    else:
        yield f"Most accurate is {best.name} with an AP of {words.points(top)} %."


def _as_accurate(other: Subject, best: Subject, against: dict[str, str]) -> bool:
    """Whether nothing says that another is less accurate: no interval, or one that holds 0."""
    flip = bool(best.ap and best.ap.flip)
    found = ap_between(other.record, best.record, flip, against)
    return found is None or not found.certain


def _at_thirty(study: Study) -> Iterator[str]:
    fit = [subject for subject in study.subjects if not subject.random]
    if len(study.subjects) < 2 or not study.batches("frame") or not fit:
        return
    choice = choose([subject.record for subject in fit], 1000 / 30, persons=study.persons)
    if choice.best is None:
        yield f"At 30 frames a second {choice.why}."
        return
    place = next(i for i, row in enumerate(choice.rows) if row.name == choice.best)
    yield f"For 30 frames a second take {fit[place].name}, {choice.why}."


def warnings(study: Study) -> list[str]:
    """What spoils the figures, or may."""
    found = [*_of_all(study)]
    for subject in study.subjects:
        found += [*_of_one(subject), *_of_the_other_flip(study, subject)]
    return list(dict.fromkeys(found))


def _of_all(study: Study) -> Iterator[str]:
    if len({record.run for record in study.records}) > 1:
        yield (
            "These records are of several runs. Times of different runs are different moments of "
            "the machine; ratios hold inside one run only."
        )
    for part in ("hardware", "stack"):
        sides = [record.environment[part] for record in study.records]
        if any(side != sides[0] for side in sides):
            yield f"These records are of more than one {part}: see under conditions."
    protocols = {subject.ap.protocol for subject in study.subjects if subject.ap}
    judged = [subject for subject in study.subjects if isinstance(subject.record.accuracy, list)]
    if protocols and any(subject.ap is None for subject in judged):
        others = [subject.name for subject in judged if subject.ap is None]
        yield (
            f"The accuracy of {words.listed(others)} is of another protocol than the others' and "
            "is not compared."
        )
    for reason, names in _shared(study, "throttled"):
        yield f"The machine was slowed down while it measured {names}: {reason}"
    for subject in study.subjects:
        load = (subject.record.conditions or {}).get("load_before")
        if load is not None and load > _BUSY:
            yield (
                f"The machine was not idle before the start (load {load:g}): "
                "times are longer than they have to be, ratios less so."
            )
            break
    yield from _unsteady(study)


def _unsteady(study: Study) -> Iterator[str]:
    """Of each run by itself, since others were other moments."""
    runs = list(dict.fromkeys(record.run for record in study.records))
    for run in runs:
        shaken = unsteadiness(
            turns
            for subject in study.subjects
            if subject.record.run == run
            for turns in _of_each_process(subject)
        )
        if shaken is not None and shaken > _STEADY:
            where = "" if len(runs) == 1 else f" in run {run}"
            yield (
                f"The machine was not steady{where}: half of all turns took {shaken:.2f} times as "
                "long as the quickest tenth or longer. On a steady one, ratios may lie outside "
                "these intervals; measure again at fixed clocks, with nothing else on it or its "
                "host."
            )


def _of_each_process(subject: Subject) -> Iterator[list[list[float]]]:
    """The turns at each stage and batch, those of each process by themselves.

    One process may be several percent faster than the next, on the steadiest of machines.
    """
    latency = subject.section("latency") or {}
    launches = max(1, latency.get("protocol", {}).get("launches", 1))
    for cell in latency.get("cells", ()):
        turns = cell["samples_ms"]
        if cell["stage"] != "device":  # a GPU's own time is not the host's
            marks = [round(launch * len(turns) / launches) for launch in range(launches + 1)]
            yield from (turns[a:b] for a, b in pairwise(marks))


def _shared(study: Study, key: str) -> Iterator[tuple[str, str]]:
    """Each reason of the conditions, with the names of the artefacts that it holds for."""
    found: dict[str, list[str]] = {}
    for subject in study.subjects:
        for reason in (subject.record.conditions or {}).get(key, ()):
            found.setdefault(reason, []).append(subject.name)
    for reason, names in found.items():
        yield reason, "all" if len(names) == len(study.subjects) else words.listed(names)


def state(study: Study) -> list[str]:
    """Whether the machine was slowed down, as far as that could be read, and its load."""
    slowed = [reason for reason, _ in _shared(study, "throttled")]
    blind = [reason for reason, _ in _shared(study, "unread") if "throttl" in _subject_of(reason)]
    said = []
    if slowed:
        said.append(words.sentence(f"Slowed down: {'; '.join(slowed)}"))
    if blind:
        said.append("Throttling could not be read here.")
    elif not slowed and any(record.conditions for record in study.records):
        said.append("Nothing was found to slow the machine down.")
    loads = [
        [
            load
            for record in study.records
            if (load := (record.conditions or {}).get(key)) is not None
        ]
        for key in ("load_before", "load_after")
    ]
    parts = [
        f"{words.tick(max(found))} {when}"
        for found, when in zip(loads, ("before the start", "at the end"), strict=True)
        if found
    ]
    if parts:
        said.append(f"Load (mean of a minute): {', '.join(parts)}.")
    return said


def _subject_of(reason: str) -> str:
    """What could not be read: the words before the colon."""
    return reason.partition(":")[0].lower()


def _of_one(subject: Subject) -> Iterator[str]:
    if subject.random:
        yield f"{subject.name} has random weights: its times count, its poses mean nothing."
    cost = subject.section("cost")
    if words.too_low(cost):
        notes = [note for note in (cost or {}).get("notes", ()) if "TOO LOW" in note]
        yield f"{subject.name}: {' '.join(notes) or 'The count of GMACs is TOO LOW.'}"
    for lost in (subject.section("latency") or {}).get("protocol", {}).get("failed", ()):
        if lost["rounds"]:
            yield (
                f"{subject.name} failed at {lost['stage']} with {words.persons(lost['batch'])} "
                f"after {lost['rounds']} rounds, and its figures are of those: {lost['why']}"
            )
    unsettled = [
        f"{cell['stage']} with {words.persons(cell['batch'])}"
        for cell in (subject.section("latency") or {}).get("cells", [])
        if not cell["stable"]
    ]
    if unsettled:
        yield f"{subject.name} did not settle during warm-up: {words.listed(unsettled)}."
    if subject.record.status == "partial" and not subject.record.failures:
        yield f"{subject.name} was interrupted: what was measured until then is here."


def _of_the_other_flip(study: Study, subject: Subject) -> Iterator[str]:
    """A change of AP under the flip setting that is not the verdict's, unless that shows it too."""
    if subject.ap is None or subject.random:
        return
    flip = not subject.ap.flip
    part, shown = flip_parity(subject.record, flip), subject.ap_change
    if part is None or part["ap_difference"] is None:
        return
    found = Difference(part["ap_difference"]["value"], *part["ap_difference"]["interval_95"])
    alike = shown is not None and found.low <= shown.high and shown.low <= found.high
    if not found.certain or (shown is not None and shown.certain and alike):
        return
    verb = "loses" if found.value < 0 else "gains"
    size = words.points(abs(found.value), 2)
    against = study.reference_of(subject)
    text = (
        f"{'With' if flip else 'Without'} the flip test {subject.name} {verb} {size} points of AP "
        f"against {'the reference' if against is None else against.name} ({words.change(found)})"
    )
    if flip and _output(subject) == "keypoints" and against and _output(against) != "keypoints":
        text += ": it averages keypoints, not maps"
    yield f"{text}."


def _output(subject: Subject) -> str | None:
    found: str | None = (subject.record.artefact["spec"] or {}).get("output")
    return found


def failures(study: Study) -> list[tuple[Subject, dict[str, Any]]]:
    """Everything that failed."""
    return [(subject, failure) for subject in study.subjects for failure in subject.record.failures]


def unavailable(study: Study, section: str) -> str | None:
    """Why a section is missing, with the artefacts that it is missing for; None if it is not."""
    reasons: dict[str, list[str]] = {}
    measured = bool(study.measured(section))
    for subject in study.subjects:
        reason = why_missing(getattr(subject.record, section))
        if reason is not None:
            reasons.setdefault(reason, []).append(subject.name)
    if len(reasons) == 1 and not measured:
        return words.sentence(next(iter(reasons)))
    parts = [f"{reason} ({words.listed(names)})" for reason, names in reasons.items()]
    return words.sentence("; ".join(parts)) if parts else None


def tried(study: Study) -> list[str]:
    """Power meters that were looked for where none could be read, and why."""
    return list(
        dict.fromkeys(
            f"{meter['meter']}: {meter['why']}"
            for record in study.records
            if _UNREADABLE in (why_missing(record.power) or "")
            for meter in (record.power or {}).get("tried", ())
        )
    )


def cost_notes(study: Study) -> list[str]:
    """What has to be known of the counts, once for all artefacts that it is true of."""
    found: dict[tuple[str, ...], list[str]] = {}
    for subject in study.subjects:
        notes = tuple((subject.section("cost") or {}).get("notes", ()))
        if notes:
            found.setdefault(notes, []).append(subject.name)
    return [f"{words.listed(names)}: {' '.join(notes)}" for notes, names in found.items()]


def labels(study: Study) -> list[str]:
    """What the figures are of: to stand under every table that is quoted."""
    return [*_accuracy_label(study), *_time_label(study), *_others(study), *left_out(study)]


def left_out(study: Study) -> list[str]:
    """Batches that could not be timed, or whose power could not be measured, and why."""
    found: dict[tuple[str, int, str], list[str]] = {}
    for subject in study.subjects:
        latency, power = subject.section("latency"), subject.section("power")
        for what, rows in (
            ("Not timed", (latency or {}).get("protocol", {}).get("left_out", ())),
            ("Power not measured", (power or {}).get("left_out", ())),
        ):
            for row in rows:
                found.setdefault((what, row["batch"], row["why"]), []).append(subject.name)
    return [
        words.sentence(f"{what} with {words.persons(batch)}: {words.listed(names)} ({why})")
        for (what, batch, why), names in found.items()
    ]


def _accuracy_label(study: Study) -> Iterator[str]:
    if study.ap_label is None:
        return
    text = study.ap_label
    notes = {
        entry["protocol"].get("note")
        for record in study.records
        if isinstance(record.accuracy, list)
        for entry in record.accuracy
    } - {None}
    if notes:
        text += f"; {'; '.join(sorted(notes))}"
    if "hold-out" in study.ap_label:
        text += ". It is not COCO val AP and cannot be compared with published figures"
    yield words.sentence(text)
    if any(subject.ap_change for subject in study.subjects):
        yield (
            "AP change: AP less the reference's, photos resampled in pairs; an interval that holds "
            "0 means that the two cannot be told apart."
        )


def _time_label(study: Study) -> Iterator[str]:
    for subject in study.subjects:
        latency = subject.section("latency")
        if latency is None:
            continue
        protocol = latency["protocol"]
        frames = [cell for cell in latency["cells"] if cell["stage"] == "frame"] or latency["cells"]
        count = sum(len(visit) for visit in frames[0]["samples_ms"]) if frames else 0
        rounds = len(frames[0]["samples_ms"]) if frames else 0
        together = len(protocol["together"])
        others = "the other one" if together == 2 else f"the {together - 1} others"
        turns = f", in turn with {others}, in shuffled order" if together > 1 else ""
        threads = (subject.record.conditions or {}).get("threads", "default")
        text = f"Times: {count} calls in {rounds} rounds{turns}; {_threads(threads)}; scene: "
        yield words.sentence(text + protocol["scene"])
        if protocol.get("heap"):
            yield words.sentence(f"Heap of timed processes: {protocol['heap']}")
        if "frame" in protocol["stages"]:
            yield words.sentence(f"Frame: {protocol['stages']['frame']}")
        break
    ratios = [subject.ratio("frame", study.persons) for subject in study.subjects]
    if any(ratios):
        few = any(found is not None and found.interval is None for found in ratios)
        yield (
            "Time ratio: time over the reference's, the median over rounds of the ratio inside "
            "each round, with its 95 % bootstrap interval; below 1 is faster."
            + (f" Fewer than {LEAST_ROUNDS} rounds give no interval." if few else "")
        )


def _threads(threads: Any) -> str:
    if isinstance(threads, int):
        return "1 thread" if threads == 1 else f"{threads} threads"
    return f"threads: {threads}"


def _weights_files(study: Study) -> Iterator[str]:
    """Files of PyTorch models, which are no graphs, and may store weights in fewer bytes."""
    found: dict[str, list[str]] = {}
    for subject in study.subjects:
        artefact, cost = subject.record.artefact, subject.section("cost")
        if artefact["format"] != "torch" or not artefact["file"] or not artefact["bytes"]:
            continue
        text = "its weights alone"
        if cost is not None and cost["params"]:
            each = artefact["bytes"] / cost["params"]
            if abs(each - 2) < _NEARLY_TWO:
                text += ", 2 bytes a parameter"
        found.setdefault(text, []).append(subject.name)
    for text, names in found.items():
        yield words.sentence(f"File of {words.listed(names)}: {text}")


def _others(study: Study) -> Iterator[str]:
    memory = study.measured("memory")
    if memory:
        how = words.first_clause((memory[0].section("memory") or {})["how"])
        yield words.sentence(f"Peak memory: {how}; interpreter and libraries included")
    yield from _weights_files(study)
    meters = [text.partition(":")[0] for text in tried(study)]
    if meters:
        yield f"Power is not readable here; tried: {', '.join(meters)}."
    for name in _SECTIONS:
        reason = None if name == "power" and meters else unavailable(study, name)
        if reason is not None:
            yield f"{name.capitalize()} was not measured. {reason}"
