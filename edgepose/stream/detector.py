"""Finding people with a detector in ONNX form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.errors import GraphError
from edgepose.poses import Float32, Frame, UInt8
from edgepose.runtime.onnxruntime import open_session
from edgepose.stream.detector_formats import choose_format
from edgepose.stream.letterbox import letterbox

__all__ = ["Detector", "suppress"]

_DTYPES: dict[str, type[np.float32] | type[np.float16]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}
_USUAL_SIZE = 640  # of the families in the table, where a graph leaves its size open


class Detector:
    """A person detector on onnxruntime, whatever its family.

    Args:
        path: The ONNX file.
        device: ``cpu`` or ``cuda``.
        threads: Threads inside one operator.
        format_name: Row of the adapter table; recognised by the output shapes when None.
        score_threshold: Least score of a box.
        iou_threshold: Of two boxes that overlap more, the weaker one goes.
        max_persons: Most boxes a picture, the strongest first.

    Raises:
        GraphError: Unreadable, no image input, or outputs that no format fits.
        DeviceError: The device is not available.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        format_name: str | None = None,
        score_threshold: float = 0.35,
        iou_threshold: float = 0.5,
        max_persons: int = 100,
    ) -> None:
        self.path = Path(path)
        self.score_threshold = score_threshold
        self.iou_threshold = iou_threshold
        self.max_persons = max_persons
        self._session: Any = open_session(self.path, device, threads)
        self._input, self.size, self._dtype = _image_input(self._session, self.path)
        grey = np.full((1, 3, *self.size), 114, self._dtype)
        self.format = choose_format(self._infer(grey), self.size, format_name)
        self._mean = np.asarray(self.format.mean, np.float32)
        self._std = np.asarray(self.format.std, np.float32)

    def __call__(self, image: UInt8) -> tuple[Float32, Float32]:
        """People in a picture.

        Args:
            image: (H, W, 3) uint8 BGR.

        Returns:
            (N, 4) float32 boxes x0 y0 x1 y1, clipped to the picture, and (N,) scores, descending.
        """
        fitted = letterbox(image, self.size, centred=self.format.centred, fill=self.format.fill)
        boxes, scores = self.format.read(self._infer(self._tensor(fitted.image)), self.size)
        strong = scores >= self.score_threshold
        boxes, scores = fitted.to_image(boxes[strong]), scores[strong]
        height, width = image.shape[:2]
        boxes = boxes.clip(0, np.array([width, height, width, height], np.float32))
        # A sliver under a pixel is no person, and no crop can be made of it.
        solid = (boxes[:, 2:] - boxes[:, :2] >= 1).all(1)
        boxes, scores = boxes[solid], scores[solid]
        if self.format.overlapping:
            kept = suppress(boxes, scores, self.iou_threshold)
        else:
            kept = np.argsort(-scores, kind="stable")
        kept = kept[: self.max_persons]
        return boxes[kept], scores[kept]

    def boxes_in(self, frame: Frame) -> tuple[Float32, Float32]:
        """The same, as a provider of boxes for a pipeline."""
        return self(frame.image)

    def _tensor(self, image: UInt8) -> npt.NDArray[Any]:
        """(1, 3, H, W) in the format's colours and range."""
        pixels = image if self.format.colour == "bgr" else image[..., ::-1]
        values = (pixels.astype(np.float32) - self._mean) / self._std
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None], self._dtype)

    def _infer(self, tensor: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        try:
            outputs: list[npt.NDArray[Any]] = self._session.run(None, {self._input: tensor})
        except Exception as error:  # onnxruntime's own classes share no base but Exception
            raise GraphError(
                f"the detector {self.path} cannot be run",
                str(error).strip().splitlines()[0],
                "export it with one fixed input size and batch 1",
            ) from error
        return outputs


def suppress(boxes: Float32, scores: Float32, iou_threshold: float) -> npt.NDArray[np.intp]:
    """Non-maximum suppression: indices of the boxes that stay, by descending score."""
    import cv2

    corner_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    kept = cv2.dnn.NMSBoxes(corner_size.tolist(), scores.tolist(), 0.0, iou_threshold)
    return np.asarray(kept, np.intp).reshape(-1)


def _image_input(
    session: Any, path: Path
) -> tuple[str, tuple[int, int], type[np.float32] | type[np.float16]]:
    """Name, (H, W) and element type of the one input."""
    inputs = session.get_inputs()
    shape = list(inputs[0].shape)
    if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or inputs[0].type not in _DTYPES:
        found = ", ".join(f"{i.name} {list(i.shape)} {i.type}" for i in inputs)
        raise GraphError(
            f"{path} does not look like a detector",
            f"a detector takes one float [1, 3, H, W], this graph takes {found}",
        )
    height, width = (v if isinstance(v, int) else _USUAL_SIZE for v in shape[2:])
    return inputs[0].name, (height, width), _DTYPES[inputs[0].type]
