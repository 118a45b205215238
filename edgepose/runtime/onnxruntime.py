"""Running an ONNX artefact with onnxruntime: the default everywhere, without torch or onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.closing import Closing
from edgepose.errors import DeviceError, GraphError, SpecError, require
from edgepose.spec import METADATA_KEY, PoseSpec

__all__ = ["OnnxRunner", "open_session"]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ELEMENT = {"float32": "tensor(float)", "float16": "tensor(float16)", "uint8": "tensor(uint8)"}


class OnnxRunner(Closing):
    """An ONNX file on one execution provider.

    Args:
        path: The ONNX file.
        spec: A spec for a graph that carries none; overrides the one inside otherwise. Outputs of
            such a graph may have any names: they are matched by their shapes.
        device: ``cpu`` or ``cuda``. Asked for and not in force is an error, never a fallback.
        threads: Threads inside one operator; onnxruntime's choice (all cores) by default.

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
    ) -> None:
        self.path = Path(path)
        self.device = device
        self._session = open_session(self.path, device, threads)
        self.spec = spec or _embedded_spec(self._session, self.path)
        self._outputs = _output_names(self._session, self.spec, foreign=spec is not None)
        fixed = _check_graph(self._session, self.spec, self.path, self._outputs)
        self.max_batch = fixed or 64
        self.buckets: tuple[int, ...] | None = None if fixed is None else (fixed,)
        self._input = self._session.get_inputs()[0].name
        self._threads = threads

    def infer(self, images: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """See :class:`edgepose.runtime.base.Runner`."""
        try:
            values = self._session.run(list(self._outputs), {self._input: images})
        except Exception as error:  # onnxruntime's own classes share no base but Exception
            raise GraphError(
                f"{self.path.name} failed on a batch of {len(images)}",
                str(error).strip().splitlines()[0],
            ) from error
        return dict(zip(self._outputs.values(), values, strict=True))

    def describe(self) -> dict[str, Any]:
        """See :class:`edgepose.runtime.base.Runner`."""
        import onnxruntime

        return {
            "runtime": "onnxruntime",
            "version": onnxruntime.__version__,
            "providers": self._session.get_providers(),
            "threads": self._threads or "default",
            "artefact": self.path.name,
            "input_dtype": self.spec.dtype,
        }

    def close(self) -> None:
        """Drop the session."""
        self._session = None


def open_session(path: Path, device: str, threads: int | None) -> Any:
    """An onnxruntime session on exactly that device. Raises as :class:`OnnxRunner` does."""
    ort = require("onnxruntime", "gpu" if device == "cuda" else None)
    if device not in _PROVIDERS:
        raise DeviceError(f"unknown device '{device}'", f"known are {', '.join(_PROVIDERS)}")
    provider = _PROVIDERS[device]
    if provider not in ort.get_available_providers():
        raise DeviceError(
            f"device '{device}' is not available",
            f"this onnxruntime {ort.__version__} offers {', '.join(ort.get_available_providers())}",
            "pip uninstall -y onnxruntime && "
            "pip install --force-reinstall --no-deps onnxruntime-gpu, or use --device cpu",
        )
    if not path.is_file():
        raise GraphError(f"there is no file {path}")
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only; warnings about unused initialisers help nobody
    # Threads may spin while a graph runs, not after it: else two sessions (a detector and a pose
    # net, two cameras) burn each other's cores; on two cores the pair takes 1.6 times as long.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads:
        options.intra_op_num_threads = threads
    try:
        session = ort.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        raise GraphError(
            f"onnxruntime cannot load {path}",
            str(error).strip().splitlines()[0],
            "export it again: edgepose export MODEL -o FILE.onnx",
        ) from error
    if session.get_providers()[0] != provider:
        raise DeviceError(
            f"device '{device}' is not in force",
            f"onnxruntime fell back to {', '.join(session.get_providers())}",
            "check the driver and CUDA libraries, or use --device cpu",
        )
    return session


def _embedded_spec(session: Any, path: Path) -> PoseSpec:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise SpecError(
            f"{path} carries no edgepose spec",
            f"its metadata has no '{METADATA_KEY}', so input size, normalisation and decoding "
            "are unknown",
            "give one with --spec FILE.toml",
        )
    return PoseSpec.from_json(text)


def _output_names(session: Any, spec: PoseSpec, *, foreign: bool) -> dict[str, str]:
    """Output of the graph -> the name the spec knows it by."""
    shapes = {o.name: list(o.shape) for o in session.get_outputs()}
    names = {name: name for name in shapes}
    wanted = _expected_outputs(spec)
    if foreign:
        for name in [n for n in wanted if n not in shapes]:
            fitting = [
                o for o in shapes if names[o] not in wanted and _fits(shapes[o], wanted[name])
            ]
            if fitting:
                names[fitting[0]] = name
    return names


def _fits(actual: list[Any], expected: list[int | None]) -> bool:
    """Whether a shape of a graph, symbols included, can be the expected one."""
    return len(actual) == len(expected) and all(
        not isinstance(a, int) or b is None or a == b for a, b in zip(actual, expected, strict=True)
    )


def _check_graph(session: Any, spec: PoseSpec, path: Path, names: dict[str, str]) -> int | None:
    """Hold the spec against the graph; returns its batch if that is fixed."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise SpecError(f"{path} has {len(inputs)} inputs", "a pose graph takes one")
    height, width = spec.input_size
    tail = [3, height, width] if spec.layout == "nchw" else [height, width, 3]
    shape = list(inputs[0].shape)
    if len(shape) != 4 or any(
        isinstance(a, int) and a != b for a, b in zip(shape[1:], tail, strict=False)
    ):
        raise SpecError(
            f"the spec contradicts the graph of {path}",
            f"the graph takes {shape}, the spec says [batch, {', '.join(map(str, tail))}]",
        )
    if inputs[0].type != _ELEMENT[spec.dtype]:
        raise SpecError(
            f"the spec contradicts the graph of {path}",
            f"the graph takes {inputs[0].type}, the spec says {spec.dtype}",
        )
    outputs = {names[o.name]: list(o.shape) for o in session.get_outputs()}
    for name, expected in _expected_outputs(spec).items():
        if name not in outputs:
            raise SpecError(
                f"the spec contradicts the graph of {path}",
                f"a {spec.output} model has an output '{name}', this graph has {list(outputs)}",
            )
        actual = outputs[name]
        if not _fits(actual, expected):
            raise SpecError(
                f"the spec contradicts the graph of {path}",
                f"output '{name}' is {actual}, the spec says "
                f"{['any' if v is None else v for v in expected]}",
            )
    return int(shape[0]) if isinstance(shape[0], int) else None


def _expected_outputs(spec: PoseSpec) -> dict[str, list[int | None]]:
    """Output name -> shape, None where any size will do."""
    k = len(spec.keypoints)
    if spec.output == "heatmap":
        return {"heatmaps": [None, k, None, None]}
    if spec.output == "keypoints":
        return {"keypoints": [None, k, 2], "scores": [None, k]}
    height, width = (int(np.rint(v * spec.decoder.split_ratio)) for v in spec.input_size)
    return {"simcc_x": [None, k, width], "simcc_y": [None, k, height]}
