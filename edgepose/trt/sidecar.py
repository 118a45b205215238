"""The JSON beside an engine: what it is, where it may run, and how to make it again.

``pose.engine`` has ``pose.engine.json`` beside it. An engine is native code for one GPU and one
TensorRT, so nothing of it is handed to TensorRT before :func:`check` has passed: the bytes are the
ones that were built, and this machine is one they were built for. What does not fit is told with
the field, both values, and the command that builds the engine again.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args

from edgepose.errors import EngineError, SpecError
from edgepose.files import write_text
from edgepose.spec import PoseSpec
from edgepose.trt.api import Product, TensorRT, parse_version
from edgepose.trt.gpu import Gpu, read_gpu

__all__ = [
    "PORTABLE_FROM",
    "SCHEMA",
    "Here",
    "Profile",
    "Sidecar",
    "check",
    "digest_of",
    "here",
    "read",
    "rebuild_command",
    "sidecar_path",
    "write",
]

SCHEMA = 1
PRECISIONS = ("fp32", "fp16", "int8", "int8-fp16")
HARDWARE_LEVELS = ("none", "ampere_plus", "same_compute_capability")
# TensorRT-RTX builds for Ampere and whatever comes later, unless told for which
# (docs.nvidia.com/deeplearning/tensorrt-rtx, "CPU-Only AOT and TensorRT-RTX Engines").
PORTABLE_FROM = (8, 0)
_AMPERE = (8, 0)
# Of engines built version-compatible, across majors: NVIDIA's support matrix of 11.4 names just
# these two; within a major every later runtime reads them.
_CROSS_MAJOR = {(8, 10), (10, 11)}
_TARGETS = {"tensorrt": "engine", "tensorrt-rtx": "rtx-engine"}


@dataclass(frozen=True)
class Profile:
    """Batch sizes that an engine is built for: it runs from ``min`` to ``max``, best at ``opt``."""

    min: int
    opt: int
    max: int


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """All that is known of an engine.

    Attributes:
        schema: Version of this format.
        edgepose: Version that built it.
        product: ``tensorrt`` or ``tensorrt-rtx``.
        version: Of the product, as it tells it.
        cuda: CUDA version of the product's libraries, e.g. ``13`` or ``12.6``; None if unknown.
        platform: Operating system and machine, e.g. ``linux-x86_64``.
        gpu: What it was built on; None where TensorRT-RTX built without one.
        engine_sha256: Of the engine's bytes.
        engine_bytes: Their number.
        onnx: Name of the file it was built from, as it was given.
        onnx_sha256: Of that file.
        spec: How to feed it and read it.
        precision: Of the graph: ``fp32``, ``fp16``, ``int8`` or ``int8-fp16``.
        profiles: Batch sizes, one entry per optimisation profile.
        version_compatible: Whether later versions run it. Such an engine carries host code, so the
            runtime that deserialises it has to allow that (``Runtime.engine_host_code_allowed``).
        hardware_compatibility: ``none``, ``ampere_plus`` or ``same_compute_capability``.
        compute_capabilities: GPU generations that TensorRT-RTX was told to build for; empty for
            its default, Ampere and later.
        dla_core: The DLA core that it runs on; None on the GPU.
        options: The builder's options that differ from the defaults, as ``--set`` takes them.
        layers: The engine inspector's count of layers by precision; None where nobody could ask.
        build: Seconds, memory and layers of the build.
        record: The ONNX file's record: calibration, what was kept in FP32, its parity.
        parity: This engine's verdict against the ONNX file; None until it was compared.
    """

    schema: int = SCHEMA
    edgepose: str
    product: Product
    version: str
    cuda: str | None
    platform: str
    gpu: Gpu | None
    engine_sha256: str
    engine_bytes: int
    onnx: str
    onnx_sha256: str
    spec: PoseSpec
    precision: str
    profiles: tuple[Profile, ...]
    version_compatible: bool = False
    hardware_compatibility: str = "none"
    compute_capabilities: tuple[str, ...] = ()
    dla_core: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    layers: Mapping[str, Any] | None = None
    build: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] | None = None
    parity: Mapping[str, Any] | None = None

    @property
    def max_batch(self) -> int:
        """Largest batch of one call."""
        return max(profile.max for profile in self.profiles)

    @property
    def buckets(self) -> tuple[int, ...]:
        """The batch sizes that were named when it was built, ascending."""
        return tuple(sorted({n for p in self.profiles for n in (p.min, p.opt, p.max)}))

    def with_parity(self, parity: Mapping[str, Any]) -> Sidecar:
        """The same with a verdict (``Parity.to_dict()``)."""
        return replace(self, parity=dict(parity))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with a digest over all of them that tells of edits."""
        values = asdict(self) | {"spec": self.spec.to_dict()}
        data: dict[str, Any] = json.loads(json.dumps(values, allow_nan=False))
        return data | {"digest": digest_of(data)}


