"""Weights on disk: safetensors in and out, foreign .pth files in without running their code."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from edgepose.errors import WeightsError
from edgepose.files import write_bytes
from edgepose.models.checkpoints.names import unwrapped

__all__ = ["load_weights", "read_weights", "save_weights", "weights_digest"]

NAMES_SHOWN = 12
TORCH_ENDINGS = (".pth", ".pt", ".pth.tar")


@runtime_checkable
class Resampling(Protocol):
    """A module with more than position tables that belongs to one input size."""

    def resampled(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights made at another input size as this module's size needs them."""


def save_weights(
    module: nn.Module,
    path: str | Path,
    *,
    model: str,
    input_size: tuple[int, int],
    trained_on: str = "",
    holdout_only: bool = False,
    half: bool = False,
) -> None:
    """Write a module's weights as safetensors, whole or not at all.

    Args:
        module: Where the weights are.
        path: File to write; its name must end in ``.safetensors``.
        model: Registry name, kept in the file's metadata.
        input_size: (height, width) the weights were made for, kept likewise.
        trained_on: Data, in words, kept likewise.
        holdout_only: Whether AP may only be measured on the edgepose hold-out, kept likewise.
        half: Store floating tensors as FP16. A tensor with values beyond FP16's range (a running
            variance may be) stays FP32.

    Raises:
        WeightsError: The weights hold NaN or infinity, or the name has another ending.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(
            f"cannot save weights as {path.name}",
            "only safetensors files are written",
            str(path.with_suffix(".safetensors")),
        )
    tensors: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        stored = tensor.detach().cpu().contiguous()
        if stored.is_floating_point():
            if not stored.isfinite().all():
                raise WeightsError(
                    f"refusing to save {path.name}", f"'{name}' holds NaN or infinity"
                )
            halved = stored.half()
            if half and halved.isfinite().all():
                stored = halved
        tensors[name] = stored
    metadata = {
        "model": model,
        "input_size": f"{input_size[0]}x{input_size[1]}",
        "trained_on": trained_on,
        "holdout_only": "true" if holdout_only else "false",
    }
    write_bytes(path, save(tensors, metadata=metadata))


def load_weights(
    module: nn.Module,
    path: str | Path,
    translate: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None,
) -> dict[str, str]:
    """Fill a module with the weights in a file.

    What belongs to one input size is resampled if it was made at another: position tables (the
    module's ``position_tables``) bilinearly on their grid, anything else by the module's own
    ``resampled``. Every other tensor must fit exactly.

    Args:
        module: Where to put them, in its own dtype.
        path: A ``.safetensors`` file, or a ``.pth``, ``.pt`` or ``.pth.tar`` file that holds
            tensors only.
        translate: Takes the tensors of the architecture's authors to the module's names, see
            :mod:`edgepose.models.checkpoints`. Applied where the file is not edgepose's own and its
            names are not the module's.

    Returns:
        The file's metadata: ``model``, ``input_size`` and ``trained_on`` where edgepose wrote it;
        ``{"origin": "authors"}`` where the tensors were translated (their outputs are then read by
        the authors' decoder, not by ours).

    Raises:
        WeightsError: The file is missing, corrupt or a pickle of objects, or its tensors belong to
            another model.
    """
    path = Path(path)
    tensors, metadata = read_weights(path)
    wanted = module.state_dict()
    foreign = "model" not in metadata and not wanted.keys() <= tensors.keys()
    if foreign and translate is not None:
        tensors, metadata = dict(translate(tensors)), {"origin": "authors"}
    for name in getattr(module, "position_tables", ()):
        if name in tensors:
            tensors[name] = _resampled(tensors[name], wanted[name].shape)
    if isinstance(module, Resampling):
        tensors = module.resampled(tensors)
    _check_fit(path, tensors, wanted, metadata)
    module.load_state_dict(tensors)
    return metadata


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors in a file by their names, and its metadata.

    Args:
        path: As for :func:`load_weights`.

    Returns:
        The metadata name the ``model`` where edgepose wrote the file. Where it did not, the names
        are without the prefix of ``DataParallel``.

    Raises:
        WeightsError: The file is missing, corrupt or a pickle of objects.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        tensors, metadata = _read_safetensors(path)
    elif path.name.endswith(TORCH_ENDINGS):
        tensors, metadata = _read_torch(path), {}
    else:
        raise WeightsError(
            f"cannot read weights from {path.name}",
            f"'{path.suffix}' is not .safetensors, .pth or .pt",
        )
    return (tensors if "model" in metadata else unwrapped(tensors)), metadata


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over all tensors' names, shapes and values, floating ones as FP32.

    It depends on the weights alone, not on the file they came from: a module filled from an FP16
    file has the digest of the rounded weights however often it is saved again.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        if values.is_floating_point():
            values = values.float()
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}\n".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"cannot read weights from {path}", str(error)) from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"refusing to open {path}",
            "it is not a plain file of tensors: unpickling it could run code hidden in it",
            "where you trust it, save its state_dict as safetensors and give that",
        ) from error
    except Exception as error:  # a malformed file may fail anywhere inside the unpickler
        why = str(error) if isinstance(error, OSError) else f"it is corrupt ({error!r})"
        raise WeightsError(f"cannot read weights from {path}", why) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(
            f"cannot read weights from {path}",
            "it holds neither a state_dict nor a dictionary with one under 'state_dict'",
        )
    return dict(content)


def _resampled(table: Tensor, shape: torch.Size) -> Tensor:
    """A position table (1, d, h, w) on the wanted grid; anything else comes back as it is."""
    if table.ndim != 4 or table.shape[:2] != shape[:2] or table.shape == shape:
        return table
    return F.interpolate(table.float(), size=shape[2:], mode="bilinear", align_corners=False)


def _check_fit(
    path: Path, tensors: dict[str, Tensor], wanted: dict[str, Tensor], metadata: dict[str, str]
) -> None:
    missing = [n for n in wanted if n not in tensors]
    unexpected = [n for n in tensors if n not in wanted]
    mismatching = [
        f"{n} {tuple(tensors[n].shape)} instead of {tuple(wanted[n].shape)}"
        for n in wanted
        if n in tensors and tensors[n].shape != wanted[n].shape
    ]
    found = (("missing", missing), ("unexpected", unexpected), ("of another shape", mismatching))
    troubles = [f"{len(names)} {kind} ({_some(names)})" for kind, names in found if names]
    if not troubles:
        return
    origin = ""
    if "model" in metadata:
        origin = f"; the file says it is {metadata['model']} at {metadata.get('input_size', '?')}"
    elif "origin" in metadata:
        origin = "; the file was read as a checkpoint of the architecture's authors"
    raise WeightsError(
        f"the weights in {path} do not fit this model",
        "tensors " + ", ".join(troubles) + origin,
        "build the model the file was made for, at its input size",
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
