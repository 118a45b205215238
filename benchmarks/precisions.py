"""What FP16 and INT8 cost a shipped model, and what they bring, on onnxruntime's CPU.

The model is exported in FP32 and converted to FP16 and to INT8 (Q/DQ as onnxruntime wants them),
calibrated on FOLDER. On the people of a COCO-format folder with ground-truth boxes, flip test off
and on:

* AP and AR of each, and by how much AP drops against FP32. onnxruntime computes FP16 in FP32 on a
  CPU, so FP16 is measured with every value rounded (`rounded`); hardware may round less;
* how far keypoints move: median, 99th percentile, OKS; of those that more than rounding decides;
* time of INT8 over FP32 in shuffled rounds, batch 1 and 8, on one thread and on all cores.

    python benchmarks/precisions.py NAME --calib FOLDER --coco DIR [--json]

FOLDER and DIR must not share photos: calibrate on training crops, measure on the hold-out. About
three minutes for mitpose-lite at 128x96 on two cores; times want an idle machine.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnx
from rich.console import Console

from edgepose.bench import BenchRecord, load_average, slug
from edgepose.bench.speed import compare_speed
from edgepose.estimator import Estimator
from edgepose.evaluate import CocoKeypoints, evaluate_protocols
from edgepose.export import Conversion, ExportResult, export_file, export_model
from edgepose.export.precision.rounding import with_rounding
from edgepose.parity import FP16, INT8, Parity, ParityLimits, compare, folder_photos
from edgepose.runtime.onnxruntime import OnnxRunner

BATCHES = (1, 8)
THREADS = (1, None)
EVERYBODY = 10**6


def main() -> int:
    """Measure, print and write the record."""
    options = parse()
    console = Console(stderr=True, highlight=False)
    before = load_average()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        console.print("exporting", soft_wrap=True)
        plain = export_model(options.name, out=folder / "fp32.onnx")
        rows = [accuracy(plain.path, options.coco) | size(plain)]
        for precision, limits in (("fp16", FP16), ("int8", INT8)):
            console.print(f"converting to {precision}", soft_wrap=True)
            rows.append(row(plain, precision, limits, options))
        name = plain.spec.model
    record = BenchRecord(
        kind="precisions",
        command=shlex.join(["python", "benchmarks/precisions.py", *sys.argv[1:]]),
        artefact={"name": name, "sha256": plain.sha256, "spec": plain.spec.to_dict()},
        runner=rows[0].pop("runner"),
        protocol={
            "metric": "COCO keypoint AP and AR by pycocotools, percent, ground-truth boxes",
            "load_before": before,
            "load_after": load_average(),
        },
        results=rows,
    )
    path = record.write(options.out / slug(record.environment))
    console.print(f"wrote {path}", soft_wrap=True)
    if options.json:
        sys.stdout.write(json.dumps(record.to_dict()) + "\n")
    return 0


def row(
    plain: ExportResult, precision: Any, limits: ParityLimits, options: argparse.Namespace
) -> dict[str, Any]:
    """One precision beside FP32."""
    int8 = precision == "int8"
    how = Conversion(
        precision=precision, form="onnxruntime", calibration=options.calib if int8 else None
    )
    made = export_file(plain.path, how)
    judged = made.path
    if precision == "fp16":
        judged = made.path.with_name("rounded.onnx")
        onnx.save(with_rounding(onnx.load(made.path)), judged)
    figures = accuracy(judged, options.coco) | size(made)
    figures.pop("runner")
    figures["rounded"] = precision == "fp16"
    figures["shift"] = shift(plain.path, judged, options.coco, limits)
    if int8 and made.conversion is not None:
        figures["calibration"] = made.conversion.calibration
        figures["speed"] = [
            compare_speed(made.path, plain.path, batch, threads).to_dict()
            for threads in THREADS
            for batch in BATCHES
        ]
    return figures


def accuracy(file: Path, coco: Path) -> dict[str, Any]:
    """AP and AR of an artefact."""
    with Estimator(OnnxRunner(file)) as estimator:
        data = CocoKeypoints.load(coco)
        results = [r.to_dict() for r in evaluate_protocols(estimator, data, (False, True))]
        return {"results": results, "runner": estimator.runner.describe()}


def size(result: ExportResult) -> dict[str, Any]:
    """What it is, and how large."""
    return {"precision": result.precision, "bytes": result.size_bytes, "nodes": result.nodes}


def shift(plain: Path, other: Path, coco: Path, limits: ParityLimits) -> dict[str, Any]:
    """How far the same people's keypoints move, in pixels of the network's input."""
    photos = folder_photos(coco, EVERYBODY)
    with OnnxRunner(plain) as before, OnnxRunner(other) as after:
        parity: Parity = compare(before, after, photos, limits)
    figures = parity.to_dict()
    return {key: value for key, value in figures.items() if key != "limits"}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME", help="a model with weights in the zoo")
    parser.add_argument("--calib", type=Path, required=True, help="people to calibrate on")
    parser.add_argument("--coco", type=Path, required=True, help="people to measure on")
    parser.add_argument("--json", action="store_true", help="print the record")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results", help="folder for the record"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