@dataclass(frozen=True, kw_only=True)
class Here:
    """The machine that an engine is to run on.

    Attributes:
        product: What is installed and asked for.
        version: Of it.
        gpu: The GPU.
        platform: As in :class:`Sidecar`.
    """

    product: Product
    version: str
    gpu: Gpu
    platform: str


def here(trt: TensorRT, gpu: Gpu | None = None) -> Here:
    """This machine, with a TensorRT that is loaded and a GPU (the first one by default).

    Raises:
        DeviceError: No GPU was given and there is none.
    """
    return Here(
        product=trt.product,
        version=trt.version,
        gpu=gpu or read_gpu(),
        platform=platform_name(),
    )


def platform_name() -> str:
    """Operating system and machine, e.g. ``linux-aarch64``."""
    return f"{sys.platform}-{platform.machine().lower()}"


def sidecar_path(engine: str | Path) -> Path:
    """Where an engine's sidecar lies."""
    engine = Path(engine)
    return engine.with_name(engine.name + ".json")


def write(sidecar: Sidecar, engine: str | Path) -> Path:
    """Write the sidecar of an engine, whole or not at all; returns its path.

    Raises:
        OutputError: It cannot be written.
    """
    path = sidecar_path(engine)
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sidecar.to_dict().items()]
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")  # a field a line
    return path


def read(engine: str | Path) -> Sidecar:
    """Read the sidecar of an engine, every field checked. Does not read the engine.

    Raises:
        EngineError: There is no engine or no sidecar, or the sidecar is damaged, edited, or of a
            later format.
    """
    engine = Path(engine)
    if not engine.is_file():
        raise EngineError(f"there is no file {engine}")
    path = sidecar_path(engine)
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise EngineError(
            f"{engine} has no sidecar",
            f"there is no {path.name} beside it, so where it may run and how it is fed is unknown",
            f"copy {path.name} from where the engine was built, or build it again: "
            "edgepose export MODEL.onnx --to engine",
        ) from error
    except OSError as error:
        raise EngineError(f"cannot read {path}", error.strerror or str(error)) from error
    try:
        data = json.loads(text)
    except (ValueError, UnicodeDecodeError) as error:
        raise EngineError(f"{path} is damaged", f"it is not JSON ({error})", _AGAIN) from error
    if not isinstance(data, dict):
        raise EngineError(f"{path} is damaged", "it is no JSON object", _AGAIN)
    return _from_dict(data, path)


def check(sidecar: Sidecar, engine: str | Path, here: Here) -> bytes:
    """Hold an engine against its sidecar and this machine; only what passes may be deserialised.

    Args:
        sidecar: As :func:`read` gives it.
        engine: The engine file.
        here: This machine.

    Returns:
        The engine's bytes, the very ones whose digest was compared.

    Raises:
        EngineError: The engine does not fit; says the field, both values, and what rebuilds it.
    """
    engine = Path(engine)
    for name, built, found, allowed in _requirements(sidecar, here):
        if not allowed:
            raise EngineError(
                f"{engine} cannot run here: its {name} does not fit",
                f"it was built for {built}, this is {found}",
                f"build it again: {rebuild_command(sidecar, engine)}",
            )
    try:
        data = engine.read_bytes()
    except OSError as error:
        raise EngineError(f"cannot read {engine}", error.strerror or str(error)) from error
    if len(data) != sidecar.engine_bytes:
        raise EngineError(
            f"{engine} is not the engine that its sidecar describes: its engine_bytes do not fit",
            f"{sidecar.engine_bytes} bytes were built, {len(data)} are here",
            f"copy both files again, or build it again: {rebuild_command(sidecar, engine)}",
        )
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != sidecar.engine_sha256:
        raise EngineError(
            f"{engine} is not the engine that its sidecar describes: its engine_sha256 does not "
            "fit",
            f"{sidecar.engine_sha256[:16]}... was built, {sha256[:16]}... is here",
            f"copy both files again, or build it again: {rebuild_command(sidecar, engine)}",
        )
    return data


