"""What the export verb was asked for, from a recipe, its settings and its options, in one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgepose.recipes import PLAIN, Recipe, load_recipe

if TYPE_CHECKING:
    from edgepose.engine import BuildOptions
    from edgepose.export import Conversion

__all__ = ["build_options", "conversion", "engine_place", "make_plan"]

_SUFFIX = ".engine"


def make_plan(
    recipe: str | None, settings: Sequence[str] | None, options: Mapping[str, object | None]
) -> Recipe:
    """The recipe with its settings changed by the options that were given, then by ``--set``.

    Raises:
        InputError: No such recipe, or a setting that is unknown or contradicts another.
    """
    base = PLAIN if recipe is None else load_recipe(recipe)
    typed = [f"{key}={value}" for key, value in options.items() if value is not None]
    # Another product reads another parser's operators; an ONNX file is for whom the recipe says.
    if options.get("to") not in (None, "onnx", base.to) and options.get("target") is None:
        base = replace(base, to="onnx", target=None)
    return base.with_settings([*typed, *(settings or ())])


def conversion(plan: Recipe, calib: Path | None, sensitivity: bool) -> Conversion | None:
    """The precision to give the graph; None for FP32.

    Raises:
        InputError: INT8 without people to calibrate on.
    """
    from edgepose.export import Conversion

    if plan.precision == "fp32":
        if calib is not None or sensitivity:
            raise typer.BadParameter("--calib and --sensitivity are for a --precision of INT8")
        return None
    int8 = plan.int8 if plan.quantised else None
    return Conversion(
        precision=plan.precision,
        form="tensorrt" if _for_tensorrt(plan) else "onnxruntime",
        calibration=calib,
        sensitivity=sensitivity,
        **({"max_ap_drop": None} if int8 is None else asdict(int8)),
    )


def _for_tensorrt(plan: Recipe) -> bool:
    """Whether TensorRT will run the graph, as far as was said; onnxruntime always may."""
    reader = plan.target or ""
    return plan.precision == "int8-fp16" or plan.to != "onnx" or reader.startswith("trt")


def build_options(plan: Recipe) -> BuildOptions:
    """What the builder of an engine is told."""
    from edgepose.engine import BuildOptions

    return BuildOptions.from_settings(plan.engine.chosen(), plan.batch)


def engine_place(
    model: str, out: Path | None, plan: Recipe, *, as_it_is: bool = False
) -> tuple[Path, Path]:
    """Where the engine goes, and the ONNX file that it is built from.

    Args:
        model: A model's name, or an ONNX file.
        out: As asked for.
        plan: What is made.
        as_it_is: Whether the ONNX file is not converted before.

    Raises:
        BadParameter: ``--out`` names no engine.
    """
    is_file = model.endswith(".onnx")
    base = Path(model).stem if is_file else model.partition("@")[0]
    if not as_it_is and plan.precision != "fp32":
        base += "-int8-trt" if plan.precision == "int8" else f"-{plan.precision}"
    folder = Path(model).parent if is_file else Path()
    place = folder / f"{base}{_SUFFIX}" if out is None else out
    if place.is_dir():
        place = place / f"{base}{_SUFFIX}"
    if place.suffix != _SUFFIX:
        raise typer.BadParameter(
            f"an engine's name must end in {_SUFFIX}, as {place.stem}{_SUFFIX}"
        )
    return place, Path(model) if as_it_is else place.with_suffix(".onnx")
