"""``edgepose train``: a registry model on COCO-format sets."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["train"]


def train(
    model: Annotated[
        str, typer.Argument(help="Registry name, with an input size if wanted: mitpose-lite@128x96")
    ],
    data: Annotated[
        list[Path],
        typer.Option(help="COCO keypoint set: a folder or its JSON. Repeat it for several."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for weights, log and curve.")],
    recipe: Annotated[
        Path | None, typer.Option(help="TOML file with any setting of the recipe.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="One setting of the recipe, as learning_rate=1e-4; may be repeated.",
        ),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Budget in passes over the data.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes of training.")] = None,
    holdout: Annotated[
        Path | None,
        typer.Option(help="JSON list of further photos that the data must not hold."),
    ] = None,
    allow_holdout: Annotated[
        bool,
        typer.Option(
            "--allow-holdout",
            help="Train on photos of the edgepose hold-out too; the weights then say so.",
        ),
    ] = False,
    init: Annotated[
        str | None,
        typer.Option(
            help="Weights to begin with: a file, or a name in the zoo: mitpose-lite. "
            "The peak rate is then 3e-4 unless the recipe says otherwise."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint in --out.")] = False,
    resize: Annotated[
        str | None,
        typer.Option(help='Input size over the budget, such as "0:64x48,0.35:128x96".'),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    compile_model: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Use torch.compile.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads of torch.", min=1)] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for packed sets.")] = None,
    checkpoint_minutes: Annotated[float, typer.Option(help="Time between checkpoints.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train MODEL and leave weights, checkpoint, log and curve in OUT.

    Ctrl-C (or SIGTERM) finishes the step, writes a checkpoint and ends with exit code 130;
    --resume goes on exactly there. While data is packed it ends at once. On several GPUs:
    torchrun --nproc-per-node N -m edgepose train ...
    """
    from edgepose.errors import require

    torch = require("torch", "train")
    from edgepose.train import init_of, load_recipe
    from edgepose.train import train as run

    chosen = load_recipe(
        recipe,
        settings or (),
        tuning=init is not None or (resume and init_of(out) is not None),
        epochs=epochs,
        minutes=minutes,
        stages=resize,
        seed=seed,
        compile=compile_model,
    )
    if threads is not None:
        torch.set_num_threads(threads)
    from edgepose.cli._train_view import TrainView

    quiet = int(os.environ.get("RANK", "0")) != 0
    with TrainView(quiet=quiet) as view, _stop_signals(view):
        outcome = run(
            model,
            data,
            out,
            chosen,
            holdout=holdout,
            allow_holdout=allow_holdout,
            init=init,
            resume=resume,
            device=device,
            cache=cache,
            checkpoint_minutes=checkpoint_minutes,
            listener=view,
            packing=view.packing,
        )
    # Exit code 130 is the first process's to give: torchrun kills all when any of them fails, and
    # the first may still be writing its checkpoint.
    if quiet:
        return
    report = outcome.to_dict()
    report["out"] = str(out)
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        for name, value in report.items():
            sys.stdout.write(f"{name:12} {_words(value)}\n")
    if not outcome.finished:
        sys.stderr.write("stopped early; the same command with --resume goes on\n")
        raise typer.Exit(130)


def _words(value: Any) -> str:
    """A figure of the outcome; a validation in one line."""
    if isinstance(value, dict):
        return "  ".join(f"{name} {_words(figure)}" for name, figure in value.items())
    return f"{value:.5g}" if isinstance(value, float) else str(value)


@contextmanager
def _stop_signals(view: Any) -> Iterator[None]:
    """First Ctrl-C or SIGTERM: finish the step and save. A second Ctrl-C interrupts as usual.

    Before the first step there is nothing to save, so that the first already interrupts.
    """

    def stop(number: int, frame: object) -> None:
        if not view.training:
            raise KeyboardInterrupt
        view.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
