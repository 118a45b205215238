"""What is timed of an artefact: the bare network, or the whole way from image to poses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy.typing as npt

from edgepose.bench.scenes import Scene
from edgepose.bench.timing import Cell
from edgepose.crops import box_affines, to_input, warp_crops
from edgepose.estimator import Estimator

__all__ = ["STAGES", "frame_call", "network_call", "network_cell", "network_images", "poses_cell"]

STAGES = {
    "network": "runner.infer on a batch that is cropped and normalised already, host to host",
    "device": "the network alone on the device's own clock, without the copies",
    "frame": "estimator(image, boxes): crop, normalise, infer, decode, map back",
}


def network_images(estimator: Estimator, scene: Scene, batch: int) -> npt.NDArray[Any]:
    """``batch`` people of the scene as the artefact's network takes them."""
    spec = estimator.spec
    affines = box_affines(scene.people(batch), spec.input_size, spec.padding)
    return to_input(warp_crops(scene.image, affines, spec.input_size), spec)


def network_call(estimator: Estimator, scene: Scene, batch: int) -> Callable[[], Any]:
    """The bare network on a prepared batch."""
    return partial(estimator.runner.infer, network_images(estimator, scene, batch))


def frame_call(estimator: Estimator, scene: Scene, batch: int) -> Callable[[], Any]:
    """The whole way from image and boxes to poses."""
    return partial(estimator, scene.image, scene.people(batch))


def network_cell(name: str, estimator: Estimator, scene: Scene, batch: int) -> Cell:
    """:func:`network_call` as something to time in this process."""
    return Cell(name, network_call(estimator, scene, batch))


def poses_cell(name: str, estimator: Estimator, scene: Scene, batch: int) -> Cell:
    """:func:`frame_call` likewise."""
    return Cell(name, frame_call(estimator, scene, batch))
