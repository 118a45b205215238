"""``edgepose export``: from a model's name to one ONNX file that is proven to find its poses."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgepose.cli._lint import lint_only, show_lint
from edgepose.errors import InputError, LintError, ParityError, require

if TYPE_CHECKING:
    from rich.table import Table

    from edgepose.export import ExportResult
    from edgepose.parity import Parity

__all__ = ["export"]

_NEEDED = ("torch", "onnx", "onnxscript", "onnxslim", "safetensors")


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="Model name, as MODEL or MODEL@HEIGHTxWIDTH; with --target also an ONNX file, "
            "which is then only looked at."
        ),
    ],
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights (.safetensors, or a .pth of tensors); the zoo's if not given."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write, or a folder.", show_default="MODEL.onnx"),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Runtime that must read every operator: trt-8.6, trt-10, trt-11, trt-rtx or ort."
        ),
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(
            help="ONNX operator set, 17 to 20.", show_default="18, or what suits the target"
        ),
    ] = None,
    fold_io: Annotated[
        bool,
        typer.Option(
            "--fold-io",
            help="Put preprocessing and decoding into the graph: BGR bytes in, keypoints out.",
        ),
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(help="Photos to judge on; the packaged samples if not given."),
    ] = None,
    random_weights: Annotated[
        bool,
        typer.Option("--random-weights", help="Export untrained weights, to measure speed only."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Export MODEL to ONNX and compare its poses with the PyTorch model's on real people.

    The file is written only if they are the same; exit code 3 and no file if not. With --target it
    is written only if that runtime reads every node; if not, exit code 1 and the nodes with the
    PyTorch modules they come from. --images takes a folder: each picture is one person, unless
    boxes.json or COCO annotations are there.
    """
    if weights is not None and random_weights:
        raise typer.BadParameter("--weights and --random-weights exclude each other")
    if model.endswith(".onnx"):
        if target is None:
            raise InputError(
                f"cannot export {model}",
                "it is an ONNX file already; this verb makes one from a model's name",
                f"edgepose run {model} --source PHOTO; or, to learn whether a runtime reads it, "
                f"edgepose export {model} --target trt-10",
            )
        if any((weights, out, opset, fold_io, images, random_weights)):
            raise typer.BadParameter("an ONNX file is only looked at: --target and --json alone")
        lint_only(Path(model), target, as_json)
        return
    # Read when torch loads. Its idle threads would otherwise spin, and where other programs want
    # the same cores that makes the comparison twenty times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for module in _NEEDED:
        require(module, "export")
    from edgepose.export import export_model

    try:
        with _steps() as step:
            result = export_model(
                model,
                weights,
                out,
                opset=opset,
                target=target,
                fold_io=fold_io,
                images=images,
                random_weights=random_weights,
                progress=step,
            )
    except LintError as error:
        show_lint(error.lint, None, as_json)
        raise
    except ParityError as error:
        compared = error.parity
        if as_json:
            figures = None if compared is None else compared.to_dict()
            _write_json({"artefact": None, "parity": figures})
        elif compared is not None:
            _print(_table(compared))
        raise
    if as_json:
        _write_json(result.to_dict())
    else:
        _print(_table(result.parity))
        _report(result)


@contextmanager
def _steps() -> Iterator[Callable[[str], None]]:
    """Steps on stderr, one line each; the one at work turns a wheel where stderr is a terminal."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    with console.status("starting") as status:

        def step(text: str) -> None:
            console.print(text, markup=False, soft_wrap=True)
            status.update(text)

        yield step


def _write_json(data: object) -> None:
    sys.stdout.write(json.dumps(data) + "\n")


def _print(table: Table) -> None:
    from rich.console import Console

    Console().print(table)


def _report(result: ExportResult) -> None:
    sys.stderr.write(
        f"wrote {result.path} ({result.size_bytes / 2**20:.1f} MiB, {result.nodes} nodes, operator "
        f"set {result.opset}) in {result.seconds:.0f} s\n"
    )
    if not result.spec.provenance.trained_on:
        sys.stderr.write("these weights carry no word of what they were trained on\n")


def _table(parity: Parity) -> Table:
    from rich.table import Table

    limits = parity.limits
    verdict = "the same poses" if parity else "NOT the same poses"
    table = Table(
        title=f"Parity with PyTorch: {verdict}",
        caption=f"{parity.persons} people, {parity.keypoints} keypoints"
        + (f"; {parity.undecided} more hang on rounding" if parity.undecided else ""),
    )
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("limit", justify="right")
    for row in (
        ("keypoint error, median", f"{parity.median_px:.5f} px", f"{limits.median_px:g} px"),
        ("keypoint error, 99 %", f"{parity.p99_px:.5f} px", f"{limits.p99_px:g} px"),
        ("keypoint error, largest", f"{parity.max_px:.5f} px", ""),
        ("moved by more than 1 px", f"{parity.moved_share:.2%}", f"{limits.moved_share:.2%}"),
        ("OKS, mean", f"{parity.oks_mean:.6f}", f"{limits.oks_mean:g}"),
        ("OKS, smallest", f"{parity.oks_min:.6f}", f"{limits.oks_min:g}"),
        *(
            (f"{t.name}, error 50 / 99.9 / 100 %", f"{t.p50:.1e} / {t.p999:.1e} / {t.max:.1e}", "")
            for t in parity.tensors
        ),
        *(
            (f"{t.name}, error 99 %", f"{t.p99:.1e}", f"{limits.tensor_p99:g}")
            for t in parity.tensors
        ),
    ):
        table.add_row(*row)
    return table
