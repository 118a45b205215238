"""Training throughput in persons a second: plain FP32 against what `edgepose train` does.

One step is forward, backward, gradient clipping and fused AdamW, on input that is already on the
device. Modes are timed in the same shuffled rounds, so that the ratios hold on a noisy machine.

    python benchmarks/train_throughput.py [--model mitpose-lite@128x96] [--threads 2] [--compile]

--compile adds torch.compile, which takes minutes before the first step.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
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
    slug,
)
from edgepose.models import build, parse_name
from edgepose.train.optimiser import make_optimiser
from edgepose.train.precision import autocast
from edgepose.train.recipe import Recipe

MODELS = ("mitpose-lite@128x96", "mitpose-lite@64x48", "mgil-w32-32")
DEVICE = torch.device("cpu")


@dataclass(frozen=True)
class Mode:
    """How a step is run."""

    name: str
    bf16: bool = False
    channels_last: bool = False
    compiled: bool = False


PLAIN = Mode("fp32")
MODES = (
    PLAIN,
    Mode("fp32 channels-last", channels_last=True),
    Mode("bf16", bf16=True),
    Mode("bf16 channels-last", bf16=True, channels_last=True),
)
COMPILED = Mode("bf16 channels-last compiled", bf16=True, channels_last=True, compiled=True)


def step_of(model: str, mode: Mode, batch: int) -> Callable[[], None]:
    """One optimisation step as a function."""
    torch.manual_seed(0)
    _, (height, width) = parse_name(model)
    layout = torch.channels_last if mode.channels_last else torch.contiguous_format
    # torch's annotations know no memory_format without a device.
    module = build(model).to(memory_format=layout)  # type: ignore[call-overload]
    images = torch.randn(batch, 3, height, width).contiguous(memory_format=layout)
    recipe = Recipe(epochs=1)
    optimiser = make_optimiser(module, recipe)
    forward = torch.compile(module) if mode.compiled else module

    def step() -> None:
        with autocast(DEVICE, mode.bf16):
            outputs = forward(images)
        sum(v.float().square().mean() for v in outputs.values()).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.clip_norm)
        optimiser.step()
        optimiser.zero_grad()

    return step


def main() -> int:
    """Time, record, print."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    modes = (*MODES, COMPILED) if arguments.compile else MODES
    models = arguments.model or MODELS
    name = "{} {}".format
    cells = [
        Cell(name(model, mode.name), step_of(model, mode, arguments.batch))
        for model in models
        for mode in modes
    ]
    pairs = [
        Pair(
            name=f"{model}: {mode.name} / {PLAIN.name}",
            contender=name(model, mode.name),
            baseline=name(model, PLAIN.name),
        )
        for model in models
        for mode in modes[1:]
    ]
    schedule = Schedule(rounds=arguments.rounds, calls=1, untimed=0, warmup=2)
    console = Console(stderr=True)
    before = load_average()
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("warming up", total=None)
        samples = measure(
            cells, schedule, lambda done, all_: bar.update(task, completed=done, total=all_)
        )
    results = judge(pairs, samples)
    for row in results:
        for side in ("contender", "baseline"):
            rate = arguments.batch / row[f"{side}_ms"]["p50"] * 1000
            row[f"{side}_persons_per_s"] = round(rate, 1)
    record = BenchRecord(
        kind="train-throughput",
        command=shlex.join(["python", "benchmarks/train_throughput.py", *sys.argv[1:]]),
        artefact=None,
        runner={"runtime": "torch", "version": torch.__version__, "threads": arguments.threads},
        protocol={
            "batch": arguments.batch,
            "step": "forward, backward, clipping, fused AdamW; input on the device",
            "niceness": os.nice(0),
            "schedule": schedule.to_dict(),
            "load_before": before,
            "load_after": load_average(),
        },
        results=results,
    )
    path = record.write(arguments.out / slug(record.environment))
    console.print(f"wrote {path}", soft_wrap=True)
    if arguments.json:
        sys.stdout.write(json.dumps(record.to_dict()) + "\n")
        return 0
    for row in results:
        interval = row["interval_95"]
        spread = f", {interval[0]:.2f}..{interval[1]:.2f}" if interval else ""
        sys.stdout.write(
            f"{row['pair']:<58} {row['baseline_persons_per_s']:6.1f} -> "
            f"{row['contender_persons_per_s']:6.1f} persons/s "
            f"(time x {row['ratio']:.2f}{spread})\n"
        )
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    cores = fingerprint()["hardware"]["usable_cores"] or 1
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append", help="registry name; may be repeated")
    parser.add_argument("--batch", type=int, default=64, help="persons a step (64)")
    parser.add_argument("--rounds", type=int, default=6, help="rounds (6); fewer give no interval")
    parser.add_argument("--threads", type=int, default=cores, help=f"threads (all: {cores})")
    parser.add_argument("--compile", action="store_true", help="time torch.compile as well")
    parser.add_argument("--json", action="store_true", help="print the record")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results", help="folder for the record"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
