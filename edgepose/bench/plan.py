"""What is to be measured: from a suite, from options, or from both, in one value.

A suite is a TOML file that runs unattended::

    title = "A PC without a GPU"
    batches = [1, 4, 8]

    [[artefact]]
    use = "mitpose-lite"                 # a registry name: the PyTorch model with the zoo's weights
    [[artefact]]
    use = "mitpose-lite.onnx"            # a file, or the zoo's ready file of that name
    [[artefact]]
    export = ["mitpose-lite", "--precision", "fp16"]   # made first, by edgepose export

The first artefact is the reference that the others are compared with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from edgepose.errors import InputError
from edgepose.settings import check, from_table, put, read_toml, without_none

__all__ = ["SECTIONS", "Artefact", "Plan", "plan_for"]

Section = Literal["latency", "memory", "cost", "power", "accuracy"]
SECTIONS: tuple[Section, ...] = get_args(Section)


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """One thing to measure.

    Attributes:
        use: A file (.onnx, .engine) or a registry name; this or ``export``.
        export: Arguments of ``edgepose export`` that make it; ``-o`` and, for INT8, ``--calib`` are
            added.
        label: What it is called; by default what it is made of. Labels differ within a plan.
        weights: Weights of a registry name; the zoo's by default.
        random_weights: Measure an untrained model: times mean something, accuracy does not.
        spec: TOML file with the spec of a foreign ONNX file.
        device: Where it runs; the plan's by default.
    """

    use: str | None = None
    export: tuple[str, ...] = ()
    label: str | None = None
    weights: str | None = None
    random_weights: bool = False
    spec: str | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        check(
            "artefact",
            self.use or list(self.export),
            (self.use is None) == bool(self.export),
            "either a file or name to use, or the arguments of an export",
            'use = "mitpose-lite.onnx", or export = ["mitpose-lite", "--precision", "fp16"]',
        )

    @property
    def name(self) -> str:
        """The label, or what stands in for one."""
        return self.label or self.use or " ".join(self.export)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole measurement.

    Attributes:
        artefact: What is measured, the reference first.
        title: What the suite is for.
        why: Why it is made up so.
        sections: What is measured of each.
        batches: People in one call.
        device: Where ONNX files and models run, as ``run --device``; an engine knows its own.
        threads: Threads inside one operator, the same for all; all cores by default.
        rounds: Rounds of timing; each visits every artefact, stage and batch once.
        seconds: Time for all rounds together, in place of a number or as its limit.
        launches: Processes of each artefact that rounds are spread over, 6 rounds each at least.
        images: Folder whose first picture is timed on; a packaged photograph by default.
        coco: COCO-layout folder to measure accuracy on.
        detections: Boxes of a detector, as COCO results, in place of the annotated ones.
        mpii: Folder in MPII's layout, for PCKh.
        flip: Flip test off, on, or both.
        limit: Only the first photos.
        power_seconds: How long each artefact is kept busy for its power.
        calib: People that INT8 exports calibrate on.
    """

    artefact: tuple[Artefact, ...]
    title: str | None = None
    why: str | None = None
    sections: tuple[Section, ...] = SECTIONS
    batches: tuple[int, ...] = (1, 8)
    device: str | None = None
    threads: int | None = None
    rounds: int | None = None
    seconds: float | None = None
    launches: int = 3
    images: str | None = None
    coco: str | None = None
    detections: str | None = None
    mpii: str | None = None
    flip: Literal["off", "on", "both"] = "both"
    limit: int | None = None
    power_seconds: float = 5.0
    calib: str | None = None

    def __post_init__(self) -> None:
        check("batches", self.batches, _positive(self.batches), "numbers of people, from 1 on")
        for key in ("threads", "limit"):
            check(key, getattr(self, key), _none_or(getattr(self, key), 1), "1 or more")
        check("rounds", self.rounds, _none_or(self.rounds, 2), "2 or more: one is no comparison")
        check("launches", self.launches, self.launches > 0, "1 or more")
        check("seconds", self.seconds, self.seconds is None or self.seconds > 0, "above 0")
        check("power_seconds", self.power_seconds, self.power_seconds > 0, "above 0")
        alone = self.sections == ("accuracy",) and not self.measures_accuracy
        check("sections", list(self.sections), not alone, "given with --coco DIR or --set mpii=DIR")
        for needs in ("detections", "limit"):
            value = getattr(self, needs)
            check(needs, value, value is None or self.measures_accuracy, "given with --coco DIR")
        names = [one.name for one in self.artefact]
        twice = sorted({name for name in names if names.count(name) > 1})
        check(
            "artefact",
            twice,
            not twice,
            "called differently each",
            'in a suite: label = "…" for each',
        )

    @property
    def measures_accuracy(self) -> bool:
        """Whether there is anything to measure accuracy on."""
        return self.coco is not None or self.mpii is not None

    @property
    def flips(self) -> tuple[bool, ...]:
        """The flip tests, off first."""
        return {"off": (False,), "on": (True,), "both": (False, True)}[self.flip]

    def wants(self, section: Section) -> bool:
        """Whether a section is to be measured."""
        return section in self.sections and (section != "accuracy" or self.measures_accuracy)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, what is not set left out."""
        values: dict[str, Any] = without_none(asdict(self))
        return values


def plan_for(
    artefacts: Sequence[Artefact],
    suite: str | Path | None,
    options: Mapping[str, object | None],
    settings: Iterable[str] = (),
) -> Plan:
    """A suite changed by options, then by ``--set``; artefacts that are named come before its own.

    Args:
        artefacts: Named on the command line.
        suite: A suite's file, or None.
        options: Field of :class:`Plan` -> value, None where it was not given.
        settings: ``key=value`` each.

    Raises:
        InputError: A setting is unknown or contradicts another, or nothing is left to measure.
    """
    base = {} if suite is None else read_toml(Path(suite), "suite", "see benchmarks/suites/")
    data = base | {key: value for key, value in options.items() if value is not None}
    for setting in settings:
        put(data, setting, Plan, hidden=("artefact", "title", "why"))
    data.setdefault("artefact", [])
    try:
        plan: Plan = from_table(Plan, data)
        if suite is not None:
            plan = replace(plan, artefact=tuple(_beside(Path(suite), one) for one in plan.artefact))
        plan = replace(plan, artefact=(*artefacts, *plan.artefact))
    except InputError as error:
        if suite is None:
            raise
        why = f"{error.what}: {error.why}" if error.why else error.what
        raise InputError(f"the suite {suite} cannot be used", why, error.hint) from error
    if not plan.artefact:
        raise InputError(
            "there is nothing to measure",
            "no artefact was named" + ("" if suite is None else f", and {suite} has none"),
            "edgepose bench mitpose-lite.onnx; or --suite benchmarks/suites/cpu.toml",
        )
    return plan


def _beside(suite: Path, artefact: Artefact) -> Artefact:
    """Files that are named in a suite lie beside it."""

    def place(name: str | None) -> str | None:
        beside = suite.parent / (name or "")
        return str(beside) if name is not None and beside.is_file() else name

    return replace(
        artefact,
        use=place(artefact.use),
        export=tuple(place(word) or word for word in artefact.export),
        label=artefact.name,
        weights=place(artefact.weights),
        spec=place(artefact.spec),
    )


def _none_or(number: int | None, least: int) -> bool:
    return number is None or number >= least


def _positive(numbers: tuple[int, ...]) -> bool:
    return bool(numbers) and min(numbers) > 0 and len(set(numbers)) == len(numbers)
