"""``edgepose export``: from a model's name to a file that is proven to find its poses."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgepose.cli._export_plan import build_options, conversion, engine_place, make_plan
from edgepose.cli._export_view import (
    Talk,
    show_engine,
    show_parity,
    show_result,
    talk,
    write_json,
)
from edgepose.cli._lint import lint_only, show_lint
from edgepose.errors import InputError, LintError, ParityError, require

if TYPE_CHECKING:
    from edgepose.engine import ProvenEngine
    from edgepose.export import ExportResult
    from edgepose.recipes import Recipe
    from edgepose.trt.api import Product

__all__ = ["export"]

_NEEDED = ("torch", "onnx", "onnxscript", "onnxslim", "safetensors")
_PRECISION = "Precision and engine"
_JUDGING = "Judging"


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="Model name, as MODEL or MODEL@HEIGHTxWIDTH; or an ONNX file, to convert it, to "
            "build an engine of it, or with --target alone to look at it."
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
    random_weights: Annotated[
        bool,
        typer.Option("--random-weights", help="Export untrained weights, to measure speed only."),
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            help="onnx; engine, TensorRT's, built for this GPU; or rtx-engine, TensorRT-RTX's.",
            show_default="onnx",
            rich_help_panel=_PRECISION,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, fp16, int8 (the rest in FP32) or int8-fp16 (the rest in FP16).",
            show_default="fp32",
            rich_help_panel=_PRECISION,
        ),
    ] = None,
    calib: Annotated[
        Path | None,
        typer.Option(
            help="People to calibrate INT8 on: a folder of pictures, or one laid out as COCO.",
            rich_help_panel=_PRECISION,
        ),
    ] = None,
    sensitivity: Annotated[
        bool,
        typer.Option(
            "--sensitivity",
            help="Measure what each block costs in INT8.",
            rich_help_panel=_PRECISION,
        ),
    ] = False,
    max_ap_drop: Annotated[
        float | None,
        typer.Option(
            help="Leave the worst blocks in float until AP (0..100) drops by no more.",
            rich_help_panel=_PRECISION,
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="Smallest, usual and largest batch of an engine.",
            show_default="1,4,16",
            rich_help_panel=_PRECISION,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Settings for a device, by name or as a .toml file; other options go before it.",
            rich_help_panel=_PRECISION,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="One setting of a recipe, as engine.workspace_mib=1024; may be repeated.",
            rich_help_panel=_PRECISION,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Photos to judge on; the packaged samples if not given.", rich_help_panel=_JUDGING
        ),
    ] = None,
    bisect: Annotated[
        bool,
        typer.Option(
            "--bisect",
            help="Name the first tensor at which the precision leaves FP32.",
            rich_help_panel=_JUDGING,
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Export MODEL to ONNX, FP16, INT8 or an engine, and compare its poses with the model's.

    The file is written only if they are the same; exit code 3 and no file if not. With --target it
    is written only if that runtime reads every node; if not, exit code 1 and the nodes with the
    PyTorch modules they come from. --images and --calib take a folder: each picture is one person,
    unless boxes.json or COCO annotations are there.
    """
    if weights is not None and random_weights:
        raise typer.BadParameter("--weights and --random-weights exclude each other")
    plan = make_plan(
        recipe,
        settings,
        {
            "target": target,
            "opset": opset,
            "fold_io": fold_io or None,
            "to": to,
            "precision": precision,
            "batch": batch,
            "int8.max_ap_drop": max_ap_drop,
        },
    )
    if batch is not None and plan.to == "onnx":
        raise typer.BadParameter("--batch is for an engine: add --to engine")
    if max_ap_drop is not None and not plan.quantised:
        raise typer.BadParameter("--max-ap-drop is for a --precision of INT8")
    is_file = model.endswith(".onnx")
    if is_file and any((weights, opset, fold_io, random_weights)):
        raise typer.BadParameter(
            "an ONNX file is made already: no --weights, --opset, --fold-io or --random-weights"
        )
    asked = precision is not None or recipe is not None
    made = _precision_of(Path(model)) if is_file and asked else None
    as_it_is = is_file and made in (None, plan.precision)
    if as_it_is and (calib is not None or sensitivity or bisect):
        raise typer.BadParameter(
            "this ONNX file keeps the precision it has: no --calib, --sensitivity or --bisect"
        )
    if as_it_is and plan.to == "onnx":
        if out is not None or images is not None:
            raise typer.BadParameter("an ONNX file is only looked at: --target and --json alone")
        _look(model, plan.target, made, as_json)
        return
    if is_file and not as_it_is and plan.precision == "fp32":
        raise InputError(
            f"{model} is {made}, and FP32 was asked for",
            "the digits that it lost do not come back",
            "give the FP32 file that it was made from, or export the model again",
        )
    place, graph = None, out
    if plan.to != "onnx":
        place, graph = engine_place(model, out, plan, as_it_is=as_it_is)
        if not as_it_is:
            _check_builder(plan)  # now, and not after minutes of export
    result: ExportResult | None = None
    engine: ProvenEngine | None = None
    try:
        with talk() as words:
            if not as_it_is:
                result = _make(
                    plan,
                    model,
                    words,
                    weights=weights,
                    out=graph,
                    calib=calib,
                    sensitivity=sensitivity,
                    images=images,
                    random_weights=random_weights,
                    bisect=bisect,
                )
                graph = result.path
            if place is not None and graph is not None:
                engine = _build(plan, graph, place, images, words)
    except LintError as error:
        show_lint(error.lint, None, as_json)
        raise
    except ParityError as error:
        if as_json:
            figures = None if error.parity is None else error.parity.to_dict()
            # An engine that was refused leaves the ONNX file it came from.
            kept = None if result is None else str(result.path)
            write_json({"artefact": kept, "parity": figures})
        elif error.parity is not None:
            show_parity(error.parity, "Parity")
        raise
    if as_json:
        data: dict[str, Any] = {} if result is None else result.to_dict()
        write_json(data if engine is None else data | {"engine": engine.to_dict()})
        return
    if result is not None:
        show_result(result, f"Parity with {model if is_file else 'PyTorch'}")
        if bisect and result.divergence is None:
            sys.stderr.write("no one tensor leaves FP32: the error comes from everywhere\n")
    if engine is not None:
        show_engine(engine)


