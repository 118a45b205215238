"""Records of measurements that nobody made, on a board that nobody builds, to test reports with.

The figures hang together as real ones do: percentiles and ratios are computed from the samples by
the functions that compute the real ones.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from edgepose.bench.record import ArtefactRecord
from edgepose.bench.statistics import paired_ratio, summary
from edgepose.spec import COCO_KEYPOINTS, DecoderSpec, PoseSpec

BATCHES = (1, 4, 8, 16)
ROUNDS, CALLS = 12, 10
LABEL = "AP on the edgepose hold-out (528 persons, GT boxes, flip {flip})"
NOTE = (
    "measured on 300 of 5000 photos, those of the edgepose hold-out: these weights were trained on "
    "photos of the usual validation set"
)

ENVIRONMENT: dict[str, Any] = {
    "hardware": {
        "board": None,
        "cpu": "Example CPU E1 (made up)",
        "architecture": "x86_64",
        "cores": 2,
        "usable_cores": 2,
        "memory_gib": 8.0,
        "governor": "schedutil",
        "gpu": None,
    },
    "stack": {
        "edgepose": "0.1.0",
        "python": "3.11.7",
        "system": "Linux 6.1.0-example",
        "packages": {"numpy": "2.4.6", "onnxruntime": "1.31.1", "torch": "2.13.0+cpu"},
    },
}

# label, format, precision, network ms a person, AP, MiB of the file, MiB of work, keypoint shift
CONTENDERS: tuple[tuple[str, str, str, float, float, float, float, float], ...] = (
    ("example-lite", "torch", "fp32", 14.2, 62.31, 6.4, 96.0, 0.0),
    ("models/example-lite.onnx", "onnx", "fp32", 7.9, 62.31, 6.5, 41.0, 0.004),
    ("models/example-lite-fp16.onnx", "onnx", "fp16", 9.1, 62.27, 3.4, 47.0, 0.05),
    ("models/example-lite-int8.onnx", "onnx", "int8", 4.6, 60.9, 2.1, 30.0, 0.8),
    ("models/example-large.onnx", "onnx", "fp32", 31.0, 68.74, 28.0, 120.0, 2.6),
)


def records(count: int = 5, **changes: Any) -> list[ArtefactRecord]:
    """The first ``count`` contenders, measured together; ``changes`` go into each record."""
    chosen = CONTENDERS[:count]
    samples = [_samples(row, seed) for seed, row in enumerate(chosen)]
    together = [row[0] for row in chosen]
    return [
        _record(row, index, samples[index], samples[0], together, changes)
        for index, row in enumerate(chosen)
    ]


def only(record: ArtefactRecord, **sections: Any) -> ArtefactRecord:
    """The record with these sections and no others."""
    none = dict.fromkeys(("latency", "memory", "cost", "power", "accuracy", "parity"))
    return dataclasses.replace(record, **(none | sections))


def failed(label: str = "models/broken.onnx", **changes: Any) -> ArtefactRecord:
    """An artefact that could not be opened."""
    values: dict[str, Any] = {
        "command": "edgepose bench models/broken.onnx",
        "created": "2031-05-04T12:00:00+00:00",
        "run": "0123456789abcdef",
        "label": label,
        "status": "failed",
        "failures": [
            {
                "section": "open",
                "what": f"cannot load {label}",
                "why": "it is truncated after 4096 bytes",
                "hint": "copy it again",
            }
        ],
        "artefact": {
            "name": label,
            "format": "onnx",
            "file": "broken.onnx",
            "sha256": "f" * 64,
            "bytes": 4096,
            "precision": None,
            "model": None,
            "spec": None,
            "random_weights": False,
            "made": None,
        },
        "runner": None,
        "conditions": None,
        "environment": ENVIRONMENT,
    }
    return ArtefactRecord(**(values | changes))


def _samples(row: tuple[Any, ...], seed: int) -> dict[tuple[str, int], Any]:
    """(stage, batch) -> (rounds, calls) of milliseconds, with a tail and a common drift."""
    network_ms = row[3]
    random = np.random.default_rng(seed)
    drift = 1 + 0.02 * np.sin(np.arange(ROUNDS))[:, None]
    found = {}
    for batch in BATCHES:
        gain = 0.72 + 0.28 / batch
        for stage, extra in (("network", 0.0), ("frame", 0.35)):
            base = batch * (network_ms * gain + extra)
            noise = random.gamma(2.0, 0.012, (ROUNDS, CALLS)) + 0.1 * (
                random.random((ROUNDS, CALLS)) > 0.97
            )
            found[stage, batch] = base * drift * (1 + noise)
    return found


def _record(
    row: tuple[Any, ...],
    index: int,
    samples: dict[tuple[str, int], Any],
    reference: dict[tuple[str, int], Any],
    together: list[str],
    changes: dict[str, Any],
) -> ArtefactRecord:
    label, form, precision, _, _, file_mib, _, _ = row
    name = label.rpartition("/")[2]
    values: dict[str, Any] = {
        "command": f"edgepose bench {' '.join(together)} --coco data/coco --html",
        "created": "2031-05-04T12:00:00+00:00",
        "run": "0123456789abcdef",
        "label": label,
        "status": "complete",
        "failures": [],
        "artefact": {
            "name": label,
            "format": form,
            "file": name if form == "onnx" else None,
            "sha256": f"{index + 1:064x}",
            "bytes": int(file_mib * 2**20),
            "precision": precision,
            "model": name.partition(".")[0],
            "spec": PoseSpec(
                model="example-lite",
                input_size=(128, 96),
                output="heatmap",
                decoder=DecoderSpec(name="dark"),
                keypoints=COCO_KEYPOINTS,
            ).to_dict(),
            "random_weights": False,
            "made": None,
        },
        "runner": {
            "runtime": "torch" if form == "torch" else "onnxruntime",
            "version": "2.13.0+cpu" if form == "torch" else "1.31.1",
            "device": "cpu",
            "threads": 2,
        },
        "environment": ENVIRONMENT,
        "conditions": _conditions(),
        "latency": _latency(samples, None if index == 0 else (together[0], reference), together),
        "memory": _memory(row),
        "cost": _cost(row, samples),
        "power": {
            "unavailable": "power is not readable here, because no meter tells it: RAPL: ...",
            "tried": [
                {"meter": "RAPL", "why": "/sys/class/powercap holds no package domain"},
                {"meter": "NVML", "why": "libnvidia-ml.so.1 is not installed"},
            ],
        },
        "accuracy": _accuracy(row),
        "parity": None if index == 0 else _parity(row, together[0], index),
    }
    return ArtefactRecord(**(values | changes))


def _conditions() -> dict[str, Any]:
    def snapshot(mhz: float, celsius: float) -> dict[str, Any]:
        return {
            "cpu": [
                {"core": core, "mhz": mhz + core, "max_mhz": 3400, "governor": "schedutil"}
                for core in range(2)
            ],
            "temperatures": {"package": celsius},
            "load": 0.21,
        }

    return {
        "before": snapshot(3380, 41.0),
        "after": snapshot(3391, 63.5),
        "throttled": [],
        "unread": ["throttle counters: this kernel has no thermal_throttle folder"],
        "threads": 2,
        "affinity": [0, 1],
        "niceness": 0,
        "load_before": 0.21,
        "load_after": 1.93,
    }


def _latency(
    samples: dict[tuple[str, int], Any],
    against: tuple[str, dict[tuple[str, int], Any]] | None,
    together: list[str],
) -> dict[str, Any]:
    cells = [
        {
            "stage": stage,
            "batch": batch,
            "milliseconds": summary(times),
            "persons_per_second": round(1000 * batch / float(np.median(times)), 2),
            "warmup_calls": 24,
            "stable": True,
            "samples_ms": [[round(float(v), 4) for v in visit] for visit in times],
        }
        for (stage, batch), times in samples.items()
    ]
    ratios = []
    if against is not None:
        for (stage, batch), times in samples.items():
            found = paired_ratio(times, against[1][stage, batch], draws=200)
            ratios.append(
                {
                    "stage": stage,
                    "batch": batch,
                    "ratio": round(found.value, 4),
                    "interval_95": found.interval and [round(end, 4) for end in found.interval],
                }
            )
    return {
        "protocol": {
            "schedule": {"rounds": ROUNDS, "calls": CALLS, "pause_s": 0.05},
            "scene": "2 packaged photos, 8 persons",
            "together": together,
            "stages": {
                "network": "the prepared batch goes in, raw outputs come out, both in host memory",
                "frame": "image and boxes go in, keypoints come out: crop, infer, decode",
            },
        },
        "import_ms": 412.0,
        "load_ms": 81.5,
        "first_ms": 22.4,
        "cells": cells,
        "against": against and {"reference": against[0], "ratios": ratios},
    }


def _memory(row: tuple[Any, ...]) -> dict[str, Any]:
    _, form, _, _, _, file_mib, work_mib, _ = row
    baseline = (310 if form == "torch" else 92) * 2**20
    loaded = baseline + int(file_mib * 1.9 * 2**20)
    peaks = [loaded + int(work_mib * (0.4 + 0.6 * batch / 16) * 2**20) for batch in BATCHES]
    return {
        "how": "VmHWM of the artefact's own process",
        "baseline_bytes": baseline,
        "loaded_bytes": loaded,
        "by_batch": [
            {"batch": batch, "peak_bytes": peak, "growth_bytes": peak - loaded}
            for batch, peak in zip(BATCHES, peaks, strict=True)
        ],
        "peak_bytes": peaks[-1],
        "pss_bytes": int(peaks[-1] * 0.93),
        "gpu": {"unavailable": "no NVIDIA GPU"},
        "shared": None,
        "file_bytes": int(file_mib * 2**20),
    }


def _cost(row: tuple[Any, ...], samples: dict[tuple[str, int], Any]) -> dict[str, Any]:
    large = row[3] > 20
    gmacs = 1.92 if large else 0.44
    share = np.array([5, 9, 14, 21, 18, 15, 10, 8])
    layers = [
        {
            "name": f"/stages.{stage}/blocks.{block}/conv/Conv",
            "op": "Conv",
            "shape": [1, 32 * 2**stage, 32 >> stage, 24 >> stage],
            "macs": int(gmacs * 1e9 * share[stage * 2 + block % 2] / 100 / 5),
            "params": 1000 * (stage + 1) * (block + 1),
            "module": f"stages.{stage}.blocks.{block}.conv",
        }
        for stage in range(4)
        for block in range(10)
    ]
    achieved = []
    for batch in BATCHES:
        gflops = 2 * gmacs * batch / float(np.median(samples["network", batch])) * 1000
        achieved.append(
            {"batch": batch, "gflops": round(gflops, 1), "share": round(gflops / 168, 4)}
        )
    return {
        "convention": "multiply-adds of convolutions and matrix products; 1 GMAC is 2 GFLOP",
        "gmacs": gmacs,
        "params": 6_900_000 if large else 1_620_000,
        "activation_peak_bytes": 5_300_000,
        "layers": layers,
        "counted_on": "torch" if row[1] == "torch" else "onnx",
        "torch_gmacs": gmacs,
        "roof": {"gflops": 168.0, "how": "FP32 matrix product of 1024, 2 threads"},
        "achieved": achieved,
    }


def _accuracy(row: tuple[Any, ...]) -> list[dict[str, Any]]:
    found = []
    for flip, gain in ((False, 0.0), (True, 0.9)):
        ap = row[4] + gain
        found.append(
            {
                "label": LABEL.format(flip="on" if flip else "off"),
                "metrics": {
                    "ap": ap,
                    "ap50": ap + 22,
                    "ap75": ap + 4,
                    "ap_medium": ap - 3,
                    "ap_large": ap + 5,
                    "ar": ap + 3.4,
                    "ar50": ap + 24,
                    "ar75": ap + 7,
                    "ar_medium": ap - 1,
                    "ar_large": None,
                },
                "protocol": {
                    "set": "the edgepose hold-out",
                    "persons": 528,
                    "images": 300,
                    "boxes": "ground truth",
                    "flip": flip,
                    "nms": None,
                    "ranking": "mean of keypoint scores above 0.2",
                    "annotations_sha256": "a" * 64,
                    "note": NOTE,
                },
                "joint_similarity": [0.8] * 16 + [None],
                "seconds": 31.5,
            }
        )
    return found


def _parity(row: tuple[Any, ...], reference: str, index: int) -> dict[str, Any]:
    shift = row[7]
    parts = []
    for flip in (False, True):
        difference = row[4] - CONTENDERS[0][4]
        spread = 0.05 + 0.25 * shift
        parts.append(
            {
                "flip": flip,
                "ap_difference": {
                    "value": round(difference, 3),
                    "interval_95": [
                        round(difference - spread, 3),
                        round(difference + 0.9 * spread, 3),
                    ],
                    "draws": 1000,
                    "seed": 0,
                },
                "shift_px": {
                    "unit": "image px",
                    "median": shift,
                    "p90": shift * 3,
                    "p99": shift * 9,
                    "max": shift * 40,
                    "share_over_1px_input": min(0.01 * shift, 1.0),
                    "per_joint": [
                        {
                            "joint": joint,
                            "median": round(shift * (1 + 0.06 * place), 4),
                            "p95": round(shift * (4 + 0.4 * place), 4),
                        }
                        for place, joint in enumerate(COCO_KEYPOINTS.names)
                    ],
                },
                "oks_between": {"mean": 1 - shift / 40, "p1": 1 - shift / 8, "min": 1 - shift / 4},
            }
        )
    return {
        "reference": reference,
        "by_protocol": parts,
        "worst": [
            {
                "image": f"{place:012d}.jpg",
                "person": place,
                "shift_px": round(shift * (30 - 5 * place), 2),
                "oks": round(max(0.0, 1 - shift / (3 + place)), 4),
                "picture": f"worst-{index}-{place}.jpg",
            }
            for place in range(3)
        ],
    }
