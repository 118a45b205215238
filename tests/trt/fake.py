"""TensorRT without TensorRT: modules that have exactly the names of one real version.

``names/VERSION.json`` lists what the real bindings have (``scripts/trt_names`` wrote it). A fake
class has just those members, with their parameters: anything else raises AttributeError or
TypeError, as it would there. Those that edgepose uses also do something: the parser reads the ONNX
file, the builder makes an "engine" of it, and a context runs that with onnxruntime on the addresses
it was given, so that builder and runtime can be driven from end to end on the CPU.

    fake = make("10.3.0")                  # or make("rtx-1.7.1.116"), make("8.6.0", gpu=False)
    fake.install(monkeypatch)              # edgepose.trt.load() now finds it
    fake.calls                             # [("Builder.create_network", (2,)), ...]

For a child process: ``write_package(folder, version, ...)`` and ``folder`` on PYTHONPATH.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import signal
import sys
import textwrap
import time
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

NAMES = Path(__file__).parent / "names"
VERSIONS = ("8.6.0", "10.3.0", "10.13.3.9", "10.16.1.11", "11.4.0.106", "rtx-1.7.1.116")
TENSORRT = tuple(v for v in VERSIONS if not v.startswith("rtx"))

_NOTHING = object()
_MAGIC = b"fake engine\n"
_DTYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
    "UINT8": np.uint8,
}
# Of onnx.TensorProto.
_ONNX_TYPES = {1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "HALF"}
_LAYERS = {
    "Cast": "CAST",
    "Constant": "CONSTANT",
    "Conv": "CONVOLUTION",
    "DequantizeLinear": "DEQUANTIZE",
    "LayerNormalization": "NORMALIZATION",
    "MatMul": "MATRIX_MULTIPLY",
    "QuantizeLinear": "QUANTIZE",
    "ReduceMean": "REDUCE",
    "Shape": "SHAPE",
    "Softmax": "SOFTMAX",
    "Sqrt": "UNARY",
}


@cache
def table(version: str) -> dict[str, Any]:
    """The names of one version."""
    loaded: dict[str, Any] = json.loads((NAMES / f"{version}.json").read_text())
    return loaded


class Fake:
    """A fake module and the knobs of its world.

    Attributes:
        module: The module.
        product: ``tensorrt`` or ``tensorrt-rtx``.
        calls: Every call and every property set, in order: ("Class.member", arguments).
        gpu: Whether there is one; without, Builder (not that of TensorRT-RTX) and Runtime fail as
            the real ones do.
        dla_cores: Of the GPU.
        refuse: Text that the builder logs as an error, giving no engine; None to build.
        parser_refuses: Text of an error that the parser has about the first node; None to parse.
        kill: Signal that the process sends itself in the middle of a build; 0 for none.
        seconds: Time that a build takes.
        refuse_enqueue: Text that the next run logs as an error, doing nothing; None to run.
        enqueue: Called as enqueue(stream handle, work) with what a context has to do; None to do it
            at once. ``work()`` does it, ``work.valid()`` tells whether the context is unchanged.
        infers_types: Whether a network knows the types that no layer states; a weakly typed one may
            call them all FLOAT.
        host_address: From an address that a context was given to one that this process can read.
        trace: File to which every call is appended as a line of JSON, for a child process.
    """

    def __init__(self, version: str, **knobs: Any) -> None:
        self.table = table(version)
        self.product = "tensorrt-rtx" if version.startswith("rtx") else "tensorrt"
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.gpu = True
        self.dla_cores = 0
        self.refuse: str | None = None
        self.parser_refuses: str | None = None
        self.kill = 0
        self.seconds = 0.0
        self.refuse_enqueue: str | None = None
        self.enqueue: Callable[[int, Work], None] | None = None
        self.trace: str | None = None
        self.infers_types = True
        self.host_address: Callable[[int], int] = lambda address: address
        for name, value in knobs.items():
            if not hasattr(self, name):
                raise TypeError(f"no knob '{name}'")
            setattr(self, name, value)
        self.module = _module(self)

    def install(self, monkeypatch: Any) -> Fake:
        """Be what ``edgepose.trt.load`` finds, in this process."""
        from edgepose.trt import api

        monkeypatch.setattr(api, "_loaded", {})
        monkeypatch.setattr(
            api, "_MODULES", {p: () for p in api._MODULES} | {self.product: (self.module.__name__,)}
        )
        monkeypatch.setitem(sys.modules, self.module.__name__, self.module)
        return self

    def record(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.calls.append((name, arguments))
        if self.trace:
            with Path(self.trace).open("a") as file:
                file.write(json.dumps([name, [_plain(a) for a in arguments]]) + "\n")

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of every call of one name."""
        return [arguments for called, arguments in self.calls if called == name]


