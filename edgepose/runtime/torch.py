"""Running a PyTorch module behind the same protocol: the reference that artefacts are held to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from edgepose.closing import Closing
from edgepose.errors import DeviceError, require
from edgepose.spec import PoseSpec

if TYPE_CHECKING:
    import torch

__all__ = ["TorchRunner"]


class TorchRunner(Closing):
    """A module in evaluation mode on one device, in FP32 with TF32 off.

    Args:
        module: forward((B, 3, H, W) normalised) -> dict of outputs.
        spec: Its spec.
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        DeviceError: CUDA was asked for and torch has none.
    """

    max_batch = 64
    buckets: tuple[int, ...] | None = None

    def __init__(self, module: torch.nn.Module, spec: PoseSpec, device: str = "cpu") -> None:
        torch = require("torch", "export")
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise DeviceError(
                f"device '{device}' is not available",
                f"torch {torch.__version__} sees no CUDA device",
                "use --device cpu",
            )
        self.spec = spec
        self.device = device
        self.module = module.eval().to(device)

    def infer(self, images: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """See :class:`edgepose.runtime.base.Runner`."""
        torch = require("torch", "export")
        with torch.inference_mode():
            outputs = self.module(torch.from_numpy(images).to(self.device))
        return {name: value.float().cpu().numpy() for name, value in outputs.items()}

    def describe(self) -> dict[str, Any]:
        """See :class:`edgepose.runtime.base.Runner`."""
        torch = require("torch", "export")
        return {
            "runtime": "torch",
            "version": torch.__version__,
            "device": self.device,
            "threads": torch.get_num_threads(),
        }
