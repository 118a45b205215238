"""Every model of the registry through the whole export: does its graph find the model's poses?

Weights are random but seeded, and norms get their running statistics from real crops, so that the
activations are of realistic size (a fresh net's would be, too, but its residual branches are silent
and its maps flat: nothing could go wrong). For each model:

* export with parity on the packaged people, which also holds the graph to a free batch;
* every node against the tables of all targets, and what no TensorRT reads looked for by hand;
* with --engines, an engine by TensorRT-RTX, whose parser and builder run without a GPU.

    python benchmarks/registry_exports.py [NAME ...] [--engines] [--threads 2] [--json]

Small models first. About six minutes for all on two cores; the largest takes 12 GiB of memory.
Exit code 3 if a model fails.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from rich.console import Console
from torch import nn

from edgepose.bench import BenchRecord, load_average, slug
from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.engine import build_engine
from edgepose.errors import EdgeposeError
from edgepose.export import export_module
from edgepose.export.lint import TARGETS, lint, load, refusal
from edgepose.export.lint.rtx import parser_verdict
from edgepose.models import REGISTRY, build, spec_for
from edgepose.parity import Photo, sample_photos
from edgepose.spec import PoseSpec

SEED = 0
OPSET = 17  # the only one that every target reads
# Statistics of a 1x1 map from a few people would be far too narrow; beyond so many GMACs a handful
# must do, since their maps are larger.
WARM_UP_PEOPLE, WARM_UP_FEW, WARM_UP_GMACS = 12, 4, 10.0
JUDGED_PEOPLE = 4
_NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def by_size(names: list[str] | None = None) -> list[str]:
    """Registry names, the cheapest to run first."""
    return sorted(names or REGISTRY, key=lambda name: (REGISTRY[name].gmacs, name))


def warmed(name: str) -> tuple[nn.Module, PoseSpec]:
    """A registry model with random, seeded, lively weights, and its spec."""
    torch.manual_seed(SEED)
    module, spec = build(name), spec_for(name)
    random = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for layer in module.modules():
            for parameter_name, parameter in layer.named_parameters(recurse=False):
                _enliven(layer, parameter_name, parameter, random)
        norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # the plain mean over what they see
        module.train()
        few = REGISTRY[spec.model].gmacs > WARM_UP_GMACS
        module(torch.from_numpy(_crops(spec, WARM_UP_FEW if few else WARM_UP_PEOPLE)))
    return module.eval(), spec


def _enliven(layer: nn.Module, name: str, parameter: nn.Parameter, random: torch.Generator) -> None:
    if isinstance(layer, _NORMS):
        if name == "weight":
            parameter.uniform_(0.5, 1.5, generator=random)
        else:
            parameter.normal_(0, 0.3, generator=random)
    elif name == "bias":
        parameter.normal_(0, 0.1, generator=random)
    elif parameter.requires_grad and parameter.numel() > 1 and parameter.std() == 0:
        # Gains of GRN and LayerScale, which begin as one constant.
        parameter.copy_(torch.empty_like(parameter).uniform_(0.3, 0.7, generator=random))


def _crops(spec: PoseSpec, count: int) -> np.ndarray:
    crops = np.concatenate(
        [
            warp_crops(
                p.image, box_affines(p.boxes, spec.input_size, spec.padding), spec.input_size
            )
            for p in sample_photos()
        ]
    )
    return to_input(crops[:count], spec)


def few_people() -> list[Photo]:
    """The first packaged photos, with as many people as are judged."""
    photos: list[Photo] = []
    left = JUDGED_PEOPLE
    for photo in sample_photos():
        if left > 0:
            photos.append(Photo(photo.name, photo.image, photo.boxes[:left]))
            left -= len(photos[-1].boxes)
    return photos


def examine(name: str, folder: Path, *, engine: bool = False) -> dict[str, Any]:
    """One model: its row of the record.

    Raises:
        EdgeposeError: It cannot be exported, its graph holds what TensorRT cannot read, or finds
            other poses.
    """
    started = time.perf_counter()
    module, spec = warmed(name)
    result = export_module(module, spec, folder / f"{name}.onnx", few_people(), opset=OPSET)
    del module
    graph = load(result.path)
    operators = refuse_unreadable(graph)
    read_by = []
    for target in TARGETS.values():
        found = lint(graph, target)
        if not found:
            raise refusal(graph, found)
        read_by.append(target.name)
    parity = result.parity
    row: dict[str, Any] = {
        "name": name,
        "params": REGISTRY[name].params,
        "opset": result.opset,
        "nodes": result.nodes,
        "read_by": read_by,
        "operators": dict(sorted(operators.items())),
        "rewrites": {r.name: r.places for r in result.rewrites},
        "size_bytes": result.size_bytes,
        "people": parity.persons,
        "median_px": parity.median_px,
        "p99_px": parity.p99_px,
        "max_px": parity.max_px,
        "moved_share": parity.moved_share,
        "undecided": parity.undecided,
        "oks_min": parity.oks_min,
        "seconds": round(time.perf_counter() - started, 2),
    }
    if engine:
        verdict = parser_verdict(result.path)
        if not verdict.supported:
            raise EdgeposeError(f"{verdict.name} cannot read {name}", str(verdict.complaints[:3]))
        built = build_engine(result.path, folder / f"{name}.engine", product="tensorrt-rtx").sidecar
        row["engine"] = {"version": built.version, "size_bytes": built.engine_bytes, **built.build}
    return row


def refuse_unreadable(model: onnx.ModelProto) -> Counter[str]:
    """Operators of a graph, after a look for what TensorRT's parsers refuse.

    Raises:
        EdgeposeError: There is some.
    """
    for node in model.graph.node:
        second = node.op_type == "MaxPool" and len([o for o in node.output if o]) > 1
        if (
            second
            or node.op_type in ("MaxUnpool", "ScatterND")
            or node.domain not in ("", "ai.onnx")
        ):
            raise EdgeposeError(
                f"the graph holds {node.domain}::{node.op_type} '{node.name}'",
                f"outputs {list(node.output)}",
            )
    return Counter(node.op_type for node in model.graph.node)


def main() -> int:
    """Examine the models and write the record."""
    options = parse()
    torch.set_num_threads(options.threads)
    console = Console(stderr=True, highlight=False)
    before, rows, failures = load_average(), [], []
    for name in by_size(options.names):
        with tempfile.TemporaryDirectory() as folder:
            try:
                row = examine(name, Path(folder), engine=options.engines)
            except EdgeposeError as error:
                failures.append({"name": name, "error": str(error)})
                console.print(f"{name}: {error}", markup=False)
                continue
        rows.append(row)
        told = f"{name}: {row['nodes']} nodes, largest error {row['max_px']:.1e} px, "
        told += f"{row['seconds']:.0f} s"
        if "engine" in row:
            told += f", engine in {row['engine']['build_seconds']:.0f} s"
        console.print(told, markup=False)
    record = BenchRecord(
        kind="registry-exports",
        command=shlex.join(["python", "benchmarks/registry_exports.py", *sys.argv[1:]]),
        artefact=None,
        runner={"runtime": "onnxruntime", "version": onnxruntime.__version__},
        protocol={
            "weights": f"random, seed {SEED}; norms' statistics from {WARM_UP_PEOPLE} real crops, "
            f"{WARM_UP_FEW} above {WARM_UP_GMACS:g} GMACs",
            "people": JUDGED_PEOPLE,
            "threads": options.threads,
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "load_before": before,
            "load_after": load_average(),
            "failed": failures,
        },
        results=rows,
    )
    path = record.write(options.out / slug(record.environment))
    console.print(f"wrote {path}", soft_wrap=True)
    if options.json:
        sys.stdout.write(json.dumps(record.to_dict()) + "\n")
    return 3 if failures else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="models (all)")
    parser.add_argument("--engines", action="store_true", help="build TensorRT-RTX engines too")
    parser.add_argument("--threads", type=int, default=2, help="threads (2)")
    parser.add_argument("--json", action="store_true", help="print the record")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results", help="folder for the record"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
