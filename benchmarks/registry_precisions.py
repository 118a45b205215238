"""Every model of the registry in FP32, FP16 and INT8: does it convert, agree and build?

For each model, with the random weights of `edgepose export --random-weights`:

* FP16 and INT8 graphs, each compared with the FP32 graph. Random weights find no poses, so tensors
  are judged: error relative to the range, and correlation;
* of each graph an engine by TensorRT-RTX, whose parser and builder run without a GPU: build time,
  size, layers. It says nothing about INT8 speed, nor about TensorRT's own builder.

    python benchmarks/registry_precisions.py --calib FOLDER [NAME ...] [--threads 2] [--json]

FOLDER holds people to calibrate on; 32 are drawn. Small models first, about an hour for all on two
cores. A record that is there already is completed: what it holds with the same versions is kept.
Exit code 3 if a model fails.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from rich.console import Console

from benchmarks.registry_exports import by_size, few_people
from edgepose.bench import BenchRecord, load_average, slug
from edgepose.engine import build_engine
from edgepose.errors import EdgeposeError
from edgepose.export import Conversion, ExportResult, export_file, export_module
from edgepose.models.pretrained import trained
from edgepose.parity import FP32

OPSET = 19
PEOPLE = 32
PRECISIONS = ("fp32", "fp16", "int8")


def examine(name: str, calib: Path, folder: Path) -> list[dict[str, Any]]:
    """One model: a row for each precision; a row that failed holds the error."""
    module, spec = trained(name, None, random_weights=True)
    plain = export_module(
        module,
        spec,
        folder / f"{name}.onnx",
        few_people(),
        opset=OPSET,
        limits=FP32.speed_only(),
    )
    del module
    rows = []
    for precision in PRECISIONS:
        row: dict[str, Any] = {"name": name, "precision": precision}
        started = time.perf_counter()
        try:
            result = plain if precision == "fp32" else converted(plain, precision, calib)
            row |= figures(result)
            built = build_engine(
                result.path, folder / f"{name}-{precision}.engine", product="tensorrt-rtx"
            ).sidecar
            row["engine"] = {
                "version": built.version,
                "size_bytes": built.engine_bytes,
                **built.build,
            }
        except EdgeposeError as error:
            row["error"] = str(error)
        rows.append(row | {"seconds": round(time.perf_counter() - started, 2)})
    return rows


def converted(plain: ExportResult, precision: Any, calib: Path) -> ExportResult:
    """The FP32 artefact in another precision.

    Raises:
        EdgeposeError: It cannot be converted, or computes something else.
    """
    how = Conversion(precision=precision, calibration=calib, crops=PEOPLE)
    return export_file(plain.path, how, target=None)


def figures(result: ExportResult) -> dict[str, Any]:
    """What an artefact is like."""
    kept = [] if result.conversion is None else result.conversion.kept
    return {
        "nodes": result.nodes,
        "size_bytes": result.size_bytes,
        "kept": len(kept),
        "people": result.parity.persons,
        "tensors": {
            t.name: {"p50": t.p50, "p99": t.p99, "correlation": t.correlation}
            for t in result.parity.tensors
        },
    }


def earlier(path: Path) -> list[dict[str, Any]]:
    """Rows without errors of a record that is there."""
    if not path.is_file():
        return []
    return [row for row in json.loads(path.read_text())["results"] if "error" not in row]


def main() -> int:
    """Examine the models and write the record after each."""
    options = parse()
    torch.set_num_threads(options.threads)
    console = Console(stderr=True, highlight=False)
    before = load_average()
    record = _record([], before)
    folder = options.out / slug(record.environment)
    rows = [r for r in earlier(folder / record.file_name) if r["precision"] in PRECISIONS]
    done = {row["name"] for row in rows if row["precision"] == PRECISIONS[-1]}
    rows = [row for row in rows if row["name"] in done]
    for name in [n for n in by_size(options.names) if n not in done]:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                found = examine(name, options.calib, Path(scratch))
            except EdgeposeError as error:
                found = [{"name": name, "precision": "fp32", "error": str(error)}]
        rows += found
        for row in found:
            console.print(_line(row), markup=False, soft_wrap=True)
        _record(rows, before).write(folder)
    path = _record(rows, before).write(folder)
    console.print(f"wrote {path}", soft_wrap=True)
    if options.json:
        sys.stdout.write(json.dumps(record.to_dict()) + "\n")
    return 3 if any("error" in row for row in rows) else 0


def _line(row: dict[str, Any]) -> str:
    said = f"{row['name']} {row['precision']}: "
    if "error" in row:
        return said + row["error"]
    worst = max(tensor["p99"] for tensor in row["tensors"].values())
    return said + (
        f"{row['size_bytes'] / 2**20:.1f} MiB, error {worst:.1e} of the range, engine "
        f"{row['engine']['size_bytes'] / 2**20:.1f} MiB, {row['seconds']:.0f} s"
    )


def _record(rows: list[dict[str, Any]], before: float | None) -> BenchRecord:
    return BenchRecord(
        kind="registry-precisions",
        command=shlex.join(["python", "benchmarks/registry_precisions.py", *sys.argv[1:]]),
        artefact=None,
        runner={"runtime": "onnxruntime", "version": onnxruntime.__version__},
        protocol={
            "weights": "random, as edgepose export --random-weights makes them",
            "opset": OPSET,
            "calibration": PEOPLE,
            "load_before": before,
            "load_after": load_average(),
            "failed": [f"{row['name']} {row['precision']}" for row in rows if "error" in row],
        },
        results=rows,
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="models (all)")
    parser.add_argument("--calib", type=Path, required=True, help="people to calibrate on")
    parser.add_argument("--threads", type=int, default=2, help="threads (2)")
    parser.add_argument("--json", action="store_true", help="print the record")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results", help="folder for the record"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
