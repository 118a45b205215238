"""Deployment recipes: what an artefact for a device is made of, in a small TOML file.

The files lie in the top-level folder ``export/``; a wheel carries them as package data. A recipe
holds what a person would otherwise type as options, and why::

    device = "Jetson Orin Nano 8 GB, JetPack 6.1 or 6.2 (TensorRT 10.3)"
    why = "..."
    precision = "fp16"
    to = "engine"
    target = "trt-10"
    batch = [1, 4, 8]           # smallest, usual, largest

    [engine]
    workspace_mib = 1024

What a key may be is the annotation of the field of that name below; nothing else is read.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from edgepose.errors import InputError
from edgepose.settings import any_of, check, from_table, put, read_toml, without_none

__all__ = [
    "PLAIN",
    "EngineSettings",
    "Int8Settings",
    "Recipe",
    "load_recipe",
    "recipes",
    "recipes_folder",
]

OPSETS = range(17, 21)
# Between them the quantised tensors may be FP16, which is what Q/DQ with FP16 around needs.
FP16_QUANTISATION = 19
_TARGETS_OF = {
    "onnx": ("trt-8.6", "trt-10", "trt-11", "trt-rtx", "ort"),
    "engine": ("trt-8.6", "trt-10", "trt-11"),
    "rtx-engine": ("trt-rtx",),
}


@dataclass(frozen=True, kw_only=True)
class Int8Settings:
    """How a graph is quantised; read only where the precision is one of INT8.

    Attributes:
        method: How ranges are taken from what calibration shows; None for the quantiser's default.
        percentile: Share of values that the range holds, in percent, where that is the method.
        crops: Most person crops to calibrate on.
        max_ap_drop: AP that quantising may cost; blocks are kept from it, the worst first, until
            that holds. None quantises all that can be.
        modelopt_python: Interpreter of an environment with NVIDIA ModelOpt, which then quantises
            instead; for TensorRT alone.
    """

    method: Literal["mse", "percentile", "entropy", "minmax"] | None = None
    percentile: float = 99.99
    crops: int = 512
    max_ap_drop: float | None = None
    modelopt_python: str | None = None

    def __post_init__(self) -> None:
        check(
            "int8.percentile", self.percentile, 50 < self.percentile <= 100, "above 50, up to 100"
        )
        check("int8.crops", self.crops, self.crops >= 32, "32 or more: fewer are no calibration")
        drop = self.max_ap_drop
        check("int8.max_ap_drop", drop, drop is None or drop > 0, "above 0: INT8 is never free")


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """What TensorRT's builder is told; read only where an engine is made.

    The names are those of :class:`edgepose.engine.options.BuildOptions`, which says what each does.

    Attributes:
        workspace_mib: Most memory that a layer may take while it is tried and run.
        optimization_level: 0 (quickest build) to 5 (longest search).
        timing_cache: File that keeps the timings of layers between builds; relative to where the
            program is started.
        version_compatible: Let newer TensorRT load the engine.
        hardware_compatibility: Let other GPUs load the engine.
        compute_capabilities: GPUs that an engine of TensorRT-RTX is for.
        dla_core: Run on that deep learning accelerator, and on the GPU what it cannot.
        tf32: Let FP32 layers round what they read.
        external_tactics: Let cuBLAS and cuDNN lend kernels.
    """

    workspace_mib: int | None = None
    optimization_level: int | None = None
    timing_cache: str | None = None
    version_compatible: bool = False
    hardware_compatibility: Literal["none", "ampere_plus", "same_compute_capability"] = "none"
    compute_capabilities: tuple[str, ...] = ()
    dla_core: int | None = None
    tf32: bool = False
    external_tactics: bool | None = None

    def __post_init__(self) -> None:
        workspace, level = self.workspace_mib, self.optimization_level
        check("engine.workspace_mib", workspace, workspace is None or workspace > 0, "above 0")
        check("engine.optimization_level", level, level in (None, *range(6)), "0 to 5")
        check("engine.dla_core", self.dla_core, self.dla_core in (None, 0, 1), "0 or 1")

    def chosen(self) -> dict[str, Any]:
        """The settings that differ from the defaults, as ``BuildOptions.from_settings`` reads."""
        return {
            f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default
        }


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that an export for one kind of device needs to be told.

    Attributes:
        name: File name without ``.toml``.
        device: What it is for.
        why: Why these settings and no others.
        precision: Of the graph. ``int8-fp16`` is Q/DQ with FP16 around, which a strongly typed
            TensorRT engine wants.
        to: What is made.
        target: Runtime that must read every node; None to ask none.
        opset: ONNX operator set; None for what suits the target.
        batch: Smallest, usual and largest batch of an engine; None for the builder's default, or
            the graph's own batch where that is fixed.
        fold_io: Put preprocessing and decoding into the graph.
        int8: How it is quantised.
        engine: What the builder is told.
    """

    name: str
    device: str
    why: str
    precision: Literal["fp32", "fp16", "int8", "int8-fp16"]
    to: Literal["onnx", "engine", "rtx-engine"]
    target: Literal["trt-8.6", "trt-10", "trt-11", "trt-rtx", "ort"] | None = None
    opset: int | None = None
    batch: tuple[int, int, int] | None = None
    fold_io: bool = False
    int8: Int8Settings = field(default_factory=Int8Settings)
    engine: EngineSettings = field(default_factory=EngineSettings)

    def __post_init__(self) -> None:
        low, usual, high = self.batch or (1, 1, 1)
        check(
            "batch",
            self.batch,
            0 < low <= usual <= high,
            "three whole numbers from 1 on, none smaller than the one before",
            "smallest, usual and largest, as 1,4,16",
        )
        check("opset", self.opset, self.opset in (None, *OPSETS), "17 to 20")
        check(
            "opset",
            self.opset,
            self.precision != "int8-fp16" or (self.opset or OPSETS[-1]) >= FP16_QUANTISATION,
            "19 or 20 with precision int8-fp16: before, only FP32 can be quantised",
            "--set opset=19, or --set precision=int8",
        )
        readers = (None, *_TARGETS_OF[self.to])
        check(
            "target",
            self.target,
            self.target in readers,
            f"{any_of(_TARGETS_OF[self.to])} where to is '{self.to}'",
        )
        check(
            "batch",
            self.batch,
            self.engine.dla_core is None or (self.batch is not None and low == high),
            "one number three times where engine.dla_core is set: a DLA knows one batch size",
            f"--set batch={usual},{usual},{usual}",
        )

    @property
    def quantised(self) -> bool:
        """Whether it needs pictures to calibrate on."""
        return self.precision.startswith("int8")

    def with_settings(self, settings: Iterable[str]) -> Recipe:
        """The recipe with some settings changed.

        Args:
            settings: Each ``key=value`` or ``table.key=value``; the value as in TOML, or a bare
                word, ``1,4,16`` for a list, ``none`` for no value.

        Raises:
            InputError: A setting is unknown, has no value or one of the wrong kind; names the
                nearest.
        """
        data = self.to_dict()
        del data["name"]
        for setting in settings:
            put(data, setting, Recipe, hidden=("name",))
        return recipe_from_dict(self.name, data)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, what is not set left out."""
        values: dict[str, Any] = without_none(asdict(self))
        return values


def recipes_folder() -> Path:
    """The folder that holds the shipped recipes."""
    packed = Path(__file__).parent / "_recipes"
    return packed if packed.is_dir() else Path(__file__).parent.parent / "export"


def recipes() -> list[Recipe]:
    """Every shipped recipe, by name. Raises :class:`InputError` if one is damaged."""
    return [_load(path) for path in sorted(recipes_folder().glob("*.toml"))]


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A shipped recipe by its name, or one's own by its path.

    Args:
        name_or_path: A name as :func:`recipes` lists it, or a file that ends in ``.toml``.

    Raises:
        InputError: There is none of that name or file, or it cannot be used; says what is wrong.
    """
    text = str(name_or_path)
    if text.endswith(".toml"):
        return _load(Path(text))
    shipped = {path.stem: path for path in sorted(recipes_folder().glob("*.toml"))}
    if text not in shipped:
        near = difflib.get_close_matches(text, shipped, n=3, cutoff=0.5)
        raise InputError(
            f"there is no recipe called '{text}'",
            f"there are {', '.join(shipped) or 'none'}",
            f"did you mean {any_of(near)}?"
            if near
            else "give one of these, or a file that ends in .toml",
        )
    return _load(shipped[text])


def recipe_from_dict(name: str, data: Mapping[str, Any]) -> Recipe:
    """A recipe from what a TOML file holds. Raises :class:`InputError` naming what is wrong."""
    if "name" in data:
        raise InputError("unknown setting 'name'", "the file's name is it")
    recipe: Recipe = from_table(Recipe, {**data, "name": name})
    return recipe


def _load(path: Path) -> Recipe:
    data = read_toml(path, "recipe", "see export/README.md")
    try:
        return recipe_from_dict(path.stem, data)
    except InputError as error:
        why = f"{error.what}: {error.why}" if error.why else error.what
        raise InputError(f"the recipe {path} cannot be used", why, error.hint) from error


# What is made where no recipe is asked for.
PLAIN = Recipe(name="plain", device="", why="", precision="fp32", to="onnx")
