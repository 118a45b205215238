"""Paired CPU benchmark: each figure is a ratio of two things timed in the same shuffled rounds.

Three questions:

runtime   How long does the exported ONNX take in onnxruntime, against the module in PyTorch?
edge      How long does mitpose-lite take as exported, against mitpose-lite-ref traced as it is
          written (no rewrites), and against mitpose-lite-ref with the exact rewrites?
overhead  How long does the way from image and 8 boxes to poses take, against the bare network?

    python benchmarks/cpu_pairs.py [--only edge] [--rounds 20] [--threads 2] [--json]

Weights are random: time does not depend on them. Exit code 3 if a ratio exceeds its limit.
Run it on an idle machine; the record tells the load.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from edgepose.bench import (
    BenchRecord,
    Cell,
    Pair,
    Schedule,
    fingerprint,
    judge,
    load_average,
    measure,
    network_cell,
    poses_cell,
    sample_scene,
    slug,
)
from edgepose.bench.report import pairs_table
from edgepose.errors import EdgeposeError
from edgepose.estimator import Estimator
from edgepose.export import REWRITES, export_module
from edgepose.models import build, spec_for
from edgepose.parity import sample_photos
from edgepose.runtime.onnxruntime import OnnxRunner
from edgepose.runtime.torch import TorchRunner

LITE, SMALL = "mitpose-lite", "mitpose-lite@128x96"
REFERENCE, MGIL = "mitpose-lite-ref", "mgil-w32-32"
# onnxruntime on a graph that no rewrite has touched.
LITERAL = "onnxruntime literal"
GROUPS = ("runtime", "edge", "overhead")
# What the project promises; the other ratios are for information.
OVERHEAD_LIMIT = 1.15


@dataclass(frozen=True)
class Side:
    """One side of a pair: a model in a runtime, at a stage, for a number of people."""

    model: str
    runtime: str
    stage: str
    batch: int

    @property
    def name(self) -> str:
        """Key of its samples."""
        return f"{self.model} {self.runtime} {self.stage} {self.batch}"


def questions(group: str) -> list[tuple[str, Side, Side, float | None]]:
    """Name, contender, baseline and limit of each pair of a group."""
    if group == "runtime":
        return [
            (
                f"{model} x{batch}: onnxruntime / torch eager",
                Side(model, "onnxruntime", "network", batch),
                Side(model, "torch", "network", batch),
                None,
            )
            for model in (LITE, MGIL)
            for batch in (1, 8)
        ]
    if group == "edge":
        return [
            (
                f"x{batch}: {LITE} / {REFERENCE}, {words}",
                Side(LITE, "onnxruntime", "network", batch),
                Side(REFERENCE, runtime, "network", batch),
                None,
            )
            for batch in (1, 8)
            for runtime, words in ((LITERAL, "literal"), ("onnxruntime", "rewritten"))
        ]
    return [
        (
            f"{model} x8: image to poses / network",
            Side(model, "onnxruntime", "poses", 8),
            Side(model, "onnxruntime", "network", 8),
            limit,
        )
        for model, limit in (
            (LITE, OVERHEAD_LIMIT),
            (SMALL, OVERHEAD_LIMIT),
            (MGIL, OVERHEAD_LIMIT),
        )
    ]


class Workshop:
    """Builds and exports each model once, and makes cells of them.

    Args:
        folder: For the exported files.
        threads: For both runtimes.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder = folder
        self.threads = threads
        self.scene = sample_scene()
        self.estimator = cache(self._estimator)
        self.module = cache(self._module)

    def cell(self, side: Side) -> Cell:
        """The thing to time."""
        make = network_cell if side.stage == "network" else poses_cell
        return make(side.name, self.estimator(side.model, side.runtime), self.scene, side.batch)

    def _module(self, model: str) -> torch.nn.Module:
        torch.manual_seed(0)
        return build(model).eval()

    def _estimator(self, model: str, runtime: str) -> Estimator:
        if runtime == "torch":
            return Estimator(TorchRunner(self.module(model), spec_for(model)))
        path = self.folder / f"{model} {runtime}.onnx"
        rewrites = () if runtime == LITERAL else REWRITES
        export_module(self.module(model), spec_for(model), path, sample_photos(), rewrites=rewrites)
        return Estimator(OnnxRunner(path, threads=self.threads))


def main() -> int:
    """Time, print, record."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    groups = arguments.only or list(GROUPS)
    asked = [question for group in GROUPS if group in groups for question in questions(group)]
    pairs = [
        Pair(name=name, contender=above.name, baseline=below.name, limit=limit)
        for name, above, below, limit in asked
    ]
    sides = dict.fromkeys(side for _, *both, _ in asked for side in both)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder, Progress(console=console, transient=True) as bar:
        task = bar.add_task("exporting", total=None)
        workshop = Workshop(Path(folder), arguments.threads)
        cells = [workshop.cell(side) for side in sides]
        schedule = Schedule(rounds=arguments.rounds, calls=3)
        before = load_average()
        bar.update(task, description="timing")
        samples = measure(
            cells, schedule, lambda done, total: bar.update(task, completed=done, total=total)
        )
    record = BenchRecord(
        kind="cpu-pairs",
        command=shlex.join(["python", "benchmarks/cpu_pairs.py", *sys.argv[1:]]),
        artefact=None,
        runner=None,
        protocol={
            "groups": groups,
            "weights": "random, seed 0",
            "threads": arguments.threads,
            "niceness": os.nice(0),
            "scene": workshop.scene.source,
            "schedule": schedule.to_dict(),
            "load_before": before,
            "load_after": load_average(),
        },
        results=judge(pairs, samples),
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
    parser.add_argument("--only", action="append", choices=GROUPS, help="a group; may be repeated")
    parser.add_argument("--rounds", type=int, default=20, help="rounds (20)")
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
