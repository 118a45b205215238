from __future__ import annotations

import numpy as np

from edgepose.bench import network_cell, poses_cell, sample_scene
from edgepose.estimator import Estimator
from tests.fakes import FakeRunner, brightness_maps, heatmap_spec


def test_the_two_stages_time_the_same_batch() -> None:
    """What the network is given alone is what it is given on the whole way."""
    seen: list[np.ndarray] = []

    def respond(images: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(images.copy())
        return brightness_maps(images)

    estimator = Estimator(FakeRunner(heatmap_spec(), respond))
    network_cell("n", estimator, sample_scene(), 5).call()
    poses = poses_cell("p", estimator, sample_scene(), 5).call()
    assert len(poses) == 5
    np.testing.assert_array_equal(seen[0], seen[1])