def rebuild_command(sidecar: Sidecar, engine: str | Path) -> str:
    """What to type to build an engine again, from the same ONNX file with the same options.

    Several profiles, which only the Python interface builds, become one over the same batch sizes.
    """
    usual = sidecar.profiles[0].opt
    batches = (min(p.min for p in sidecar.profiles), usual, sidecar.max_batch)
    parts = ["edgepose", "export", sidecar.onnx, "--to", _TARGETS[sidecar.product]]
    parts += ["--batch", ",".join(map(str, batches))]
    for name, value in sidecar.options.items():
        text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else _plain(value)
        parts += ["--set", f"engine.{name}={text}"]
    return shlex.join([*parts, "-o", str(engine)])


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def digest_of(data: Mapping[str, Any]) -> str:
    """SHA-256 over the fields of a sidecar but the digest itself."""
    kept = {name: value for name, value in data.items() if name != "digest"}
    canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


_Rows = list[tuple[str, str, str, bool]]


def _requirements(sidecar: Sidecar, here: Here) -> _Rows:
    """(field, built for, found here, whether that will do), in the order of telling."""
    same = sidecar.product == here.product
    rows: _Rows = [("product", sidecar.product, here.product, same)]
    if not same:
        return rows  # whose versions mean nothing to each other
    rows.append(("version", sidecar.version, here.version, _version_fits(sidecar, here.version)))
    if sidecar.product == "tensorrt":  # the other's engines are portable
        fits = sidecar.platform == here.platform
        rows.append(("platform", sidecar.platform, here.platform, fits))
    rows += _gpu_requirements(sidecar, here.gpu)
    if sidecar.cuda is not None:
        # Within a major version of CUDA an older driver runs what a newer toolkit made.
        driver = f"driver {here.gpu.driver or 'of unknown version'} for CUDA {_dots(here.gpu.cuda)}"
        fits = here.gpu.cuda[0] >= parse_version(sidecar.cuda)[0]
        rows.append(("cuda", f"CUDA {sidecar.cuda}", driver, fits))
    return rows


def _gpu_requirements(sidecar: Sidecar, gpu: Gpu) -> _Rows:
    found = gpu.compute_capability
    name = "compute_capability"
    if sidecar.product == "tensorrt-rtx":
        wanted = sidecar.compute_capabilities
        if wanted:
            return [(name, " or ".join(wanted), _dots(found), _dots(found) in wanted)]
        return [(name, f"{_dots(PORTABLE_FROM)} and later", _dots(found), found >= PORTABLE_FROM)]
    if sidecar.gpu is None:
        raise AssertionError("TensorRT builds on a GPU; `read` has checked it")
    built = sidecar.gpu.compute_capability
    if sidecar.hardware_compatibility == "ampere_plus":
        return [(name, f"{_dots(_AMPERE)} and later", _dots(found), found >= _AMPERE)]
    rows: _Rows = [(name, _dots(built), _dots(found), found == built)]
    if sidecar.hardware_compatibility == "none":
        rows.append(("gpu", sidecar.gpu.name, gpu.name, sidecar.gpu.name == gpu.name))
    return rows


def _version_fits(sidecar: Sidecar, version: str) -> bool:
    built, found = parse_version(sidecar.version), parse_version(version)
    if not sidecar.version_compatible:
        return built == found
    return built <= found and (built[0] == found[0] or (built[0], found[0]) in _CROSS_MAJOR)


def _dots(version: Sequence[int]) -> str:
    return ".".join(map(str, version))


# --- reading ---

