"""edgepose: top-down 2D human pose estimation on devices that are not servers.

>>> import edgepose
>>> pose = edgepose.load("mitpose-lite")
>>> poses = pose(edgepose.read_image("photo.jpg"), boxes=[[50, 20, 210, 400]])
>>> poses.keypoints.shape
(1, 17, 2)
"""

from edgepose._load import load
from edgepose.errors import EdgeposeError
from edgepose.estimator import Estimator
from edgepose.images import read_image, write_image
from edgepose.poses import Frame, Poses
from edgepose.spec import COCO_KEYPOINTS, DecoderSpec, KeypointSet, PoseSpec

__all__ = [
    "COCO_KEYPOINTS",
    "DecoderSpec",
    "EdgeposeError",
    "Estimator",
    "Frame",
    "KeypointSet",
    "PoseSpec",
    "Poses",
    "__version__",
    "load",
    "read_image",
    "write_image",
]

__version__ = "0.1.0"
