"""The child process's side: ``python probe.py QUESTION`` prints one line of JSON.

A script and not a module, so that no program of the user's in the current folder can stand in for
what is asked about.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # where edgepose is, not this folder

import json
from dataclasses import asdict
from importlib import import_module
from typing import Any, Literal

from edgepose.doctor.asking import ANSWER, Answer
from edgepose.errors import EdgeposeError

# y = Identity(x), one number, operator set 13: what it takes to see whether a provider comes into
# force.
_IDENTITY = bytes.fromhex(
    "0807" "3a37" "0a10" "0a0178" "120179" "22084964656e74697479" "120167"
    "5a0f" "0a0178" "120a0a0808011204" "0a020801"
    "620f" "0a0179" "120a0a0808011204" "0a020801"
    "42040a00100d"
)  # fmt: skip
_PRODUCTS: dict[str, Literal["tensorrt", "tensorrt-rtx"]] = {
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt-rtx",
}
_NO_DEVICE = "AzureExecutionProvider"  # a service
_BUILD_LINES = ("GStreamer", "FFMPEG", "v4l/v4l2", "GUI", "GTK", "GTK+", "QT", "Win32 UI", "Cocoa")


def gpu() -> dict[str, Any]:
    """The first GPU and its driver."""
    from edgepose.trt.gpu import read_gpu

    return asdict(read_gpu())


def tensorrt() -> dict[str, Any]:
    """TensorRT, and what of it edgepose would use."""
    return _tensorrt("tensorrt")


def tensorrt_rtx() -> dict[str, Any]:
    """TensorRT-RTX, likewise."""
    return _tensorrt("tensorrt_rtx")


def _tensorrt(question: str) -> dict[str, Any]:
    from edgepose.trt.api import load

    found = load(_PRODUCTS[question])
    return {
        "version": found.version,
        "cuda": found.cuda,
        "strongly_typed": found.strongly_typed,
        "precision_flags": found.precision_flags,
        "progress": found.progress,
        "version_compatible": found.version_compatible,
    }


def pycuda() -> dict[str, Any]:
    """PyCUDA, with its driver part, which wants a driver."""
    version = import_module("pycuda").VERSION_TEXT
    import_module("pycuda.driver")
    return {"version": str(version)}


def cuda_bindings() -> dict[str, Any]:
    """NVIDIA's own bindings."""
    import_module("cuda.bindings.driver")
    import_module("cuda.bindings.runtime")
    return {"version": str(import_module("cuda.bindings").__version__)}


def onnxruntime() -> dict[str, Any]:
    """onnxruntime, its providers, and which of them come into force."""
    ort = import_module("onnxruntime")
    offered = [name for name in ort.get_available_providers() if name != _NO_DEVICE]
    if len(offered) > 1 and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA that came with pip lies where no loader looks
    return {
        "version": str(ort.__version__),
        "providers": {name: _provider_trouble(ort, name) for name in offered},
    }


def _provider_trouble(ort: Any, provider: str) -> list[str]:
    """Why a provider does not come into force, and what to do; nothing if it does."""
    from edgepose.runtime.providers import loader_words

    try:
        session = ort.InferenceSession(_IDENTITY, providers=[provider])
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        return [_words(error), ""]
    in_force = session.get_providers()
    if in_force[0] == provider:
        return []
    words, do = loader_words(provider, ort) or (None, None)  # what onnxruntime itself only logs
    return [_one_line(words or f"onnxruntime falls back to {', '.join(in_force)}"), do or ""]


def opencv() -> dict[str, Any]:
    """OpenCV, where it is from, and what it was built with."""
    cv2 = import_module("cv2")
    built = {}
    for line in cv2.getBuildInformation().splitlines():
        key, colon, value = line.strip().partition(":")
        if colon and key in _BUILD_LINES:
            built[key] = value.strip()
    return {"version": str(cv2.__version__), "file": str(cv2.__file__), "built": built}


QUESTIONS = {
    question.__name__: question
    for question in (gpu, tensorrt, tensorrt_rtx, pycuda, cuda_bindings, onnxruntime, opencv)
}


def answer(question: str) -> Answer:
    """The answer to a question. Never raises; but what it loads may kill the process."""
    try:
        return Answer(facts=QUESTIONS[question]())
    except EdgeposeError as error:
        text = f"{error.what}: {error.why}" if error.why else error.what
        return Answer(error=_one_line(text), hint=error.hint or "", absent=_absent(question))
    except ModuleNotFoundError as error:
        return Answer(error=_words(error), absent=question.split("_")[0] in str(error.name))
    except Exception as error:  # a broken package may raise anything
        return Answer(error=_words(error))


def _absent(question: str) -> bool:
    from edgepose.trt.api import installed

    return question in _PRODUCTS and not installed(_PRODUCTS[question])


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {_one_line(str(error))}"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 400 else line[:397] + "..."


if __name__ == "__main__":
    sys.stdout.write(f"\n{ANSWER}{json.dumps(asdict(answer(sys.argv[1])))}\n")
