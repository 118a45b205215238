"""Keeping what an evaluation has found, so that one that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.errors import InputError
from edgepose.files import atomic_path

__all__ = ["PredictionStore", "digest_of", "read_arrays", "write_arrays"]

Array = npt.NDArray[Any]
_DAMAGED = (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile)


class PredictionStore:
    """One file with the poses found so far, rewritten whole now and then.

    A file of another artefact, protocol or data set, and a damaged one, is not taken up but
    replaced: what it holds can be computed again.

    Args:
        path: The file (npz).
        key: All that decides what is found: the artefact's digest, the people's, the protocol.
        every_s: Least seconds between two writes.

    Attributes:
        resumed: How many persons :meth:`resume` filled in.
    """

    def __init__(self, path: str | Path, key: Mapping[str, Any], every_s: float = 5.0) -> None:
        self.path = Path(path)
        self.resumed = 0
        self._key = digest_of(key)
        self._every_s = every_s
        self._written = time.monotonic()

    def resume(self, keypoints: Array, scores: Array) -> int:
        """Fill in what an earlier run found.

        Args:
            keypoints: (P, N, K, 2) to be filled, P protocols.
            scores: (P, N, K), likewise.

        Returns:
            How many of the N persons are filled in, the first ones; 0 without a file that fits.
        """
        try:
            stored = read_arrays(self.path)
            if str(stored["key"]) != self._key:
                return 0
            done = int(stored["keypoints"].shape[1])
            keypoints[:, :done] = stored["keypoints"]
            scores[:, :done] = stored["scores"]
        except (InputError, KeyError, ValueError, IndexError):
            keypoints[:], scores[:] = 0, 0
            return 0
        self.resumed = done
        return done

    def keep_if_due(self, done: int, keypoints: Array, scores: Array) -> None:
        """:meth:`keep`, if it is long enough since the last time."""
        if time.monotonic() - self._written >= self._every_s:
            self.keep(done, keypoints, scores)

    def keep(self, done: int, keypoints: Array, scores: Array) -> None:
        """Write the first ``done`` persons. Raises :class:`OutputError`."""
        write_arrays(
            self.path,
            {
                "key": np.array(self._key),
                "keypoints": keypoints[:, :done],
                "scores": scores[:, :done],
            },
        )
        self._written = time.monotonic()

    def discard(self) -> None:
        """Remove the file: everything was found, and is kept elsewhere."""
        self.path.unlink(missing_ok=True)


def digest_of(facts: Mapping[str, Any]) -> str:
    """SHA-256 of JSON-ready facts, whatever their order."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def write_arrays(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays as npz, whole or not at all. Raises :class:`OutputError`."""
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **arrays)


def read_arrays(path: str | Path) -> dict[str, Array]:
    """Read what :func:`write_arrays` wrote.

    Raises:
        InputError: It is absent or damaged.
    """
    try:
        # A file that numpy opens itself stays open when it is damaged.
        with Path(path).open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _DAMAGED as error:
        raise InputError(f"cannot read {path}", f"{type(error).__name__}: {error}") from error
