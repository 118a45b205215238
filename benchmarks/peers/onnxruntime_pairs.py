"""edgepose and the bare loops that one writes around onnxruntime, on the same ONNX files.

edgepose  Estimator: cut, normalise, run, decode, map back, with all its checks
loop      warpAffine, normalise in FP32, session.run, one person at a time; nothing is decoded
batch     the same, but all people in one session.run

    python benchmarks/peers/onnxruntime_pairs.py NETWORKS [--only rtmpose-t] [--rounds 30]

The loops do less than edgepose does: they are what its comfort is measured against, and promise
nothing. NETWORKS is a folder made by networks.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.peers.networks import NETWORKS, network_file
from benchmarks.peers.pipelines import (
    OURS,
    Pipeline,
    Stopwatch,
    edgepose_pipeline,
    key,
    measure_shares,
)
from benchmarks.peers.session import Session, session_options
from edgepose.bench.pairs import Pair, judge
from edgepose.errors import EdgeposeError
from edgepose.poses import Float32, UInt8
from edgepose.spec import PoseSpec

LOOP, BATCH = "loop", "batch"
COUNTS = (1, 8)


def input_of(image: UInt8, box: Float32, spec: PoseSpec) -> Float32:
    """One person as the network takes it: (3, H, W)."""
    height, width = spec.input_size
    x0, y0, x1, y1 = box.tolist()
    scale = width / (max(x1 - x0, (y1 - y0) * width / height) * spec.padding)
    shift = [(width - (x0 + x1) * scale) / 2, (height - (y0 + y1) * scale) / 2]
    affine = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    crop = cv2.warpAffine(image, affine, (width, height))[..., ::-1]
    planes = (crop.astype(np.float32) - np.array(spec.mean, np.float32)) / np.array(
        spec.std, np.float32
    )
    return np.ascontiguousarray(planes.transpose(2, 0, 1))


def bare_pipeline(kind: str, path: Path, spec: PoseSpec, threads: int) -> Pipeline:
    """One of the two loops."""
    import onnxruntime

    watch = Stopwatch(
        onnxruntime.InferenceSession(
            str(path), session_options(threads), providers=["CPUExecutionProvider"]
        )
    )
    name = watch.get_inputs()[0].name

    def loop(image: UInt8, boxes: Float32) -> list[Any]:
        return [watch.run(None, {name: input_of(image, box, spec)[None]}) for box in boxes]

    def batch(image: UInt8, boxes: Float32) -> list[Any]:
        return [watch.run(None, {name: np.stack([input_of(image, box, spec) for box in boxes])})]

    return Pipeline(kind, loop if kind == LOOP else batch, watch)


def pairs_of(network: str) -> list[Pair]:
    """What is asked of a network."""
    words = {"frame": "frame", "rest": "the rest"}
    return [
        Pair(
            name=f"{network} x{count}: {words[share]}, {OURS} / bare {kind}",
            contender=key(network, OURS, count, share),
            baseline=key(network, kind, count, share),
        )
        for count in COUNTS
        for kind in (LOOP, BATCH)
        for share in words
    ]


def main() -> int:
    """Time, print, record."""
    session = Session(__doc__ or "", "onnxruntime", [network.name for network in NETWORKS])
    pipelines = {}
    for name in session.chosen:
        path = network_file(session.networks, name)
        ours = edgepose_pipeline(path, session.threads)
        bare = (
            bare_pipeline(kind, path, ours.call.spec, session.threads) for kind in (LOOP, BATCH)
        )
        pipelines[name] = [ours, *bare]
    samples = session.timed(
        lambda schedule, progress: measure_shares(
            pipelines, session.scene, COUNTS, schedule, progress
        )
    )
    rows = judge([pair for name in session.chosen for pair in pairs_of(name)], samples)
    session.finish(
        rows,
        {
            "networks": session.described({network.name: network.words for network in NETWORKS}),
            "bare_loops": "warpAffine, (pixel - mean) / std in FP32, session.run; no decoding",
        },
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeposeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
