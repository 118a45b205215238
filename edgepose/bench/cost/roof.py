"""The fastest this machine multiplies matrices: what the speed of a model is a share of.

Measured in a process of its own, with as many threads as the artefacts get, so that no library's
pool lives on in ours. The best of many short calls is taken: other work on the machine makes calls
slower, and never faster.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgepose.bench.cost.convention import CPU_ROOF, GPU_ROOF
from edgepose.parallel import thread_environment

__all__ = ["roof"]

_PROBE = Path(__file__).with_name("_gemm.py")
_SECONDS = 1.5
_LIMIT = 120  # of the process, imports and a cold GPU included


def roof(
    threads: int | None = None,
    device: str = "cpu",
    precision: str | None = None,
    seconds: float = _SECONDS,
) -> dict[str, Any]:
    """Measure it.

    Args:
        threads: Threads of a CPU; all cores by default.
        device: As a runner's, e.g. ``cpu``, ``cuda:1``, ``tensorrt``.
        precision: Of the artefact; a GPU's roof is one of FP32 or one of FP16.
        seconds: How long to measure.

    Returns:
        ``gflops`` (10^9 operations a second, two a multiply-add) and ``how`` in words; or
        ``unavailable``, the reason in words.
    """
    kind, _, index = device.partition(":")
    if kind == "cpu":
        request: dict[str, Any] = {"device": "cpu", "threads": threads, "seconds": seconds}
    elif kind in ("cuda", "tensorrt", "tensorrt-rtx"):
        half = precision not in (None, "fp32")
        request = {"device": "cuda", "index": int(index or 0), "half": half, "seconds": seconds}
    else:
        return {"unavailable": f"there is no probe for the device '{device}'"}
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, our own file
            [sys.executable, str(_PROBE), json.dumps(request)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
            # The probe's folder is full of modules that no library is to take for others.
            env={**thread_environment(threads), "PYTHONSAFEPATH": "1"},
        )
        found = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return {"unavailable": f"the probe gave no result ({type(error).__name__})"}
    if "unavailable" in found:
        return {"unavailable": str(found["unavailable"])}
    return {"gflops": round(found["gflops"], 1), "how": _words(found, threads)}


def _words(found: Mapping[str, Any], threads: int | None) -> str:
    sizes = str(found["sizes"]).split(", ")
    span = f"sizes {sizes[0]} … {sizes[-1]}" if len(sizes) > 1 else f"size {sizes[0]}"
    best = f"best of {found['calls']} products of {span}, reached at {found['size']}"
    if found["device"] == "cuda":
        return f"{GPU_ROOF}: {found['kind']} in PyTorch on {found['name']}, {best}."
    cores = "all cores" if threads is None else f"{threads} thread{'s' * (threads > 1)}"
    others = "".join(f"; {name}: {speed:.0f} GFLOP/s" for name, speed in found["others"].items())
    return f"{CPU_ROOF}: {found['by']} on {cores}, {best}{others}."
