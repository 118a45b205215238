"""``scripts/gpu_check prepare DIR`` and ``scripts/gpu_check run DIR``."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.gpu.check import Asked, check, dry_run
from benchmarks.gpu.report import plan_table, rows_table, verdict
from edgepose.errors import EdgeposeError, InputError
from edgepose.redact import redact

__all__ = ["main"]

MODELS = ("mitpose-lite", "vttranspose", "mgil-w32-64", "refinepose-s", "mfvpose-w32-d8")
RESULTS = Path(__file__).resolve().parent.parent / "results"
_INTERRUPTED = 130


def main(words: list[str] | None = None) -> int:
    """The exit code: 0 done, 1 something failed, 2 usage, 3 a verdict is no, 4 no GPU."""
    words = sys.argv[1:] if words is None else words
    options = _parser().parse_args(words)
    command = shlex.join(["scripts/gpu_check", *words])
    try:
        code: int = options.verb(options, redact(command))
        return code
    except EdgeposeError as error:
        sys.stderr.write(f"gpu_check: {redact(str(error))}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was measured is written\n")
        return _INTERRUPTED


def _prepare(options: argparse.Namespace, command: str) -> int:
    from benchmarks.gpu.prepare import Wanted, prepare

    console = Console(stderr=True, highlight=False)
    manifest = prepare(
        options.folder,
        Wanted(
            models=tuple(options.models or MODELS),
            precisions=tuple(options.precisions),
            calibration=options.calib,
            weights=dict(_pair(text, "--weights") for text in options.weights),
            target=options.target,
            coco=options.coco,
            images=options.images,
            people=options.people,
            crops=options.crops,
            part_mib=options.part_mib,
        ),
        command,
        lambda text: console.print(text, markup=False, soft_wrap=True),
    )
    failed = [
        f"{model.name} {precision}: {graph.words}"
        for model in manifest.models
        for precision, graph in model.graphs.items()
        if graph.file is None
    ]
    for text in failed:
        console.print(f"not made: {text}", markup=False, soft_wrap=True)
    if options.json:
        sys.stdout.write(manifest.to_json())
    else:
        Console().print(f"{options.folder}: {manifest.parts} part(s), {len(manifest.files)} files")
    return 1 if failed else 0


def _run(options: argparse.Namespace, command: str) -> int:
    console = Console(stderr=True, highlight=False)

    def say(text: str) -> None:
        console.print(redact(text), markup=False, soft_wrap=True)

    settings = dict(_pair(text, "--set") for text in options.set)
    asked = Asked(
        folders=tuple(options.folders),
        out=options.out,
        work=options.work,
        minutes=options.minutes,
        models=tuple(options.models) if options.models else None,
        settings={name: _value(value) for name, value in settings.items()},
        pythons=dict(_pair(text, "--python") for text in options.python),
        retry=options.retry_failed,
        command=command,
    )
    if options.dry_run:
        Console().print(plan_table(dry_run(asked, say), options.minutes))
        return 0
    rows, paths = check(asked, say)
    if options.json:
        sys.stdout.write(json.dumps(rows) + "\n")
    else:
        Console().print(rows_table(rows))
    for path in paths:
        say(f"wrote {path}")
    code, sentence = verdict(rows)
    say(sentence)
    return code


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise InputError(f"{option} {text} cannot be read", "it takes NAME=VALUE")
    return name, value


def _value(text: str) -> object:
    """true, false, a number, or the text itself."""
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/gpu_check", description="What only a GPU can settle. See benchmarks/gpu."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    make = verbs.add_parser("prepare", help="make a bundle, where torch is; needs no GPU")
    make.set_defaults(verb=_prepare)
    make.add_argument("folder", type=Path, metavar="DIR", help="new folder for the bundle")
    make.add_argument(
        "--models", type=_names, metavar="NAMES", help=f"with commas between ({','.join(MODELS)})"
    )
    make.add_argument(
        "--precisions",
        type=_names,
        default=["fp32", "fp16", "int8"],
        metavar="NAMES",
        help="of fp32, fp16, int8, int8-fp16 (fp32,fp16,int8)",
    )
    make.add_argument("--calib", type=Path, metavar="DIR", help="people to calibrate INT8 on")
    make.add_argument("--crops", type=int, default=256, help="most of them that are used (256)")
    make.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="MODEL=FILE",
        help="trained weights of a model that the zoo has none of; may be repeated",
    )
    make.add_argument("--target", default="trt-8.6", help="the oldest reader (trt-8.6)")
    make.add_argument("--coco", type=Path, metavar="DIR", help="COCO folder to measure AP on")
    make.add_argument("--images", type=Path, metavar="DIR", help="people to judge poses on")
    make.add_argument("--people", type=int, default=16, help="most of them (16)")
    make.add_argument("--part-mib", type=float, help="largest part of the bundle in MiB")
    make.add_argument("--json", action="store_true", help="print the manifest")

    run = verbs.add_parser("run", help="measure what a bundle holds, where the GPU is")
    run.set_defaults(verb=_run)
    run.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="bundle, or its parts")
    run.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="for the records")
    run.add_argument("--work", type=Path, metavar="DIR", help="for engines (DIR/work)")
    run.add_argument("--minutes", type=float, default=9.0, help="time for this run (9)")
    run.add_argument("--models", type=_names, metavar="NAMES", help="some of the bundle's")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for the builder, as external_tactics=false or optimization_level=1",
    )
    run.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="torch=PATH",
        help="interpreter for torch or onnxruntime, where it is another than this one",
    )
    run.add_argument("--retry-failed", action="store_true", help="also what failed before")
    run.add_argument("--dry-run", action="store_true", help="print the plan; needs no GPU")
    run.add_argument("--json", action="store_true", help="print the rows")
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
