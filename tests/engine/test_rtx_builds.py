"""The real builder of TensorRT-RTX, which needs no GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgepose.engine import BuildOptions, Profile, build_engine
from edgepose.errors import EngineError, GraphError, InputError
from edgepose.trt import sidecar
from edgepose.trt.api import installed
from edgepose.trt.gpu import find_gpu
from tests.engine.graphs import H, K, W, write
from tests.trt.engines import GPU

pytestmark = [
    pytest.mark.trt,
    pytest.mark.skipif(not installed("tensorrt-rtx"), reason='pip install "edgepose[rtx]"'),
]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_each_precision(precision: str, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    built = build_engine(
        write(tmp_path / "pose.onnx", precision),
        tmp_path / "pose.engine",
        BuildOptions(profiles=(Profile(1, 2, 8),)),
        progress=lambda *step: steps.append(step),
        product="tensorrt-rtx",
    )
    found = sidecar.read(built.path)
    assert found == built.sidecar
    assert found.precision == precision
    assert found.version.startswith("1.")
    assert found.buckets == (1, 2, 8)
    assert found.build["layers"] >= 4
    assert found.build["peak_bytes"] > 2**26
    here = sidecar.Here(
        product="tensorrt-rtx", version=found.version, gpu=GPU, platform="win32-amd64"
    )
    assert len(sidecar.check(found, built.path, here)) == built.path.stat().st_size
    # Its own monitor's phases, each to its end.
    lengths = {phase: of for phase, _, of in steps}
    assert len(lengths) > 8
    assert [s for s in steps if s[0] == "Building engine"][-1] == ("Building engine", 6, 6)


def test_options(tmp_path: Path) -> None:
    onnx_file = write(tmp_path / "pose.onnx", batch=2)
    options = BuildOptions(
        compute_capabilities=("7.5", "12.0"), workspace_mib=64, optimization_level=1, tf32=True
    )
    built = build_engine(onnx_file, tmp_path / "x.engine", options, product="tensorrt-rtx")
    assert built.sidecar.compute_capabilities == ("7.5", "12.0")
    assert built.sidecar.profiles == (Profile(2, 2, 2),)
    if find_gpu() is None:
        assert built.sidecar.gpu is None
        assert built.sidecar.layers is None
    here = sidecar.Here(
        product="tensorrt-rtx", version=built.sidecar.version, gpu=GPU, platform="linux-x86_64"
    )
    with pytest.raises(EngineError, match=r"7\.5 or 12\.0, this is 8\.9"):
        sidecar.check(built.sidecar, built.path, here)
    with pytest.raises(InputError, match=r"cannot build for 8\.7"):
        build_engine(
            onnx_file,
            tmp_path / "y.engine",
            BuildOptions(compute_capabilities=("8.7",)),
            product="tensorrt-rtx",
        )
    assert not (tmp_path / "y.engine").exists()


def test_weights_in_another_file(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="m.bin", size_threshold=16)
    weights = (tmp_path / "m.bin").stat().st_size
    assert weights >= K * 3 * 16 * 4
    built = build_engine(path, tmp_path / "m.engine", product="tensorrt-rtx")
    assert built.sidecar.engine_bytes > weights


def save(path: Path, nodes: list[onnx.NodeProto], **constants: list[int]) -> Path:
    """A graph of other nodes between the same input and output."""
    model = onnx.load(write(path))
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    for name, values in constants.items():
        tensor = numpy_helper.from_array(np.array(values, np.int64), name)
        model.graph.initializer.append(tensor)
    onnx.save(model, path)
    return path


def test_what_cannot_be_read(tmp_path: Path) -> None:
    square = {"starts": [0, 0], "ends": [48, 48], "axes": [2, 3]}
    path = save(
        tmp_path / "det.onnx",
        [
            helper.make_node("Slice", ["images", "starts", "ends", "axes"], ["square"]),
            helper.make_node("Det", ["square"], ["d"], "some(Module)/Det_1"),
            helper.make_node("Unsqueeze", ["d", "axes"], ["column"]),
            helper.make_node("Slice", ["column", "zero", "one", "one"], ["first"]),
            helper.make_node("Expand", ["first", "wide"], ["heatmaps"]),
        ],
        **square,
        zero=[0],
        one=[1],
        wide=[1, K, H // 4, W // 4],
    )
    with pytest.raises(GraphError, match=r"Det_1: [\s\S]*--target trt-rtx"):
        build_engine(path, tmp_path / "det.engine", product="tensorrt-rtx")


def test_what_is_read_and_cannot_be_built(tmp_path: Path) -> None:
    """TopK takes 3840 at most; the parser does not look, the builder does."""
    path = save(
        tmp_path / "x.onnx",
        [
            helper.make_node("Reshape", ["images", "flat"], ["row"]),
            helper.make_node("TopK", ["row", "k"], ["values", "at"], axis=1),
            helper.make_node("ReduceMean", ["values"], ["mean"], axes=[1]),
            helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
            helper.make_node("Expand", ["column", "wide"], ["heatmaps"]),
        ],
        flat=[0, 3 * H * W],
        k=[3841],
        last=[2, 3],
        wide=[1, K, H // 4, W // 4],
    )
    with pytest.raises(GraphError, match=r"cannot build an engine[\s\S]*3840"):
        build_engine(path, tmp_path / "x.engine", product="tensorrt-rtx")
    assert not (tmp_path / "x.engine").exists()
