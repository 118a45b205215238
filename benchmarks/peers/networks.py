"""The graphs that go through both pipelines: one file each, made once and then shared.

    python benchmarks/peers/networks.py FOLDER

Needs edgepose's export extra (PyTorch); the environments of the peers need not.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import EdgeposeError, InputError
from edgepose.files import atomic_path

__all__ = ["GUEST", "NETWORKS", "Network", "make_networks", "network_file"]

# The registry's models go by their names; the guest is in rtmpose.py.
GUEST = "rtmpose-t"


@dataclass(frozen=True)
class Network:
    """A graph and what is known of it.

    Attributes:
        name: Registry name, or that of the guest.
        words: What it is, for the record.
        shipped: Its file in the repository, None where it gets random weights.
    """

    name: str
    words: str
    shipped: str | None = None

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.name}.onnx"


NETWORKS = (
    Network("mgil-w32-32", "SimCC, 32x32, random weights"),
    Network(GUEST, "RTMPose-t's architecture: SimCC, 256x192, random weights"),
    Network(
        "mitpose-lite@128x96",
        "heatmaps, 128x96, the shipped weights",
        "models/mitpose-lite/mitpose-lite-128x96.onnx",
    ),
    Network("mitpose-lite", "heatmaps, 256x192, random weights"),
)


def network_file(folder: Path, name: str) -> Path:
    """The file of a network.

    Raises:
        InputError: It has not been made.
    """
    path = folder / f"{name}.onnx"
    if not path.is_file():
        raise InputError(
            f"there is no {path}",
            "the graphs are made beforehand, where PyTorch is",
            f"python benchmarks/peers/networks.py {folder}",
        )
    return path


def make_networks(folder: Path) -> None:
    """Make what is not there yet, and copy what is shipped.

    Raises:
        MissingDependency: No PyTorch.
        OutputError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for network in NETWORKS:
        path = folder / network.file
        if network.shipped is not None:  # copied each time: other weights may be shipped by now
            with atomic_path(path) as partial:
                shutil.copyfile(Path(__file__).parents[2] / network.shipped, partial)
            continue
        if path.exists():
            continue
        sys.stderr.write(f"making {path}\n")
        if network.name == GUEST:
            _export_guest(path)
        else:
            from edgepose.export import export_model

            export_model(network.name, out=path, random_weights=True)


def _export_guest(path: Path) -> None:
    import torch

    from benchmarks.peers.rtmpose import RTMPoseTiny
    from edgepose.export import export_module
    from edgepose.parity import FP32, sample_photos
    from edgepose.spec import DecoderSpec, PoseSpec

    torch.manual_seed(0)
    spec = PoseSpec(
        model=GUEST,
        input_size=(256, 192),
        output="simcc",
        decoder=DecoderSpec(name="simcc", alignment="corner", split_ratio=2.0),
    )
    module = RTMPoseTiny(spec.input_size).eval()
    export_module(module, spec, path, sample_photos(), limits=FP32.speed_only())


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.stderr.write(f"{__doc__}\n")
        sys.exit(2)
    try:
        make_networks(Path(sys.argv[1]))
    except EdgeposeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
