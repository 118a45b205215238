"""Whether two runners find the same poses, on real people. Needs neither torch nor onnx."""

from edgepose.parity.compare import (
    FP16,
    FP32,
    INT8,
    INT8_RANDOM,
    Parity,
    ParityLimits,
    TensorError,
    compare,
)
from edgepose.parity.photos import Photo, folder_photos, sample_photos

__all__ = [
    "FP16",
    "FP32",
    "INT8",
    "INT8_RANDOM",
    "Parity",
    "ParityLimits",
    "Photo",
    "TensorError",
    "compare",
    "folder_photos",
    "sample_photos",
]