def make(version: str, **knobs: Any) -> Fake:
    """A fake of one version; see :class:`Fake` for the knobs."""
    return Fake(version, **knobs)


def write_package(folder: Path, version: str, **knobs: Any) -> Path:
    """A folder from which a child process imports the fake as its TensorRT.

    Put it and the repository's root at the front of PYTHONPATH.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = table(version)["module"]
    (folder / f"{name}.py").write_text(
        textwrap.dedent(f"""
            import sys
            from tests.trt.fake import make
            sys.modules[__name__] = make({version!r}, **{knobs!r}).module
        """)
    )
    return folder


# --- machinery: classes from a table ---


class FakeEnum:
    """A member of a pybind11 enum: a name, a number, no arithmetic."""

    def __init__(self, kind: str, name: str, value: int) -> None:
        self._kind, self.name, self.value = kind, name, value

    def __int__(self) -> int:
        return self.value

    __index__ = __int__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FakeEnum) and (self._kind, self.value) == (
            other._kind,
            other.value,
        )

    def __hash__(self) -> int:
        return hash((self._kind, self.value))

    def __repr__(self) -> str:
        return f"<{self._kind}.{self.name}: {self.value}>"


class Dims:
    """A shape as TensorRT gives it: a sequence, but no tuple."""

    def __init__(self, sizes: Any) -> None:
        self._sizes = tuple(int(n) for n in sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: Any) -> Any:
        return self._sizes[index]

    def __repr__(self) -> str:
        return repr(self._sizes)


def _module(fake: Fake) -> types.ModuleType:
    names = fake.table
    module = types.ModuleType(names["module"])
    module.__dict__["__version__"] = names["version"]
    nested = []
    for name, members in names["enums"].items():
        kind = type(name.rpartition(".")[2], (), {})
        values = {
            member: FakeEnum(name, member, value)
            for member, value in sorted(members.items(), key=lambda m: m[1])
        }
        kind.__members__ = values  # type: ignore[attr-defined]
        for member, value in values.items():
            setattr(kind, member, value)
        outer, dot, inner = name.partition(".")
        if dot:
            nested.append((outer, inner, kind))
        else:
            setattr(module, name, kind)
    made: dict[str, type] = {}

    def build(name: str) -> type:
        if name not in made:
            base = names["classes"][name]["base"]
            parent = build(base) if base in names["classes"] else None
            made[name] = _class(fake, name, names["classes"][name], parent)
        return made[name]

    for name in names["classes"]:
        setattr(module, name, build(name))
    for outer, inner, kind in nested:
        setattr(made[outer], inner, kind)
        for alias, path in names["classes"][outer].get("values", {}).items():
            if path.startswith(f"{inner}."):
                setattr(made[outer], alias, getattr(kind, path.partition(".")[2]))
    for name, overloads in names["functions"].items():
        setattr(module, name, _method(fake, f"{names['module']}.{name}", overloads, None, False))
    for name, path in names["values"].items():
        kind, _, member = path.partition(".")
        setattr(module, name, getattr(getattr(module, kind), member))
    # What the packages' own __init__ adds to the extension.
    module.Logger.Severity = module.ILogger.Severity
    for member, value in module.ILogger.Severity.__members__.items():
        setattr(module.Logger, member, value)
    return module


def _class(fake: Fake, name: str, entry: dict[str, Any], parent: type | None) -> type:
    behaviour = _BEHAVIOURS.get(name)
    space: dict[str, Any] = {"_fake": fake}
    own = dict(vars(behaviour)) if behaviour else {}
    for key, value in own.items():
        if key.startswith("_") and key not in ("__dict__", "__weakref__", "__module__", "__doc__"):
            space[key] = value
    for method, overloads in entry["methods"].items():
        impl = own.get(method)
        space[method] = _method(fake, f"{name}.{method}", overloads, impl, True)
    for text in entry["properties"]:
        attribute = text.removesuffix("=")
        space[attribute] = _property(
            fake, name, attribute, text.endswith("="), own.get(attribute, _NOTHING)
        )
    if parent is None:
        space["__setattr__"] = _refuse_unknown
    if entry["new"]:
        start = own.get("__init__")
        space["__init__"] = _method(fake, name, entry["new"], start, True, default=True)
    base: tuple[type, ...] = (parent,) if parent else ()
    if name == "IHostMemory":
        base = (bytes,)  # for the buffer protocol
    made = type(name, base, space)
    made._mine = made  # type: ignore[attr-defined]
    return made


def _refuse_unknown(self: Any, name: str, value: Any) -> None:
    """As a pybind11 object: only what the class knows can be set; a Python subclass may more."""
    known = isinstance(getattr(type(self), name, None), property)
    if not known and type(self) is type(self)._mine and not name.startswith("_"):
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
    object.__setattr__(self, name, value)


def _method(
    fake: Fake,
    label: str,
    overloads: list[list[str]],
    impl: Callable[..., Any] | None,
    bound: bool,
    *,
    default: bool = False,
) -> Callable[..., Any]:
    """A function that takes what the real one takes, records the call, and does ``impl``."""

    def call(*args: Any, **kwargs: Any) -> Any:
        given = args[1:] if bound else args
        if overloads and not any(_takes(names, given, kwargs) for names in overloads):
            raise TypeError(
                f"{label}(): incompatible function arguments; it takes {overloads}, "
                f"not {len(given)} and {sorted(kwargs)}"
            )
        fake.record(label, (*given, *kwargs.values()))
        if impl is None:
            if default:
                return None
            raise NotImplementedError(f"the fake does nothing for {label}; write it")
        return impl(*args, **kwargs)

    call.__name__ = label.rpartition(".")[2]
    return call


def _takes(names: list[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    plain = [name.removesuffix("=") for name in names]
    left = names[len(args) :]
    return (
        len(args) <= len(names)
        and all(key in plain[len(args) :] for key in kwargs)
        and all(name.endswith("=") or name in kwargs for name in left)
    )


def _property(fake: Fake, owner: str, name: str, writable: bool, given: Any) -> property:
    key = f"_p_{name}"

    def get(self: Any) -> Any:
        if isinstance(given, property) and given.fget is not None:
            return given.fget(self)
        if key in self.__dict__:
            return self.__dict__[key]
        if given is not _NOTHING:
            return given
        raise NotImplementedError(f"the fake has no value for {owner}.{name}; give it one")

    def put(self: Any, value: Any) -> None:
        fake.record(f"{owner}.{name}=", (value,))
        self.__dict__[key] = value

    return property(get, put if writable else None)


def _plain(value: Any) -> Any:
    if isinstance(value, FakeEnum):
        return value.name
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return type(value).__name__


def _log(obj: Any, severity: str, text: str) -> None:
    logger = obj.__dict__["_logger"]
    logger.log(getattr(obj._fake.module.ILogger.Severity, severity), text)


# --- behaviour: the superset of what the versions do; a class gets what its version has ---


class ILogger:
    pass


class Logger:
    def __init__(self, min_severity: Any = None) -> None:
        self._min = min_severity

    def log(self, severity: Any, msg: str) -> None:
        pass


class Builder:
    def __init__(self, logger: Any) -> None:
        self._logger = logger
        if not self._fake.gpu and self._fake.product == "tensorrt":
            _log(
                self,
                "INTERNAL_ERROR",
                "CUDA initialization failure with error: 35. Please check your CUDA installation",
            )
            raise TypeError("pybind11::init(): factory function returned nullptr")

    platform_has_fast_fp16 = True
    platform_has_fast_int8 = True
    platform_has_tf32 = True

    @property
    def num_DLA_cores(self) -> int:
        return self._fake.dla_cores

    @property
    def logger(self) -> Any:
        return self.__dict__["_logger"]

    def create_network(self, flags: int = 0) -> Any:
        if self._fake.table["version"].startswith("8.") and not flags & 1:
            raise AssertionError("8.x makes an implicit batch network of this")
        network = _new(self, "INetworkDefinition")
        network._inputs, network._outputs, network._layers = [], [], []
        network._flags = flags
        return network

    def create_builder_config(self) -> Any:
        config = _new(self, "IBuilderConfig")
        config._profiles, config._flags, config._timing_cache = [], set(), None
        config._compute, config._pools = [], {}
        return config

    def create_optimization_profile(self) -> Any:
        profile = _new(self, "IOptimizationProfile")
        profile._shapes = {}
        return profile

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        fake = self._fake
        monitor = config.__dict__.get("_p_progress_monitor")
        _log(self, "INFO", "Building")
        if monitor is not None:
            monitor.phase_start("Building", None, 2)
            monitor.phase_start("Timing", "Building", 2)
        sys.stdout.write("native code writes where it likes\n")
        sys.stdout.flush()
        if fake.kill:
            os.kill(os.getpid(), fake.kill)
            signal.pause()
        end = time.monotonic() + fake.seconds
        while time.monotonic() < end:
            time.sleep(0.01)
            if monitor is not None and not monitor.step_complete("Timing", 0):
                return None
        if monitor is not None:
            monitor.step_complete("Timing", 1)
            monitor.phase_finish("Timing")
            monitor.step_complete("Building", 1)
            monitor.phase_finish("Building")
        if fake.refuse:
            _log(self, "ERROR", fake.refuse)
            return None
        content = {
            "version": fake.table["version"],
            "product": fake.product,
            "profiles": config._profiles,
            "flags": sorted(config._flags),
            "model": network._model.hex(),
            "inputs": [t._description() for t in network._inputs],
            "outputs": [t._description() for t in network._outputs],
            "layers": [_inspected(layer) for layer in network._layers],
        }
        return _memory(self, _MAGIC + json.dumps(content).encode())


class IHostMemory:
    @property
    def nbytes(self) -> int:
        return len(self)  # type: ignore[arg-type]


class INetworkDefinition:
    name = "fake"

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_input(self, index: int) -> Any:
        return self._inputs[index]

    def get_output(self, index: int) -> Any:
        return self._outputs[index]

    def get_layer(self, index: int) -> Any:
        return self._layers[index]


class ITensor:
    is_shape_tensor = False
    is_execution_tensor = True

    @property
    def shape(self) -> Dims:
        return Dims(self._shape)

    @property
    def dtype(self) -> Any:
        return self._dtype

    @property
    def name(self) -> str:
        return self._name

    def _description(self) -> dict[str, Any]:
        return {"name": self._name, "dtype": self._dtype.name, "shape": list(self._shape)}


class ILayer:
    @property
    def name(self) -> str:
        return self._name

    @property
    def type(self) -> Any:
        return self._type

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    def get_input(self, index: int) -> Any:
        return self._inputs[index]

    def get_output(self, index: int) -> Any:
        return self._outputs[index]

    def set_output_type(self, index: int, dtype: Any) -> None:
        self.__dict__.setdefault("_output_types", {})[index] = dtype


class OnnxParser:
    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self._logger, self._errors = network, logger, []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._errors[index]

    def set_flag(self, flag: Any) -> None:
        pass

    def parse(self, model: Any, path: str | None = None) -> bool:
        return self._parsed(bytes(model))

    def parse_from_file(self, model: str) -> bool:
        return self._parsed(Path(model).read_bytes())

    def _parsed(self, data: bytes) -> bool:
        import onnx
        from onnx import shape_inference

        try:
            graph = shape_inference.infer_shapes(onnx.load_from_string(data)).graph
        except Exception as error:  # protobuf's own
            self._complain(f"ModelImporter: {error}", "", "")
            return False
        if not graph.node:
            self._complain("Failed to parse the ONNX model.", "", "")
            return False
        if self._fake.parser_refuses:
            node = graph.node[0]
            self._complain(self._fake.parser_refuses, node.name, node.op_type)
            return False
        tensors: dict[str, Any] = {}
        for value in [*graph.input, *graph.output, *graph.value_info]:
            tensors[value.name] = _tensor(self, value)
        for constant in graph.initializer:
            kind = _ONNX_TYPES[constant.data_type]
            tensors[constant.name] = _new(
                self, "ITensor", _name=constant.name, _shape=tuple(constant.dims), _dtype=kind
            )
        for tensor in tensors.values():
            if isinstance(tensor._dtype, str):
                tensor._dtype = getattr(self._fake.module.DataType, tensor._dtype)
        network = self._network
        network._model = data
        network._inputs = [tensors[v.name] for v in graph.input]
        network._outputs = [tensors[v.name] for v in graph.output]
        kinds = self._fake.module.LayerType.__members__
        for node in graph.node:
            kind = _LAYERS.get(node.op_type, "ELEMENTWISE")
            layer = _new(
                self,
                "ILayer",
                _name=node.name or node.op_type,
                _type=kinds.get(kind, kinds["ELEMENTWISE"]),
                _inputs=[tensors.get(name) for name in node.input],
                _outputs=[tensors[name] for name in node.output if name in tensors],
            )
            network._layers.append(layer)
            stated = kind in ("CAST", "CONSTANT", "QUANTIZE", "DEQUANTIZE")
            if not self._fake.infers_types and not stated:
                for tensor in layer._outputs:
                    tensor._dtype = self._fake.module.DataType.FLOAT
        return True

    def _complain(self, text: str, name: str, operator: str) -> None:
        error = _new(self, "ParserError", _text=text, _name=name, _operator=operator)
        self._errors.append(error)
        _log(self, "ERROR", text)


class ParserError:
    def desc(self) -> str:
        return self._text

    def node(self) -> int:
        return 0 if self._name else -1

    def node_name(self) -> str:
        return self._name

    def node_operator(self) -> str:
        return self._operator

    def code(self) -> Any:
        return self._fake.module.ErrorCode.INVALID_NODE


class IBuilderConfig:
    builder_optimization_level = 3
    progress_monitor = None
    num_optimization_profiles = property(lambda self: len(self._profiles))

    @property
    def num_compute_capabilities(self) -> int:
        return len(self._compute)

    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(profile._shapes)
        return len(self._profiles) - 1

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(flag.name)

    def get_flag(self, flag: Any) -> bool:
        return flag.name in self._flags

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool.name] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        return self._pools.get(pool.name, 1 << 30)

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        return True

    def get_tactic_sources(self) -> int:
        sources = self._fake.module.TacticSource.__members__.values()
        return sum(1 << int(source) for source in sources)

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        return _new(self, "ITimingCache", _data=bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if cache._data.startswith(b"bad"):
            return False
        self._timing_cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._timing_cache

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        self._compute.append(compute_capability.name)
        return True


class ITimingCache:
    def serialize(self) -> Any:
        return _memory(self, self._data + b"+timed")


class IOptimizationProfile:
    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._shapes[input] = [list(min), list(opt), list(max)]

    def get_shape(self, input: str) -> Any:
        return [Dims(shape) for shape in self._shapes[input]]


class IProgressMonitor:
    def __init__(self) -> None:
        pass


class Runtime:
    engine_host_code_allowed = False
    DLA_core = -1

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        if not self._fake.gpu:
            _log(self, "INTERNAL_ERROR", "CUDA initialization failure with error: 35")
            if self._fake.product == "tensorrt":
                raise TypeError("pybind11::init(): factory function returned nullptr")

    @property
    def logger(self) -> Any:
        return self.__dict__["_logger"]

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        data = bytes(serialized_engine)
        if not self._fake.gpu:
            _log(self, "ERROR", "IRuntime::deserializeCudaEngine: Error Code 35")
            return None
        try:
            content = json.loads(data.removeprefix(_MAGIC)) if data.startswith(_MAGIC) else None
        except ValueError:
            content = None
        if content is None:
            _log(self, "ERROR", "IRuntime::deserializeCudaEngine: Error Code 1: Serialization")
            return None
        version = self._fake.table["version"]
        if content["version"] != version and not (
            "VERSION_COMPATIBLE" in content["flags"] and self.engine_host_code_allowed
        ):
            _log(
                self,
                "ERROR",
                "The engine plan file is not compatible with this version of TensorRT, expecting "
                f"library version {content['version']} got {version}",
            )
            return None
        engine = _new(self, "ICudaEngine", _content=content, _logger=self._logger)
        engine._tensors = {
            t["name"]: (t, mode)
            for mode, side in (("INPUT", "inputs"), ("OUTPUT", "outputs"))
            for t in content[side]
        }
        return engine


class ICudaEngine:
    name = "fake"
    num_aux_streams = 0
    refittable = False

    @property
    def device_memory_size(self) -> int:
        return 4096

    @property
    def device_memory_size_v2(self) -> int:
        return 4096

    @property
    def num_layers(self) -> int:
        return len(self._content["layers"])

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._content["profiles"])

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return getattr(self._fake.module.TensorIOMode, self._tensors[name][1])

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(self._fake.module.DataType, self._tensors[name][0]["dtype"])

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(self._tensors[name][0]["shape"])

    def get_tensor_location(self, name: str) -> Any:
        return self._fake.module.TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Any:
        profile = self._content["profiles"][profile_index]
        fixed = [self._tensors[name][0]["shape"]] * 3
        return [Dims(shape) for shape in profile.get(name, fixed)]

    def create_execution_context(self, *given: Any) -> Any:
        context = _new(self, "IExecutionContext", _logger=self._logger)
        context._engine, context._shapes, context._addresses = self, {}, {}
        context._profile, context._changes = 0, 0
        how = getattr(given[0], "_strategy", given[0]) if given else None
        context._scratch = 0 if how is not None and how.name == "USER_MANAGED" else None
        return context

    def create_runtime_config(self) -> Any:
        return _new(self, "IRuntimeConfig", _strategy=None)

    def create_engine_inspector(self) -> Any:
        return _new(self, "EngineInspector", _engine=self)


class EngineInspector:
    def get_engine_information(self, format: Any) -> str:
        assert format.name == "JSON"
        return json.dumps({"Layers": self._engine._content["layers"], "Bindings": []})


class IRuntimeConfig:
    cuda_graph_strategy = None

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self._strategy = strategy


class Work:
    """What a context puts into a stream: its shapes and addresses are those of now."""

    def __init__(self, context: Any) -> None:
        self._context, self._changes = context, context._changes
        tensors = context._engine._tensors
        self._views = {name: context._view(name) for name in tensors}
        self._inputs = [name for name, (_, mode) in tensors.items() if mode == "INPUT"]

    def valid(self) -> bool:
        return self._changes == self._context._changes

    def __call__(self) -> None:
        session = _session(self._context._engine._content["model"])
        feeds = {name: np.array(self._views[name]) for name in self._inputs}
        names = [output.name for output in session.get_outputs()]
        for name, value in zip(names, session.run(names, feeds), strict=True):
            self._views[name][...] = value


class IExecutionContext:
    """Runs with onnxruntime, at once: the fake's stream does everything when it is told to."""

    name = "fake"

    @property
    def engine(self) -> Any:
        return self._engine

    @property
    def active_optimization_profile(self) -> int:
        return self._profile

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._profile = profile_index
        self._changes += 1
        self._shapes.clear()
        return 0 <= profile_index < self._engine.num_optimization_profiles

    def set_input_shape(self, name: str, shape: Any) -> bool:
        low, _, high = self._engine.get_tensor_profile_shape(name, self._profile)
        fits = len(shape) == len(low) and all(
            a <= b <= c for a, b, c in zip(low, shape, high, strict=True)
        )
        if not fits:
            _log(self, "ERROR", f"setInputShape: {tuple(shape)} is outside the profile")
            return False
        self._shapes[name] = tuple(shape)
        self._changes += 1
        return True

    def get_tensor_shape(self, name: str) -> Dims:
        description, mode = self._engine._tensors[name]
        if mode == "INPUT":
            return Dims(self._shapes.get(name, description["shape"]))
        batch = next((s[0] for s in self._shapes.values()), -1)
        return Dims([batch if n < 0 else n for n in description["shape"]])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine._tensors:
            _log(self, "ERROR", f"setTensorAddress: no tensor {name}")
            return False
        self._addresses[name] = int(memory)
        self._changes += 1
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def infer_shapes(self) -> list[str]:
        return [
            n
            for n, (_, m) in self._engine._tensors.items()
            if m == "INPUT" and n not in self._shapes
        ]

    def execute_async_v3(self, stream_handle: int) -> bool:
        tensors = self._engine._tensors
        missing = [name for name in tensors if not self._addresses.get(name)]
        if missing:
            _log(self, "ERROR", f"enqueueV3: no address for {missing}")
            return False
        if self._scratch is not None and self._scratch < self._engine.device_memory_size_v2:
            _log(self, "ERROR", "enqueueV3: no device memory")
            return False
        if self._fake.refuse_enqueue:
            text, self._fake.refuse_enqueue = self._fake.refuse_enqueue, None
            _log(self, "ERROR", text)
            return False
        work = Work(self)
        if self._fake.enqueue is None:
            work()
        else:
            self._fake.enqueue(stream_handle, work)
        return True

    def set_device_memory(self, memory: int, size: int) -> None:
        self._scratch = size if memory else 0

    def _view(self, name: str) -> np.ndarray:
        """The memory at a tensor's address, which the fake's world keeps on the host."""
        shape = tuple(self.get_tensor_shape(name))
        dtype = np.dtype(_DTYPES[self._engine._tensors[name][0]["dtype"]])
        size = int(np.prod(shape)) * dtype.itemsize
        raw = (ctypes.c_uint8 * size).from_address(self._fake.host_address(self._addresses[name]))
        return np.frombuffer(raw, dtype).reshape(shape)


