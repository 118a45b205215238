"""The process that multiplies matrices for :mod:`edgepose.bench.cost.roof`.

One argument, a JSON object; one JSON object on standard output. It imports nothing of edgepose.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

SIZES = (192, 256, 384, 512, 1024, 2048)
GPU_SIZES = (2048, 4096, 8192)
# c = a @ b for FP32 matrices of any size, as an ONNX file: onnxruntime is on devices, onnx not.
MATMUL = (
    b'\x08\x07:I\n\x11\n\x01a\n\x01b\x12\x01c"\x06MatMul\x12\x01gZ\x0f\n\x01a\x12\n\n\x08\x08\x01'
    b"\x12\x04\n\x00\n\x00Z\x0f\n\x01b\x12\n\n\x08\x08\x01\x12\x04\n\x00\n\x00b\x0f\n\x01c\x12\n\n"
    b"\x08\x08\x01\x12\x04\n\x00\n\x00B\x04\n\x00\x10\r"
)


def main() -> None:
    """Measure what the argument asks for."""
    request = json.loads(sys.argv[1])
    # What libraries print goes to standard error.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    measure = on_cuda if request["device"] == "cuda" else on_cpu
    answer.write(json.dumps(measure(request)) + "\n")
    answer.close()


def on_cpu(request: dict[str, Any]) -> dict[str, Any]:
    """NumPy's BLAS and onnxruntime's own kernels; the faster is the roof."""
    import numpy as np

    random = np.random.default_rng(0)
    pairs = {n: random.random((2, n, n), dtype=np.float32) for n in SIZES}
    onnxruntime = onnxruntime_product(request["threads"])
    makers: dict[str, Callable[[Any, Any], Any]] = {"NumPy's BLAS": np.matmul}
    if onnxruntime is not None:
        makers["onnxruntime"] = onnxruntime
    found = {}
    for name, multiply in makers.items():
        share = request["seconds"] / len(makers)
        found[name] = best(partial(_product, multiply, pairs), SIZES, share)
    by = max(found, key=lambda name: found[name]["gflops"])
    others = {name: r["gflops"] for name, r in found.items() if name != by}
    return {**found[by], "device": "cpu", "by": by, "others": others}


def _product(multiply: Callable[[Any, Any], Any], pairs: Mapping[int, Any], size: int) -> Any:
    """Multiply the pair of that size."""
    return multiply(*pairs[size])


def onnxruntime_product(threads: int | None) -> Callable[[Any, Any], Any] | None:
    """``a @ b`` by onnxruntime; None where it is not installed."""
    try:
        ort = importlib.import_module("onnxruntime")
    except ImportError:
        return None
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.inter_op_num_threads = 1
    if threads:
        options.intra_op_num_threads = threads
    session = ort.InferenceSession(MATMUL, options, providers=["CPUExecutionProvider"])
    return lambda a, b: session.run(None, {"a": a, "b": b})


def on_cuda(request: dict[str, Any]) -> dict[str, Any]:
    """PyTorch's products, which are cuBLAS's."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return {"unavailable": "a GPU's roof is measured with PyTorch, which is not installed"}
    index = request["index"]
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        return {"unavailable": f"PyTorch {torch.__version__} sees no GPU {index}"}
    # Runtimes compute FP32 graphs this way, too.
    torch.backends.cuda.matmul.allow_tf32 = True
    dtype = torch.float16 if request["half"] else torch.float32
    where = torch.device("cuda", index)
    pairs = {n: torch.rand(2, n, n, device=where, dtype=dtype) for n in GPU_SIZES}

    def multiply(n: int) -> None:
        pairs[n][0] @ pairs[n][1]
        torch.cuda.synchronize(where)

    found = best(multiply, GPU_SIZES, request["seconds"])
    kind = "FP16" if request["half"] else "FP32 (TF32 where the GPU has it)"
    name = torch.cuda.get_device_name(index)
    return {**found, "device": "cuda", "kind": kind, "name": name}


def best(multiply: Callable[[int], object], sizes: tuple[int, ...], seconds: float) -> Any:
    """The highest speed of any call.

    The sizes take turns, each with an equal share of the time, so that a quiet moment of the
    machine meets all of them. One that alone would take its whole share is left out.
    """
    spent = dict.fromkeys(sizes, 0.0)
    took: dict[int, float] = {}
    for n in sizes:  # the first call of each sets up pools and memory
        if took and min(took[m] / m**3 for m in took) * n**3 > seconds / len(sizes):
            del spent[n]
            continue
        start = time.perf_counter()
        multiply(n)
        took[n] = time.perf_counter() - start
    calls = 0
    fastest, size = 0.0, 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        n = min(spent, key=lambda m: spent[m])
        start = time.perf_counter()
        multiply(n)
        elapsed = time.perf_counter() - start
        spent[n] += elapsed
        calls += 1
        if 2 * n**3 / elapsed > fastest:
            fastest, size = 2 * n**3 / elapsed, n
    described = ", ".join(str(n) for n in spent)
    return {"gflops": fastest / 1e9, "size": size, "calls": calls, "sizes": described}


if __name__ == "__main__":
    main()
