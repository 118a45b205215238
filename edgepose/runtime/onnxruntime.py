"""Running an ONNX artefact with onnxruntime: the default everywhere, without torch or onnx."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edgepose.closing import Closing
from edgepose.errors import DeviceError, GraphError, SpecError, require
from edgepose.runtime.overriding import overridden
from edgepose.runtime.providers import (
    Setup,
    first_line,
    loader_words,
    parse_device,
    plugin_of,
    setup,
    unreadable,
)
from edgepose.runtime.signature import Port, Signature, match_outputs
from edgepose.spec import METADATA_KEY, PoseSpec

__all__ = ["OnnxRunner", "open_session"]

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
_ASSIGNMENT = "session.record_ep_graph_assignment_info"


class OnnxRunner(Closing):
    """An ONNX file on one execution provider.

    Args:
        path: The ONNX file.
        spec: A spec for a graph that carries none; overrides the one inside otherwise, but for its
            provenance. Outputs of such a graph may have any names: they are matched by their
            shapes.
        device: A row of :data:`edgepose.runtime.providers.DEVICES`, e.g. ``cpu``, ``cuda:1``.
            Asked for and not in force is an error, never a fallback.
        threads: Threads inside one operator; onnxruntime's choice (all cores) by default.
        provider_options: Options for the provider that win over edgepose's.

    Raises:
        GraphError: The file is missing, corrupt, or holds what onnxruntime cannot run.
        SpecError: No spec in the file and none given, or it contradicts the graph.
        DeviceError: The device is not available in this onnxruntime.
    """

    def __init__(
        self,
        path: str | Path,
        spec: PoseSpec | None = None,
        device: str = "cpu",
        threads: int | None = None,
        provider_options: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.device = device
        self._session, chosen = _open(self.path, device, threads, provider_options)
        self.spec = _spec(self._session, self.path, spec)
        signature = _signature(self._session)
        port = signature.check_input(self.spec, self.path)
        self._outputs = match_outputs(signature, self.spec, self.path, foreign=spec is not None)
        fixed = port.shape[0]
        self.max_batch = fixed or chosen.max_batch or 64
        self.buckets: tuple[int, ...] | None = None if fixed is None else (fixed,)
        self._input = port.name
        self._threads = threads
        self._options = chosen.options

    def infer(self, images: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """See :class:`edgepose.runtime.base.Runner`."""
        try:
            values = self._session.run(list(self._outputs), {self._input: images})
        except Exception as error:  # onnxruntime's own classes share no base but Exception
            raise GraphError(
                f"{self.path.name} failed on a batch of {len(images)}",
                first_line(error),
            ) from error
        return dict(zip(self._outputs.values(), values, strict=True))

    def describe(self) -> dict[str, Any]:
        """See :class:`edgepose.runtime.base.Runner`."""
        import onnxruntime

        facts = {
            "runtime": "onnxruntime",
            "version": onnxruntime.__version__,
            "device": self.device,
            "providers": self._session.get_providers(),
            "threads": self._threads or "default",
            "artefact": self.path.name,
            "input_dtype": self.spec.dtype,
        }
        if self._options:
            facts["provider_options"] = self._options
        nodes = None if self.device == "cpu" else _nodes_by_provider(self._session)
        return facts if nodes is None else facts | {"nodes": nodes}

    def close(self) -> None:
        """Drop the session."""
        self._session = None


def open_session(
    path: Path,
    device: str,
    threads: int | None,
    provider_options: Mapping[str, str] | None = None,
) -> Any:
    """An onnxruntime session on exactly that device. Raises as :class:`OnnxRunner` does."""
    return _open(path, device, threads, provider_options)[0]


def _open(
    path: Path,
    device: str,
    threads: int | None,
    provider_options: Mapping[str, str] | None,
) -> tuple[Any, Setup]:
    kind, _ = parse_device(device)
    ort = require("onnxruntime", "gpu" if kind in ("cuda", "tensorrt") else None)
    if not path.is_file():
        raise GraphError(f"there is no file {path}")
    chosen = setup(device, path, ort, threads, provider_options)
    if kind in ("cuda", "tensorrt") and hasattr(ort, "preload_dlls"):
        # Finds CUDA where pip installed it. Its words, which go to stdout, come again as the
        # loader's own if something is missing.
        with contextlib.redirect_stdout(None):
            ort.preload_dlls()
    session = _create(ort, path, device, chosen, _session_options(ort, threads))
    _check_in_force(session, ort, device, chosen)
    return session, chosen


def _session_options(ort: Any, threads: int | None) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only; warnings about unused initialisers help nobody
    # Threads may spin while a graph runs, not after it: else two sessions (a detector and a pose
    # net, two cameras) burn each other's cores; on two cores the pair takes 1.6 times as long.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # A thread that spins pauses for longer and longer, and so leaves more of the core to whoever
    # shares it (two threads of one core, on most PCs and servers).
    options.add_session_config_entry("session.intra_op.spin_backoff_max", "8")
    # Operators run one after the other, so that a pool for running them beside each other is idle.
    options.inter_op_num_threads = 1
    if threads:
        options.intra_op_num_threads = threads
    return options


def _create(ort: Any, path: Path, device: str, chosen: Setup, options: Any) -> Any:
    """A session that may yet lack its provider: onnxruntime does not always raise."""
    if not chosen.others:
        try:
            providers = [(chosen.provider, chosen.options)]
            return ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime's own classes share no base but Exception
            raise unreadable(path, error) from error
    options.add_session_config_entry(_ASSIGNMENT, "1")
    if chosen.provider == "DmlExecutionProvider":
        options.enable_mem_pattern = False  # it refuses sessions that have it
    try:
        if chosen.provider not in ort.get_available_providers():
            _add_plugin(ort, options, chosen)
            return ort.InferenceSession(str(path), options, enable_fallback=0)
        providers = [(chosen.provider, chosen.options), *((name, {}) for name in chosen.others)]
        return ort.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except DeviceError:
        raise
    except Exception as error:
        # Is it the file, or the device?
        try:
            ort.InferenceSession(
                str(path), _session_options(ort, 1), providers=["CPUExecutionProvider"]
            )
        except Exception as fault:
            raise unreadable(path, fault) from fault
        raise _not_in_force(ort, device, chosen, first_line(error)) from error


def _add_plugin(ort: Any, options: Any, chosen: Setup) -> None:
    """Register a provider that comes as a package of its own, and put its devices into options."""
    package = plugin_of(chosen.provider)
    if package is None:
        raise AssertionError("`setup` has looked for it")
    if chosen.provider not in {device.ep_name for device in ort.get_ep_devices()}:
        ort.register_execution_provider_library(chosen.provider, package.get_library_path())
    devices = [d for d in ort.get_ep_devices() if d.ep_name == chosen.provider]
    settings = dict(chosen.options)
    index = int(settings.pop("device_id", "0"))
    if index >= len(devices):
        raise DeviceError(
            f"there is no device {index} for {chosen.provider}",
            f"onnxruntime sees {len(devices)}",
            "check the driver: nvidia-smi",
        )
    options.add_provider_for_devices([devices[index]], settings)


def _check_in_force(session: Any, ort: Any, device: str, chosen: Setup) -> None:
    session.disable_fallback()
    if chosen.provider not in session.get_providers():
        raise _not_in_force(
            ort, device, chosen, f"onnxruntime fell back to {', '.join(session.get_providers())}"
        )
    if chosen.others:
        nodes = _nodes_by_provider(session)
        if nodes is not None and not nodes.get(chosen.provider):
            raise DeviceError(
                f"device '{device}' is not in force",
                f"{chosen.provider} took no node of this graph; they went to {', '.join(nodes)}",
                "use --device cpu",
            )


def _not_in_force(ort: Any, device: str, chosen: Setup, why: str) -> DeviceError:
    words = loader_words(chosen.provider, ort)
    hint = "see what is missing: edgepose doctor; or use --device cpu"
    if words is not None:
        why, hint = words[0], words[1] or hint
    return DeviceError(f"device '{device}' is not in force", why, hint)


def _nodes_by_provider(session: Any) -> dict[str, int] | None:
    """How many nodes of the graph each provider runs; None where onnxruntime (< 1.24) is mute."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    counts: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] += len(part.get_nodes())
    return dict(counts)


def _spec(session: Any, path: Path, given: PoseSpec | None) -> PoseSpec:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is not None:
        return overridden(PoseSpec.from_json(text), given)
    if given is None:
        raise SpecError(
            f"{path} carries no edgepose spec",
            f"its metadata has no '{METADATA_KEY}', so input size, normalisation and decoding "
            "are unknown",
            "give one with --spec FILE.toml",
        )
    return given


def _signature(session: Any) -> Signature:
    inputs, outputs = (
        [_port(p) for p in ports] for ports in (session.get_inputs(), session.get_outputs())
    )
    return Signature(inputs, outputs)


def _port(port: Any) -> Port:
    shape = tuple(n if isinstance(n, int) else None for n in port.shape)
    return Port(port.name, shape, _DTYPES.get(port.type, port.type))