@cache
def _session(model: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        bytes.fromhex(model), options, providers=["CPUExecutionProvider"]
    )


def _new(owner: Any, name: str, **values: Any) -> Any:
    """An instance of a class that the library makes itself."""
    made = object.__new__(getattr(owner._fake.module, name))
    made.__dict__.update({"_logger": owner.__dict__.get("_logger")} | values)
    return made


def _memory(owner: Any, data: bytes) -> Any:
    return owner._fake.module.IHostMemory(data)


def _tensor(owner: Any, value: Any) -> Any:
    kind = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
    return _new(
        owner, "ITensor", _name=value.name, _shape=shape, _dtype=_ONNX_TYPES[kind.elem_type]
    )


def _inspected(layer: Any) -> dict[str, Any]:
    formats = {"FLOAT": "Row major linear FP32", "HALF": "Row major linear FP16 format"}
    formats["INT8"] = "Row major Int8 format"

    def side(tensors: list[Any]) -> list[dict[str, Any]]:
        return [
            {"Name": t._name, "Format/Datatype": formats.get(t._dtype.name, t._dtype.name)}
            for t in tensors
            if t is not None
        ]

    inputs = side(layer._inputs)
    return {
        "Name": layer._name,
        "LayerType": layer._type.name.title(),
        "Inputs": inputs,
        "Outputs": side(layer._outputs),
    }


_BEHAVIOURS: dict[str, type] = {
    kind.__name__: kind
    for kind in list(globals().values())
    if inspect.isclass(kind) and kind.__module__ == __name__ and kind not in (Fake, FakeEnum, Dims)
}
