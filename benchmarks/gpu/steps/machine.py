"""What this machine is, and all that is and is not installed on it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from benchmarks.gpu.child import Tell
from benchmarks.gpu.workers import clean_environment
from edgepose import doctor
from edgepose.doctor.asking import ask_child
from edgepose.trt.gpu import read_gpu

__all__ = ["run"]

# Asked of another interpreter, which may have none of our packages.
_OTHER = """
import importlib.metadata as m, json, platform, sys
found = {d.metadata["Name"]: d.version for d in m.distributions()}
print(json.dumps({"python": platform.python_version(), "executable": sys.executable, "packages": found}))
"""  # noqa: E501
_WORDS = (
    "cuda", "cudnn", "cublas", "edgepose", "numpy", "nvidia", "onnx", "opencv", "pycocotools",
    "pycuda", "pytest", "tensorrt", "torch", "triton",
)  # fmt: skip


def run(task: Mapping[str, Any], tell: Tell) -> None:
    """Find out and tell."""
    found: dict[str, Any] = {"gpu": asdict(read_gpu())}
    found["nvidia_smi"] = _nvidia_smi()
    found["python"] = {"version": platform.python_version(), "executable": sys.executable}
    found["packages"] = _relevant(
        {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    )
    tell.found(found)
    for question in ("tensorrt", "tensorrt_rtx", "pycuda", "cuda_bindings", "onnxruntime"):
        tell.say(f"asking for {question}")
        answer = ask_child(question)
        found[question] = answer.facts or f"not here, because {answer.error}"
        tell.found(found)
    for name, python in task["contenders"].get("pythons", {}).items():
        found[f"python for {name}"] = _other(python)
    found["doctor"] = doctor.examine(asked="tensorrt").to_dict()
    tell.found(found)


def _relevant(packages: Mapping[str, str]) -> dict[str, str]:
    return {n: v for n, v in sorted(packages.items()) if any(w in n.lower() for w in _WORDS)}


def _nvidia_smi() -> list[str] | str:
    """Name, driver, clocks and temperature as the driver's tool tells them."""
    query = "name,driver_version,pstate,clocks.sm,clocks.mem,clocks.max.sm,power.limit,memory.total"
    query += ",memory.used,temperature.gpu,compute_mode"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        return f"not here, because {error}"
    return done.stdout.strip().splitlines()


def _other(python: str) -> Any:
    command = [python, "-c", _OTHER]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=30, env=clean_environment()
        )
        answer = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"not here, because {error}"
    return answer | {"packages": _relevant(answer["packages"])}
