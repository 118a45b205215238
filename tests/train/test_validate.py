from __future__ import annotations

import numpy as np
import pytest
import torch

from edgepose.crops import apply_affines, box_affines
from edgepose.train.recipe import LossSettings
from edgepose.train.targets import heatmap_targets
from edgepose.train.validate import Validator
from tests.train.helpers import INPUT, heatmap_spec


class Oracle:
    """A runner that answers with the targets themselves, or with nonsense."""

    max_batch = 5
    buckets = None
    device = "cpu"

    def __init__(self, spec, joints, shift: float) -> None:
        self.spec, self._joints, self._shift, self._done = spec, joints, shift, 0

    def infer(self, images):
        part = torch.from_numpy(self._joints[self._done : self._done + len(images)])
        self._done += len(images)
        maps = heatmap_targets(part + self._shift, (16, 12), self.spec, LossSettings())
        return {"heatmaps": maps.numpy()}


@pytest.mark.parametrize(("shift", "ap"), [(0.0, 100.0), (30.0, 0.0)])
def test_truth_scores_all_and_nonsense_nothing(packed, shift, ap):
    records = packed[0].records
    spec = heatmap_spec(INPUT)
    boxes = np.stack([r.box for r in records])
    truth = np.stack([r.joints[:, :2] for r in records])
    joints = apply_affines(truth, box_affines(boxes, INPUT, spec.padding))
    found = Validator(records, spec).run(Oracle(spec, joints, shift), LossSettings())
    assert found.ap == pytest.approx(ap, abs=1e-6)
    assert found.ap50 == pytest.approx(ap, abs=1e-6)
    if shift == 0:
        assert found.oks > 99
        assert found.loss < 1e-4
    else:
        assert found.oks < 30
        assert found.loss > 1


def test_joints_beyond_the_crop_are_no_part_of_the_loss(packed):
    record = packed[0].records[0]
    joints = record.joints.copy()
    joints[0, :2] = 500
    outside = type(record)(record.image, record.source, record.box, joints, record.area)
    validator = Validator([outside], heatmap_spec(INPUT))
    assert validator.weights.tolist() == [[0, 1, 1]]
    assert (validator.truth.keypoints[0, :, 2] > 0).all()