_AGAIN = (
    "copy it again from where the engine was built, or build again: "
    "edgepose export MODEL.onnx --to engine"
)
# What JSON holds for each field; the spec, the GPU and the profiles are looked into.
_KINDS: dict[str, tuple[type, ...]] = {
    "schema": (int,),
    "edgepose": (str,),
    "product": (str,),
    "version": (str,),
    "cuda": (str, type(None)),
    "platform": (str,),
    "gpu": (dict, type(None)),
    "engine_sha256": (str,),
    "engine_bytes": (int,),
    "onnx": (str,),
    "onnx_sha256": (str,),
    "spec": (dict,),
    "precision": (str,),
    "profiles": (list,),
    "version_compatible": (bool,),
    "hardware_compatibility": (str,),
    "compute_capabilities": (list,),
    "dla_core": (int, type(None)),
    "options": (dict,),
    "layers": (dict, type(None)),
    "build": (dict,),
    "record": (dict, type(None)),
    "parity": (dict, type(None)),
    "digest": (str,),
}


def _from_dict(data: dict[str, Any], path: Path) -> Sidecar:
    def damaged(why: str) -> EngineError:
        return EngineError(f"{path} is damaged", why, _AGAIN)

    schema = data.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise EngineError(
            f"{path} is of a later format",
            f"its schema is {schema}, this edgepose knows {SCHEMA}",
            "pip install -U edgepose, or build the engine again with this one",
        )
    for name, kinds in _KINDS.items():
        if name not in data:
            raise damaged(f"its field '{name}' is missing")
        if type(data[name]) not in kinds:
            raise damaged(f"its field '{name}' is {data[name]!r:.80}")
    unknown = sorted(data.keys() - _KINDS.keys())
    if unknown:
        raise damaged(f"it has unknown fields: {', '.join(unknown)}")
    if data["digest"] != digest_of(data):
        raise EngineError(
            f"{path} was changed after the engine was built",
            "its fields do not give its digest",
            _AGAIN,
        )
    values = {f.name: data[f.name] for f in fields(Sidecar)}
    try:
        values["spec"] = PoseSpec.from_dict(data["spec"])
    except SpecError as error:
        raise damaged(f"its field 'spec' cannot be used: {error.what}, {error.why}") from error
    try:
        values["gpu"] = _gpu(data["gpu"])
        values["profiles"] = tuple(Profile(**entry) for entry in data["profiles"])
        values["compute_capabilities"] = tuple(data["compute_capabilities"])
        sidecar = Sidecar(**values)
        _check_values(sidecar)
    except (TypeError, ValueError) as error:
        raise damaged(str(error)) from error
    return sidecar


def _gpu(data: dict[str, Any] | None) -> Gpu | None:
    if data is None:
        return None
    pairs = {name: tuple(data.get(name, ())) for name in ("compute_capability", "cuda")}
    for name, pair in pairs.items():
        if [type(n) for n in pair] != [int, int]:
            raise ValueError(f"its field 'gpu' has as {name} {data.get(name)!r}")
    return Gpu(**(data | pairs))


def _check_values(sidecar: Sidecar) -> None:
    """Raise ValueError for a value that no builder writes."""
    choices = {
        "schema": (SCHEMA,),
        "product": get_args(Product),
        "precision": PRECISIONS,
        "hardware_compatibility": HARDWARE_LEVELS,
    }
    for name, allowed in choices.items():
        if getattr(sidecar, name) not in allowed:
            raise ValueError(f"its field '{name}' is {getattr(sidecar, name)!r}")
    parse_version(sidecar.version)
    if sidecar.cuda is not None:
        parse_version(sidecar.cuda)
    for name in ("engine_sha256", "onnx_sha256"):
        value = getattr(sidecar, name)
        if len(value) != 64 or set(value) - set("0123456789abcdef"):
            raise ValueError(f"its field '{name}' is no SHA-256")
    if sidecar.product == "tensorrt" and sidecar.gpu is None:
        raise ValueError("its field 'gpu' is missing, and TensorRT builds on one")
    for text in sidecar.compute_capabilities:
        if not isinstance(text, str):
            raise ValueError(f"its field 'compute_capabilities' holds {text!r}")
    if not sidecar.profiles:
        raise ValueError("its field 'profiles' is empty")
    for profile in sidecar.profiles:
        sizes = (profile.min, profile.opt, profile.max)
        if any(type(n) is not int for n in sizes) or not 1 <= sizes[0] <= sizes[1] <= sizes[2]:
            raise ValueError(f"its field 'profiles' holds {sizes}")
