"""From a frame to keypoints: edgepose beside ultralytics, for the same number of people.

These are different networks, so that the ratio is no verdict on either pipeline:

edgepose     top-down: is given the boxes, and looks at each with a network of its own
ultralytics  one-stage: yolo11n-pose at 640x640 finds people and keypoints in one go

Weights are random on the side of ultralytics: time only. Its threshold is set so that as many
people come out as edgepose is given boxes, and none is suppressed.

    python benchmarks/peers/ultralytics_pairs.py NETWORKS [--only rtmpose-t] [--rounds 30]

NETWORKS is a folder made by networks.py; yolo11n-pose.onnx is made there too. Needs ultralytics
(AGPL-3.0; it is only run here) beside edgepose: see README.md.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

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
from edgepose.files import atomic_path
from edgepose.poses import Float32, UInt8

YOLO = "yolo11n-pose"
COUNTS = (1, 8)
LABEL = "one-stage, other network, random weights: time only"


def prepare_ultralytics(folder: Path) -> None:
    """Import it, its settings outside the home directory, off the network, its log on stderr."""
    os.environ["YOLO_CONFIG_DIR"] = str(folder.resolve())
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    with contextlib.redirect_stdout(sys.stderr):
        import ultralytics  # noqa: F401 - is it here?


def make_yolo(path: Path) -> None:
    """yolo11n-pose for people (one class, COCO's 17 keypoints) as ultralytics exports it."""
    import torch
    from ultralytics import YOLO as Model
    from ultralytics.nn.tasks import PoseModel
    from ultralytics.utils import DEFAULT_CFG_DICT

    torch.manual_seed(0)
    model = Model(f"{YOLO}.yaml", task="pose", verbose=False)
    model.model = PoseModel(f"{YOLO}.yaml", nc=1, data_kpt_shape=(17, 3), verbose=False)
    # PyTorch's own start lets everything fade: all 8400 candidates would be equally sure.
    for layer in model.model.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    model.model.args = {**DEFAULT_CFG_DICT, **model.overrides}
    model.model.task = model.task
    with atomic_path(path) as partial:
        # It names the file after the model, beside which it writes.
        model.model.pt_path = str(partial.with_suffix(".pt"))
        Path(model.export(format="onnx", imgsz=640, opset=18, verbose=False)).replace(partial)


def yolo_pipeline(path: Path, image: UInt8, threads: int) -> Pipeline:
    """The predictor of ultralytics, which finds as many people as it is given boxes."""
    import onnxruntime
    import torch
    from ultralytics.models.yolo.pose import PosePredictor

    torch.set_num_threads(threads)
    settings = {"model": str(path), "task": "pose", "mode": "predict", "imgsz": 640, "iou": 1.0}
    predictor = PosePredictor(
        overrides={**settings, "device": "cpu", "save": False, "verbose": False}
    )
    predictor.setup_model(str(path), verbose=False)
    # All that its warm-up does on a CPU is to import torchvision for its NMS. With a CPU build of
    # torch and none of torchvision that fails; its own NMS, which it falls back to, does not.
    predictor.done_warmup = not torchvision_works()
    backend = predictor.model.backend
    watch = Stopwatch(
        onnxruntime.InferenceSession(
            str(path), session_options(threads), providers=["CPUExecutionProvider"]
        )
    )
    backend.session = watch
    confidences = _confidences(predictor, image)

    def predict(picture: UInt8, boxes: Float32) -> Any:
        count = len(boxes)
        predictor.args.max_det = count
        # Between the last that is wanted and the first that is not.
        predictor.args.conf = float(confidences[count - 1] + confidences[count]) / 2
        (result,) = predictor(picture)
        return result.keypoints

    return Pipeline("ultralytics", predict, watch)


def _confidences(predictor: Any, image: UInt8) -> Any:
    """Confidences of all candidates in that picture, the best first."""
    predictor.setup_source(image)
    output = predictor.inference(predictor.preprocess([image]))
    output = output[0] if isinstance(output, (list, tuple)) else output
    return output[0, 4].sort(descending=True).values.double().cpu().numpy()


def torchvision_works() -> bool:
    """Whether torchvision imports, and has its operators."""
    try:
        import torchvision  # noqa: F401 - is it here, and fit for this torch?
    except (ImportError, RuntimeError):
        return False
    return True


def pairs_of(network: str) -> list[Pair]:
    """What is asked of a network."""
    return [
        Pair(
            name=f"x{count}: {OURS} {network}, boxes given / ultralytics {YOLO}",
            contender=key(network, OURS, count, "frame"),
            baseline=key(YOLO, "ultralytics", count, "frame"),
        )
        for count in COUNTS
    ]


def main() -> int:
    """Time, print, record."""
    session = Session(__doc__ or "", "ultralytics", [network.name for network in NETWORKS])
    prepare_ultralytics(session.networks)
    yolo = session.networks / f"{YOLO}.onnx"
    if not yolo.exists():
        make_yolo(yolo)
    pipelines = {
        name: [edgepose_pipeline(network_file(session.networks, name), session.threads)]
        for name in session.chosen
    }
    pipelines[YOLO] = [yolo_pipeline(yolo, session.scene.image, session.threads)]
    for count in COUNTS:
        found = pipelines[YOLO][0].call(session.scene.image, session.scene.people(count))
        if len(found) != count:
            raise EdgeposeError(
                f"{YOLO} found {len(found)} people where {count} were wanted",
                "two of its candidates are equally sure",
                f"delete {yolo} and try again",
            )
    samples = session.timed(
        lambda schedule, progress: measure_shares(
            pipelines, session.scene, COUNTS, schedule, progress
        )
    )
    rows = judge([pair for name in session.chosen for pair in pairs_of(name)], samples)
    session.say(f"{YOLO}: {LABEL}")
    session.finish(
        rows,
        {
            "networks": session.described({network.name: network.words for network in NETWORKS}),
            "ultralytics": f"{YOLO} at 640x640, {LABEL}",
            "nms": "torchvision's" if torchvision_works() else "ultralytics' own",
        },
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeposeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
