"""Checkpoints: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgepose.errors import InputError, WeightsError
from edgepose.files import atomic_path

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

_FORMAT = 1


@dataclass
class Checkpoint:
    """State of a run.

    Attributes:
        model: Registry name.
        input_size: (height, width) of the present stage.
        recipe: :meth:`Recipe.to_dict`.
        data: Digests of the sets, in order.
        step: Optimiser steps done.
        elapsed_s: Seconds of training done.
        weights: The model's state_dict.
        averaged: The averaged model's state_dict.
        averaged_updates: Updates it has had.
        optimiser: Its state_dict.
        random_state: torch's CPU generator state (dropout and the like).
        trained_on: What the weights have seen, with what they began with; empty in old files.
        holdout_only: Whether they may only be measured on the edgepose hold-out.
    """

    model: str
    input_size: tuple[int, int]
    recipe: dict[str, Any]
    data: list[str]
    step: int
    elapsed_s: float
    weights: dict[str, Any]
    averaged: dict[str, Any]
    averaged_updates: int
    optimiser: dict[str, Any]
    random_state: torch.Tensor
    trained_on: str = ""
    holdout_only: bool = False


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write it whole or not at all. Raises :class:`OutputError`."""
    with atomic_path(path) as temporary:
        torch.save({"format": _FORMAT, **vars(checkpoint)}, temporary)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without running any code in it.

    Raises:
        InputError: There is none.
        WeightsError: It is damaged, of another format, or no checkpoint.
    """
    if not path.is_file():
        raise InputError(
            f"there is no checkpoint at {path}", hint="leave --resume out to start from the front"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content.pop("format") != _FORMAT:
            raise WeightsError(f"cannot resume from {path}", "it is of another format")
        content["input_size"] = tuple(content["input_size"])
        return Checkpoint(**content)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, TypeError, KeyError,
            AttributeError) as error:  # fmt: skip
        raise WeightsError(
            f"cannot resume from {path}",
            f"it is damaged or no checkpoint of edgepose ({type(error).__name__})",
        ) from error
