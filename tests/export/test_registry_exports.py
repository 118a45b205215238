"""Nets of every kind through the whole export, and into an engine where TensorRT-RTX is installed.

Small ones first. The default is left to ``test_shipped``, which exports it with its real weights.

What passed is remembered by the digest of everything that could change it, so that only a change
of models, export or the packages below them costs the minutes again. ``--cache-clear`` forgets.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

import edgepose
from benchmarks import registry_exports
from edgepose import zoo
from edgepose.engine import build_engine
from edgepose.errors import EdgeposeError
from edgepose.export.lint import TARGETS
from edgepose.export.lint.rtx import installed
from edgepose.models import REGISTRY

DEFAULT = next(entry.model for entry in zoo.entries() if entry.default and entry.onnx is not None)


def nets() -> list[str]:
    """Of each kind the smallest net and the largest, the smallest ones first.

    Of those that differ in their input size alone, the smallest stands for all. The benchmark
    exports every one of them.
    """
    by_options: dict[tuple[object, ...], str] = {}
    for name in registry_exports.by_size():
        entry = REGISTRY[name]
        by_options.setdefault((entry.builder, *sorted(entry.options.items())), name)
    by_builder: dict[str, list[str]] = {}
    for name in by_options.values():
        by_builder.setdefault(REGISTRY[name].builder, []).append(name)
    ends = [name for kind in by_builder.values() for name in dict.fromkeys((kind[0], kind[-1]))]
    return registry_exports.by_size([name for name in ends if name != DEFAULT])


# Of a kind of graph each: what is rewritten in it, and what must then be gone.
REWRITTEN = {
    "mgil-w32-32": ["batchnorm", "conv-norm"],
    "vttranspose": ["twin", "conv-norm"],
}
GONE = {
    "mgil-w32-32": {"BatchNormalization"},
    "vttranspose": {"BatchNormalization", "Shape", "Mul"},
}


@pytest.fixture(scope="session")
def sources(repo_root: Path) -> str:
    """Digest of what an export depends on."""
    digest = hashlib.sha256()
    for package in ("torch", "onnx", "onnxscript", "onnxslim", "onnxruntime", "numpy"):
        digest.update(f"{package} {version(package)}\n".encode())
    digest.update(f"TensorRT-RTX: {installed()}\n".encode())
    package = Path(edgepose.__file__).parent
    parts = [
        "*.py",
        "models/**/*.py",
        "export/**/*.py",
        "engine/*.py",
        "trt/*.py",
        "runtime/*.py",
        "samples/*",
    ]
    files = [file for part in parts for file in package.glob(part) if file.is_file()]
    own = [Path(__file__), repo_root / "benchmarks" / "registry_exports.py"]
    for file in sorted([*files, *own]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("name", nets())
def test_it_exports_and_finds_the_same_poses(
    name: str, sources: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    cache, key = request.config.cache, f"edgepose/exports/{name}"
    assert cache is not None
    if cache.get(key, None) == sources:
        return
    torch.set_num_threads(2)
    row = registry_exports.examine(name, tmp_path, engine=installed())
    assert ("engine" in row) == installed()
    assert row["people"] == registry_exports.JUDGED_PEOPLE
    assert row["params"] == REGISTRY[name].params
    assert row["read_by"] == list(TARGETS)
    gone = {"Einsum", "Loop", "If", "Scan"} | GONE.get(name, set())
    assert not gone & row["operators"].keys()
    if name in REWRITTEN:
        assert list(row["rewrites"]) == REWRITTEN[name]
    cache.set(key, sources)


@pytest.mark.trt
def test_tensorrt_rtx_is_here_to_build_engines(tmp_path: Path) -> None:
    """Where it is not, the test above exports only, and this one says so."""
    if not installed():
        pytest.skip('no engines were built: TensorRT-RTX comes with pip install "edgepose[rtx]"')
    onnx_file = zoo.find("mitpose-lite").onnx
    assert onnx_file is not None
    built = build_engine(onnx_file, tmp_path / "x.engine", product="tensorrt-rtx")
    weights = sum(math.prod(tensor.dims) for tensor in onnx.load(onnx_file).graph.initializer)
    assert built.sidecar.engine_bytes > 3 * weights  # FP32 throughout
    assert built.sidecar.build["layers"] > 100


@pytest.mark.parametrize("name", ["mitpose-lite@64x48", "mgil-w32-32"])
def test_warmed_weights_are_lively_and_always_the_same(name: str) -> None:
    images = torch.zeros(1, 3, *registry_exports.spec_for(name).input_size)
    outputs = []
    for _ in range(2):
        module, _ = registry_exports.warmed(name)
        with torch.no_grad():
            outputs.append(module(images))
    for key, value in outputs[0].items():
        assert torch.equal(value, outputs[1][key])
        assert value.std() > 1e-4


@pytest.mark.parametrize(
    ("operator", "outputs", "domain"),
    [("MaxPool", ["y", "i"], ""), ("ScatterND", ["y"], ""), ("Fused", ["y"], "com.microsoft")],
)
def test_what_no_parser_reads_is_refused(
    operator: str, outputs: Sequence[str], domain: str
) -> None:
    def graph(*nodes: onnx.NodeProto) -> onnx.ModelProto:
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
        return helper.make_model(helper.make_graph(nodes, "g", [value], [value]))

    fine = helper.make_node("MaxPool", ["x"], ["y"])
    assert registry_exports.refuse_unreadable(graph(fine, fine)) == {"MaxPool": 2}
    with pytest.raises(EdgeposeError, match=operator):
        registry_exports.refuse_unreadable(
            graph(fine, helper.make_node(operator, ["x"], outputs, "n", domain=domain))
        )
