"""Latency of one model in every runtime that is here, side by side."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.absent import Absent
from benchmarks.gpu.bundle import Bundle, Model
from benchmarks.gpu.child import Tell
from benchmarks.gpu.contenders import Entry, entries
from benchmarks.gpu.gpu_memory import used_mib
from benchmarks.gpu.opened import onnx_file, open_bundle
from benchmarks.gpu.people import read_people
from benchmarks.gpu.rounds import Plan, figures, take_rounds
from benchmarks.gpu.workers import Worker
from edgepose.bench import load_average
from edgepose.crops import to_input
from edgepose.errors import EdgeposeError

__all__ = ["run"]

BASELINE = "torch eager-fp32"
PROTOCOL = {
    "host_to_host_ms": "from prepared images in the host's memory to outputs there; the clock of "
    "the contender's process",
    "device_ms": "the network on the device's clock (CUDA events), images there already",
    "order": "one process a contender, one working at a time; every round visits all in a new "
    "random order",
    "memory_mib": "growth of the GPU's used memory while the contender was opened and run at every "
    "batch size: context, weights, scratch memory and what its allocator keeps",
    "larger batches": "an engine takes what is above its largest batch in several calls",
    "weights": "of the bundle in graphs and engines, random in torch",
}
# Of the time, for opening and warming; compiling takes long, and timing must have its part.
_OPENING = 0.6


def run(task: Mapping[str, Any], tell: Tell) -> None:
    """Open all, time all, and tell after each batch size."""
    began = time.monotonic()
    end = began + float(task["seconds"])
    bundle, model = open_bundle(task)
    people = read_people(bundle.path(model.people))
    before = load_average()
    found: dict[str, Any] = {"protocol": {**PROTOCOL, **asdict(Plan())}, "contenders": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        images = folder / "images.npy"
        np.save(images, to_input(people.crops, model.spec))
        opened: dict[str, Worker] = {}
        speed: dict[tuple[str, int], float] = {}
        for entry in _entries(task, bundle, model, tell):
            tell.say(f"  opening {entry.name}")
            until = began + _OPENING * float(task["seconds"])
            row = _open(entry, images, task["batches"], until, stack, opened, speed)
            found["contenders"].append(row)
            tell.found(found)
        found["figures"] = []
        for turn, batch in enumerate(task["batches"]):
            tell.say(f"  timing batches of {batch}")
            share = (end - time.monotonic()) / (len(task["batches"]) - turn)
            calls = {name: Plan().calls(speed[name, batch]) for name in opened}
            timed = take_rounds(opened, batch, calls, Plan(), time.monotonic() + 0.8 * share)
            found["figures"] += figures(batch, timed, BASELINE)
            for name in [name for name, one in timed.items() if one.words]:
                opened.pop(name).close()
            tell.found(found)
        found["load"] = [before, load_average()]
        found["timed_together"] = list(opened)
        tell.found(found)
    if not opened:
        raise Absent("anything to time", "no contender could be opened, see found")


def _entries(task: Mapping[str, Any], bundle: Bundle, model: Model, tell: Tell) -> list[Entry]:
    onnx = {}
    for precision in model.graphs:
        try:
            onnx[precision] = str(onnx_file(bundle, model, precision))
        except Absent as absent:
            tell.log(f"warning: {absent.what}: {absent.why}")
    height, width = model.spec.input_size
    name = f"{model.spec.model}@{height}x{width}"
    return entries(name, onnx, task["engines"], task["contenders"].get("pythons", {}))


def _open(
    entry: Entry,
    images: Path,
    batches: list[int],
    until: float,
    stack: ExitStack,
    opened: dict[str, Worker],
    speed: dict[tuple[str, int], float],
) -> dict[str, Any]:
    """Open a contender and run it at every batch size; its row of the record."""
    row: dict[str, Any] = {"contender": entry.name, **entry.to_dict(), "absent": "", "words": ""}
    used = used_mib()
    try:
        worker = stack.enter_context(Worker(entry, images))
        row["in_force"] = worker.ask(until - time.monotonic(), "open")
        row["first_call_s"] = {}
        for batch in batches:
            warmed = worker.ask(until - time.monotonic(), "warm", batch=batch)
            speed[entry.name, batch] = warmed["ms"]
            row["first_call_s"][str(batch)] = warmed["first_s"]
        row["in_force"] = worker.ask(until - time.monotonic(), "describe")
    except Absent as absent:
        row["absent"] = f"not here, because {absent.why}"
        return row
    except EdgeposeError as error:
        row["words"] = ": ".join(filter(None, [error.what, error.why]))
        return row
    opened[entry.name] = worker
    after = used_mib()
    row["memory_mib"] = None if used is None or after is None else round(after - used, 1)
    return row