def _precision_of(file: Path) -> str:
    """What an ONNX file says of its precision."""
    from edgepose.engine.source import read_source

    return str((read_source(file).record or {}).get("precision", "fp32"))


def _look(model: str, target: str | None, made: str | None, as_json: bool) -> None:
    """``made`` is the file's precision, where just that was asked for."""
    if target is None:
        raise InputError(
            f"cannot export {model}",
            f"it is {made or 'an ONNX file'} already, and nothing else was asked for",
            f"edgepose export {model} --to engine; "
            + ("--precision int8 --calib FOLDER; " if made in (None, "fp32") else "")
            + "or, to learn whether a runtime reads it, --target trt-10",
        )
    lint_only(Path(model), target, as_json)


def _make(plan: Recipe, model: str, words: Talk, **given: Any) -> ExportResult:
    """The ONNX artefact: of a model's name, or of another ONNX file."""
    # Read when torch loads. Its idle threads would otherwise spin, and where other programs want
    # the same cores that makes the comparison twenty times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for module in _NEEDED:
        require(module, "export")
    from edgepose.export import export_file, export_model

    converts = conversion(plan, given.pop("calib"), given.pop("sensitivity"))
    if converts is None and given["bisect"]:
        raise typer.BadParameter("--bisect is for another --precision than fp32")
    given |= {"target": plan.target, "conversion": converts, "progress": words.step}
    if converts is not None and converts.form == "onnxruntime" and converts.quantises:
        from edgepose.bench.speed import compare_speed

        given["timed"] = lambda ours, theirs: compare_speed(ours, theirs).to_dict()
    weights, random_weights = given.pop("weights"), given.pop("random_weights")
    if model.endswith(".onnx"):
        return export_file(model, **given)
    return export_model(
        model,
        weights,
        opset=plan.opset,
        fold_io=plan.fold_io,
        random_weights=random_weights,
        **given,
    )


def _product(plan: Recipe) -> Product:
    return "tensorrt-rtx" if plan.to == "rtx-engine" else "tensorrt"


def _check_builder(plan: Recipe) -> None:
    """See that an engine can be built here.

    Raises:
        MissingDependency: The product is not installed.
        DeviceError: No GPU, or too old a driver.
    """
    from edgepose.engine.preflight import check_gpu
    from edgepose.trt.api import require_installed

    require_installed(_product(plan))
    check_gpu(_product(plan))


def _build(
    plan: Recipe, graph: Path, place: Path, images: Path | None, words: Talk
) -> ProvenEngine:
    """The engine of an ONNX artefact."""
    from edgepose.engine import build_and_prove
    from edgepose.parity import folder_photos, sample_photos

    return build_and_prove(
        graph,
        place,
        sample_photos() if images is None else folder_photos(images),
        build_options(plan),
        product=_product(plan),
        say=words.step,
        progress=words.build,
    )
