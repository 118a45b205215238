"""What measuring costs: how much `edgepose bench` adds to the calls that it measures.

Two questions, on the network stage of one artefact. Each figure is a ratio of two things timed in
the same shuffled rounds, to a bare loop: the same calls between two looks at the clock.

here      In one process: how long does a visit take with its timers and lists, and what does it
          report a call?
across    In processes of their own, which wait for their turn: what does a visit report a call,
          against a loop without a break in the same process?

    python benchmarks/own_cost.py [ARTEFACT.onnx] [--batch 1] [--threads 2] [--rounds 60] [--json]

Exit code 3 if a ratio exceeds 1.01. Run it on an idle machine; the record tells the load.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.console import Console
from rich.progress import Progress

from edgepose.bench import (
    BenchRecord,
    Pair,
    Schedule,
    describe_artefact,
    fingerprint,
    judge,
    load_average,
    sample_scene,
    slug,
)
from edgepose.bench.report import pairs_table
from edgepose.bench.stages import network_call
from edgepose.bench.timing import Samples, Turn, conduct, time_calls, warm_up
from edgepose.bench.worker import Request, Sustained, Worker
from edgepose.errors import EdgeposeError
from edgepose.estimator import Estimator
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.zoo import find

LIMIT = 1.01
# Two processes of one artefact, so that each has another's turn between its own.
PROCESSES = ("first", "second")
EMPTY_CALLS = 100_000


@dataclass(frozen=True)
class Bare:
    """Calls between two looks at the clock; tells milliseconds a call."""

    key: str
    call: Callable[[], Any]

    def visit(self, calls: int, untimed: int) -> list[float]:
        """See :class:`edgepose.bench.timing.Turn`."""
        for _ in range(untimed):
            self.call()
        began = time.perf_counter_ns()
        for _ in range(calls):
            self.call()
        return [(time.perf_counter_ns() - began) / calls / 1e6]


@dataclass(frozen=True)
class Elapsed:
    """A visit with all that it does, seen from outside; tells milliseconds a call."""

    key: str
    call: Callable[[], Any]

    def visit(self, calls: int, untimed: int) -> list[float]:
        """See :class:`edgepose.bench.timing.Turn`."""
        for _ in range(untimed):
            self.call()
        began = time.perf_counter_ns()
        time_calls(self.call, calls)
        return [(time.perf_counter_ns() - began) / calls / 1e6]


@dataclass(frozen=True)
class Reported:
    """What a visit reports; the mean, since a bare loop knows no other figure."""

    key: str
    call: Callable[[], Any]

    def visit(self, calls: int, untimed: int) -> list[float]:
        """See :class:`edgepose.bench.timing.Turn`."""
        return [float(np.mean(time_calls(self.call, calls, untimed)))]


class Asked(Protocol):
    """A :class:`edgepose.bench.worker.Worker`."""

    def visit(self, stage: str, batch: int, calls: int, untimed: int) -> list[float]:
        """Milliseconds of each call."""
        ...

    def sustain(self, stage: str, batch: int, seconds: float) -> Sustained:
        """A loop without a break."""
        ...


@dataclass
class ReportedAcross:
    """What a visit to another process reports; the mean.

    Attributes:
        seconds: How long the last visit's calls took; before the first, about.
    """

    key: str
    worker: Asked
    batch: int
    seconds: float

    def visit(self, calls: int, untimed: int) -> list[float]:
        """See :class:`edgepose.bench.timing.Turn`."""
        taken = self.worker.visit("network", self.batch, calls, untimed)
        self.seconds = sum(taken) / 1e3
        return [float(np.mean(taken))]


@dataclass(frozen=True)
class BareAcross:
    """A loop without a break in the same process, as long as its last visit.

    Were it shorter, a busy machine would interrupt it less.
    """

    key: str
    other: ReportedAcross

    def visit(self, calls: int, untimed: int) -> list[float]:
        """See :class:`edgepose.bench.timing.Turn`."""
        worker, batch = self.other.worker, self.other.batch
        worker.visit("network", batch, 0, untimed)
        ran = worker.sustain("network", batch, self.other.seconds)
        return [ran.seconds * 1e3 / ran.calls]


@dataclass(frozen=True)
class RoundTrip:
    """A visit without any call: the way there and back."""

    key: str
    worker: Asked
    batch: int

    def visit(self, calls: int, untimed: int) -> list[float]:
        """See :class:`edgepose.bench.timing.Turn`."""
        began = time.perf_counter_ns()
        self.worker.visit("network", self.batch, 0, 0)
        return [(time.perf_counter_ns() - began) / 1e6]


def here(call: Callable[[], Any]) -> list[Turn]:
    """The turns of the first question."""
    return [Bare("bare loop", call), Elapsed("visit", call), Reported("visit's report", call)]


def across(workers: Sequence[Asked], batch: int, seconds: float) -> list[Turn]:
    """The turns of the second question; a visit takes about so many seconds."""
    turns: list[Turn] = []
    for name, worker in zip(PROCESSES, workers, strict=True):
        report = ReportedAcross(f"report of the {name} process", worker, batch, seconds)
        turns += [report, BareAcross(f"bare loop in the {name} process", report)]
    turns.append(RoundTrip("round trip", workers[0], batch))
    return turns


def questions() -> list[Pair]:
    """What is asked, each within the limit."""
    pairs = [
        Pair(
            name="in one process: a visit, timers and lists included / bare loop",
            contender="visit",
            baseline="bare loop",
            limit=LIMIT,
        ),
        Pair(
            name="in one process: what a visit reports / bare loop",
            contender="visit's report",
            baseline="bare loop",
            limit=LIMIT,
        ),
    ]
    pairs += [
        Pair(
            name=f"across the pipe: what the {name} process reports / its bare loop",
            contender=f"report of the {name} process",
            baseline=f"bare loop in the {name} process",
            limit=LIMIT,
        )
        for name in PROCESSES
    ]
    return pairs


def empty_call_us() -> float:
    """Microseconds that timing a call takes, in the timed value: what an empty one is said to."""
    return float(np.median(time_calls(lambda: None, EMPTY_CALLS)) * 1e3)


def measured(
    turns: Sequence[Turn], schedule: Schedule, progress: Callable[[int, int], None]
) -> dict[str, Samples]:
    """Take the rounds.

    Raises:
        EdgeposeError: Something failed: then there is nothing to compare.
    """
    conducted = conduct(turns, schedule, progress)
    for error in conducted.failures.values():
        raise error
    return {str(key): samples for key, samples in conducted.samples.items()}


def main() -> int:
    """Time, print, record."""
    arguments = parse()
    file = Path(arguments.artefact) if arguments.artefact else find("mitpose-lite").onnx
    if file is None:
        raise AssertionError("the zoo has a ready file of it")
    batch, threads = arguments.batch, arguments.threads
    console = Console(stderr=True)
    schedule = Schedule(rounds=arguments.rounds, calls=arguments.calls)
    request = Request(label=file.name, artefact=str(file), kind="onnx", threads=threads)
    before = load_average()
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(Progress(console=console, transient=True))
        task = bar.add_task("timing", total=None)
        estimator = stack.enter_context(Estimator(OnnxRunner(file, threads=threads)))
        artefact, runner = describe_artefact(estimator, file.name), estimator.runner.describe()
        scene = sample_scene()
        call = network_call(estimator, scene, batch)
        warm_up(lambda: time_calls(call, 1)[0], 5, 10.0)
        seconds = sum(time_calls(call, arguments.calls)) / 1e3

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        samples = measured(here(call), schedule, tell)
        workers = [stack.enter_context(Worker(request)) for _ in PROCESSES]
        for worker in workers:
            worker.open()
            worker.warm("network", batch, 5, 10.0)
        samples |= measured(across(workers, batch, seconds), schedule, tell)
    record = BenchRecord(
        kind="own-cost",
        command=shlex.join(["python", "benchmarks/own_cost.py", *sys.argv[1:]]),
        artefact=artefact,
        runner=runner,
        protocol={
            "stage": "network",
            "batch": batch,
            "scene": scene.source,
            "figure": "milliseconds a call, the mean of a visit; ratios are paired within rounds",
            "empty_call_us": round(empty_call_us(), 3),
            "round_trip_ms": round(float(np.median(samples["round trip"])), 3),
            "niceness": os.nice(0),
            "schedule": schedule.to_dict(),
            "load_before": before,
            "load_after": load_average(),
        },
        results=judge(questions(), samples),
    )
    console.print(f"wrote {record.write(arguments.out / slug(record.environment))}", soft_wrap=True)
    if arguments.json:
        sys.stdout.write(json.dumps(record.to_dict()) + "\n")
    else:
        Console().print(pairs_table(record))
    return 3 if any(row["met"] is False for row in record.results) else 0


def parse() -> argparse.Namespace:
    """The command line."""
    cores = fingerprint()["hardware"]["usable_cores"] or 1
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artefact", nargs="?", help="an ONNX file (mitpose-lite of the zoo)")
    parser.add_argument("--batch", type=int, default=1, help="people in one call (1)")
    parser.add_argument("--rounds", type=int, default=60, help="rounds (60)")
    parser.add_argument("--calls", type=int, default=12, help="calls a visit (12)")
    parser.add_argument("--threads", type=int, default=cores, help=f"threads (all: {cores})")
    parser.add_argument("--json", action="store_true", help="print the record")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "results",
        help="folder; the record goes into a folder named by the hardware there",
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeposeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
