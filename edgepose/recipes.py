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
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from edgepose.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

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
# One and several, in words.
_KINDS: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "switches"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
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
        _check(
            "int8.percentile", self.percentile, 50 < self.percentile <= 100, "above 50, up to 100"
        )
        _check("int8.crops", self.crops, self.crops >= 32, "32 or more: fewer are no calibration")
        drop = self.max_ap_drop
        _check("int8.max_ap_drop", drop, drop is None or drop > 0, "above 0: INT8 is never free")


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
        _check("engine.workspace_mib", workspace, workspace is None or workspace > 0, "above 0")
        _check("engine.optimization_level", level, level in (None, *range(6)), "0 to 5")
        _check("engine.dla_core", self.dla_core, self.dla_core in (None, 0, 1), "0 or 1")

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
        _check(
            "batch",
            self.batch,
            0 < low <= usual <= high,
            "three whole numbers from 1 on, none smaller than the one before",
            "smallest, usual and largest, as 1,4,16",
        )
        _check("opset", self.opset, self.opset in (None, *OPSETS), "17 to 20")
        _check(
            "opset",
            self.opset,
            self.precision != "int8-fp16" or (self.opset or OPSETS[-1]) >= FP16_QUANTISATION,
            "19 or 20 with precision int8-fp16: before, only FP32 can be quantised",
            "--set opset=19, or --set precision=int8",
        )
        readers = (None, *_TARGETS_OF[self.to])
        _check(
            "target",
            self.target,
            self.target in readers,
            f"{_or(_TARGETS_OF[self.to])} where to is '{self.to}'",
        )
        _check(
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
            key, equals, text = setting.partition("=")
            if not equals:
                raise InputError(
                    f"cannot read the setting '{setting}'",
                    "it is not KEY=VALUE",
                    "for example --set engine.workspace_mib=1024",
                )
            _put(data, key.strip(), text.strip())
        return recipe_from_dict(self.name, data)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, what is not set left out."""
        values: dict[str, Any] = _without_none(asdict(self))
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
            f"did you mean {_or(near)}?"
            if near
            else "give one of these, or a file that ends in .toml",
        )
    return _load(shipped[text])


def recipe_from_dict(name: str, data: Mapping[str, Any]) -> Recipe:
    """A recipe from what a TOML file holds. Raises :class:`InputError` naming what is wrong."""
    values = _values(Recipe, {**data, "name": name}, "")
    return Recipe(**values)


def _load(path: Path) -> Recipe:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"cannot read the recipe {path}", error.strerror or str(error), "see export/README.md"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the recipe {path}", f"it is not TOML ({error})") from error
    if "name" in data:
        raise InputError(
            f"the recipe {path} cannot be used", "unknown setting 'name': the file's name is it"
        )
    try:
        return recipe_from_dict(path.stem, data)
    except InputError as error:
        why = f"{error.what}: {error.why}" if error.why else error.what
        raise InputError(f"the recipe {path} cannot be used", why, error.hint) from error


def _values(kind: type, data: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The values of one table, each of its field's kind."""
    hints = get_type_hints(kind)
    required = [f.name for f in fields(kind) if _is_required(f)]
    for key in data:
        if key not in hints:
            raise _unknown(f"{prefix}{key}")
    for key in required:
        if key not in data:
            raise InputError(f"the setting '{prefix}{key}' is missing")
    return {key: _value(hints[key], value, f"{prefix}{key}") for key, value in data.items()}


def _is_required(one: Any) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _value(hint: Any, value: Any, key: str) -> Any:
    """``value`` if it is what the annotation says."""
    if hint in (Int8Settings, EngineSettings):
        if not isinstance(value, Mapping):
            raise _wrong(key, value, "a table")
        return hint(**_values(hint, value, f"{key}."))
    hint = _kind(hint)
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if value not in choices:
            near = difflib.get_close_matches(str(value), choices, n=1)
            raise _wrong(key, value, f"one of {', '.join(choices)}", near)
        return value
    if get_origin(hint) is tuple:
        kind, *more = get_args(hint)
        wanted = None if more == [...] else 1 + len(more)
        if not isinstance(value, (list, tuple)) or wanted not in (None, len(value)):
            count = "" if wanted is None else f" of {wanted} {_KINDS[kind][1]}"
            raise _wrong(key, value, f"a list{count}")
        return tuple(_value(kind, one, key) for one in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise _wrong(key, value, _KINDS[hint][0])
    return value


def _kind(hint: Any) -> Any:
    """What may stand in a file: an annotation without its None."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    (kind,) = (one for one in get_args(hint) if one is not type(None))
    return kind


def _put(data: dict[str, Any], key: str, text: str) -> None:
    """One ``--set`` into what a TOML file would hold."""
    table, _, name = key.rpartition(".")
    kind = {"": Recipe, "int8": Int8Settings, "engine": EngineSettings}.get(table)
    hints = {} if kind is None else get_type_hints(kind)
    if name not in hints or key in ("name", "int8", "engine"):
        raise _unknown(key)
    place = data[table] if table else data
    hint = _kind(hints[name])
    if text.lower() == "none" and hint is not hints[name]:
        place.pop(name, None)
    elif hint is bool:
        place[name] = _literal(text.lower())
    elif get_origin(hint) is tuple and not text.startswith("["):
        kind = get_args(hint)[0]
        parts = [part.strip() for part in text.split(",") if part.strip()]
        place[name] = [part if kind is str else _literal(part) for part in parts]
    else:
        place[name] = _literal(text)


def _literal(text: str) -> Any:
    """A value as in TOML, or a bare word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _without_none(data: Any) -> Any:
    """TOML has no null: what is None is left out."""
    if isinstance(data, tuple):
        return list(data)
    if not isinstance(data, dict):
        return data
    return {key: _without_none(value) for key, value in data.items() if value is not None}


def _known() -> list[str]:
    names = [f.name for f in fields(Recipe) if f.name not in ("name", "int8", "engine")]
    names += [f"int8.{f.name}" for f in fields(Int8Settings)]
    return [*names, *(f"engine.{f.name}" for f in fields(EngineSettings))]


def _unknown(key: str) -> InputError:
    known = _known()
    # Someone who leaves the table out, or puts a key into the wrong one, means the same key.
    near = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    near = near or difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    return InputError(
        f"unknown setting '{key}'",
        f"known are {', '.join(known)}",
        f"did you mean {_or(near)}?" if near else None,
    )


def _wrong(key: str, value: Any, wanted: str, near: list[str] | None = None) -> InputError:
    return InputError(
        f"the setting '{key}' is {value!r}",
        f"it must be {wanted}",
        f"did you mean {near[0]}?" if near else None,
    )


def _check(key: str, value: Any, good: bool, wanted: str, hint: str | None = None) -> None:
    if not good:
        raise InputError(f"the setting '{key}' is {value!r}", f"it must be {wanted}", hint)


def _or(names: Iterable[str]) -> str:
    return " or ".join(names)


# What is made where no recipe is asked for.
PLAIN = Recipe(name="plain", device="", why="", precision="fp32", to="onnx")
